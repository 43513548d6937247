"""Amounts of money: exact, in dollars as `Decimal` or in whole nano-dollars."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import TypeAlias

from genai_pipeline._journal import NANO
from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError

__all__ = ["EXACT", "Amount", "Moment", "day_of", "from_nano", "to_amount", "to_nano"]

Amount: TypeAlias = Decimal | int | str
"""Dollars as text, a whole number or a `Decimal`; never a float, which is not exact."""

Moment: TypeAlias = float | date
"""A day, a `datetime.datetime` with a time zone, or seconds since 1970 UTC."""

EXACT = Context(prec=200, rounding=ROUND_CEILING, traps=[InvalidOperation])
"""Whatever context the caller has set, sums and products of prices come out exact."""

_MOST = Decimal(10) ** 12
_FINEST = -18
_FIRST_DAY = date(1970, 1, 1).toordinal()
_A_DAY = 86400


def to_amount(value: object, owner: str, option: str) -> Decimal:
    """Answer *value* as an exact amount of 0 or more; *owner* and *option* name it in errors."""
    if isinstance(value, float):
        raise ConfigurationError(
            f"{owner}: {option}={value!r} is a float, which is not exact; "
            f'give text ("{value!r}"), a whole number or a Decimal'
        )
    allowed = 'an amount of 0 or more, as text ("0.25"), a whole number or a Decimal'
    number = _number(value)
    check(number.is_finite() and number >= 0, owner, option, value, allowed)
    check(number <= _MOST, owner, option, value, f"an amount of at most {_MOST:f}")
    places = number.as_tuple().exponent
    fine = isinstance(places, int) and places >= _FINEST
    check(fine, owner, option, value, f"at most {-_FINEST} decimal places")
    return number


def _number(value: object) -> Decimal:
    if not isinstance(value, Decimal | int | str) or isinstance(value, bool):
        return Decimal("NaN")
    try:
        return Decimal(value)
    except InvalidOperation:
        return Decimal("NaN")


def to_nano(dollars: Decimal, *, rounding: str = ROUND_CEILING) -> int:
    """
    Answer *dollars* in whole nano-dollars.

    Rounds up, so that a hold is never below what it stands for; give ``ROUND_FLOOR`` for caps.
    """
    nano = EXACT.multiply(dollars, NANO)
    return int(nano.to_integral_value(rounding=rounding))


def from_nano(nano: int) -> Decimal:
    """Answer whole nano-dollars in dollars, exactly."""
    return EXACT.scaleb(Decimal(nano), -9)


def day_of(at: Moment) -> date:
    """Answer the day of *at* in UTC."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ConfigurationError(
                f"at={at!r} has no time zone; give one, as in datetime.now(UTC)"
            )
        return at.astimezone(UTC).date()
    return at if isinstance(at, date) else _day(int(at // _A_DAY))


@lru_cache(maxsize=64)
def _day(number: int) -> date:
    return date.fromordinal(_FIRST_DAY + number)
