"""`Budget`: a hard cap on what calls may cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Literal

import attrs

from genai_pipeline._journal import NANO, BudgetUse
from genai_pipeline._options import check, one_of, optional
from genai_pipeline.money._amounts import Amount, to_amount, to_nano
from genai_pipeline.money._windows import WINDOWS, Window, window_of

__all__ = ["Budget"]

_NAME = re.compile(r"[\w.:-]+")
_PLAIN = re.compile(r"[\w.:@/+-]+")
_MOST = 10**9 * NANO
_OWN = ("provider", "model", "stage")


def _to_cap(value: Amount) -> Decimal:
    cap = to_amount(value, "Budget", "cap")
    nano = to_nano(cap, rounding=ROUND_FLOOR)
    check(0 < nano <= _MOST, "Budget", "cap", value, "an amount above 0, up to 1000000000")
    return cap


def _to_scope(scope: str | Iterable[str] | None) -> tuple[str, ...]:
    names = (scope,) if isinstance(scope, str) else () if scope is None else scope
    allowed = "the name of a record attribute, or several that differ"
    check(isinstance(names, Iterable), "Budget", "scope", scope, allowed)
    chosen = tuple(names)
    fine = all(isinstance(name, str) and name for name in chosen)
    check(fine and len(set(chosen)) == len(chosen), "Budget", "scope", scope, allowed)
    return chosen


def _to_shares(shares: Iterable[float]) -> tuple[float, ...]:
    allowed = "shares of the cap above 0, up to 1"
    listed = isinstance(shares, Iterable) and not isinstance(shares, str)
    check(listed, "Budget", "warn_at", shares, allowed)
    chosen = tuple(shares)
    for share in chosen:
        fine = isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1
        check(fine, "Budget", "warn_at", shares, allowed)
    return tuple(sorted({float(share) for share in chosen}))


def _name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and _NAME.fullmatch(value) is not None
    check(fine, owner, option.name, value, "letters, digits and any of _ . : -")


def _pattern(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and bool(value) and "*" not in value[:-1]
    check(fine, owner, option.name, value, "a name, with a * at its end for all that begin so")


@attrs.frozen(kw_only=True)
class Budget:
    """
    A hard cap on what the calls of a pipeline may cost.

    Before a call is made, the most that it can cost is held; a call for which there is no room
    is not made. So the cap holds however many calls run at once, and through crashes, as far as
    the price book is right (see `PriceBook.quote`).
    """

    cap: Decimal = attrs.field(converter=_to_cap)
    """US dollars for each window and each value of the scope; a text or whole number, no float."""

    window: Window = attrs.field(default="run", validator=one_of(*WINDOWS))
    """
    When the money is there anew.

    With each ``run``, ``hour``, ``day`` or ``month`` (of the calendar, in UTC), or never:
    ``total``. A call counts in the window in which it began.
    """

    scope: tuple[str, ...] = attrs.field(default=None, converter=_to_scope)
    """
    What has a cap of its own: each value of a record attribute (``"tenant"``), or of several.

    ``provider``, ``model`` and ``stage`` are those of the call. Records that lack the attribute
    share one cap. `None`: one cap for everything.
    """

    provider: str | None = attrs.field(default=None, validator=optional(_pattern))
    """Count calls to this provider alone; ``*`` at the end stands for any rest, here and below."""

    model: str | None = attrs.field(default=None, validator=optional(_pattern))
    """Count calls to this model alone."""

    stage: str | None = attrs.field(default=None, validator=optional(_pattern))
    """Count calls made by this stage alone."""

    warn_at: tuple[float, ...] = attrs.field(default=(0.5, 0.8, 1.0), converter=_to_shares)
    """Shares of the cap; when what is spent reaches one, `BudgetThresholdReached` tells of it."""

    on_unknown_price: Literal["refuse", "allow"] = attrs.field(
        default="refuse", validator=one_of("refuse", "allow")
    )
    """
    What to do with a call that has no bound, for want of a price or of a limit of output.

    ``allow`` makes it without counting it, so the cap holds no more.
    """

    name: str | None = attrs.field(default=None, validator=optional(_name))
    """
    What it is called in events, reports and the journal, where its account is kept.

    By default its window and filters. A budget of the same name and scope goes on with the same
    account, also if its cap has changed; one with another *window* needs another name.
    """

    account: str = attrs.field(init=False, repr=False)
    """Under which name it is kept, without the values of the scope: ``day[model=gpt-5*]``."""

    _filters: dict[str, str] = attrs.field(init=False, repr=False, eq=False)
    _nano: int = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        filters = {own: getattr(self, own) for own in _OWN if getattr(self, own) is not None}
        told = ",".join(f"{own}={pattern}" for own, pattern in filters.items())
        account = self.name or (f"{self.window}[{told}]" if told else self.window)
        object.__setattr__(self, "account", account)
        object.__setattr__(self, "_filters", filters)
        object.__setattr__(self, "_nano", to_nano(self.cap, rounding=ROUND_FLOOR))

    def counts_stage(self, stage: str) -> bool:
        """Whether calls made by *stage* may count."""
        return self.stage is None or _matches(self.stage, stage)

    @property
    def parts_records(self) -> bool:
        """Whether each value of an attribute of records has a cap of its own."""
        return not set(self.scope).issubset(_OWN)

    def uses(
        self,
        *,
        attributes: Mapping[str, Any],
        provider: str,
        model: str,
        stage: str,
        run: int,
        at: float,
    ) -> BudgetUse | None:
        """
        Answer what a call counts against; `None` when it is none of this budget's calls.

        *at* is wall time. Times that go back must not be given: `Budgets` sees to it.
        """
        own = {"provider": provider, "model": model, "stage": stage}
        if not all(_matches(wanted, own[kind]) for kind, wanted in self._filters.items()):
            return None
        account = self.account
        if self.scope:
            values = {**attributes, **own}
            account = " ".join((account, *(_told(name, values) for name in self.scope)))
        window = window_of(self.window, run=run, at=at)
        return BudgetUse(budget=account, window=window, cap=self._nano)


def _matches(pattern: str, name: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def _told(name: str, values: Mapping[str, Any]) -> str:
    value = values.get(name)
    if value is None:
        return _quoted(name)
    return f"{_quoted(name)}={_quoted(str(value))}"


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
