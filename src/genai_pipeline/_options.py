"""Validators for options: each raises a `ConfigurationError` naming option, value and range."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias, TypeGuard, cast

import attrs

from genai_pipeline.errors import ConfigurationError

__all__ = [
    "apply",
    "at_least",
    "check",
    "clock",
    "day",
    "flag",
    "from_to",
    "function",
    "having",
    "is_function",
    "is_number",
    "one_of",
    "optional",
    "positive",
    "random",
    "seconds",
    "share",
    "text",
    "to_day",
    "token_counter",
]

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def check(fine: bool, owner: object, option: str, value: object, allowed: str) -> None:  # noqa: FBT001
    """Raise `ConfigurationError` that says what *allowed* is, unless the option is *fine*."""
    if not fine:
        name = owner if isinstance(owner, str) else type(owner).__name__
        raise ConfigurationError(f"{name}: {option}={value!r}; give {allowed}")


def apply(validator: Validator, owner: object, option: str, value: object) -> None:
    """Apply *validator* to an option of what is no attrs class."""
    validator(owner, cast("attrs.Attribute[Any]", _Named(option)), value)


@attrs.frozen
class _Named:
    """As much of an attribute as validators look at."""

    name: str


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether *value* is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_function(value: object) -> bool:
    """Tell whether *value* can be called for an answer that need not be awaited."""
    call = getattr(value, "__call__", None)  # noqa: B004 - it may be an async one
    return callable(value) and not any(map(inspect.iscoroutinefunction, (value, call)))


def positive(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow a finite number above zero."""
    fine = is_number(value) and 0 < value < math.inf
    check(fine, owner, option.name, value, "a number above 0")


def seconds(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow a finite number of seconds, zero or more."""
    fine = is_number(value) and 0 <= value < math.inf
    check(fine, owner, option.name, value, "seconds, 0 or more")


def share(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow a part of a whole."""
    fine = is_number(value) and 0 < value <= 1
    check(fine, owner, option.name, value, "a number above 0, up to 1")


def from_to(least: float, most: float = math.inf) -> Validator:
    """Allow a finite number from *least* to *most*."""
    allowed = f"a number, {least:g} " + ("or more" if math.isinf(most) else f"to {most:g}")

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        fine = is_number(value) and least <= value <= most and value < math.inf
        check(fine, owner, option.name, value, allowed)

    return validate


def at_least(least: int, most: int | None = None) -> Validator:
    """Allow a whole number of *least* or more, up to *most*."""
    allowed = f"a whole number, {least} " + ("or more" if most is None else f"to {most}")

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        fine = isinstance(value, int) and not isinstance(value, bool) and value >= least
        check(fine and (most is None or value <= most), owner, option.name, value, allowed)

    return validate


def one_of(*choices: object) -> Validator:
    """Allow one of *choices*."""
    allowed = "one of " + ", ".join(repr(choice) for choice in choices)

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        check(value in choices, owner, option.name, value, allowed)

    return validate


def text(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow a text that says something."""
    fine = isinstance(value, str) and bool(value)
    check(fine, owner, option.name, value, "a text that is not empty")


def flag(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow a truth value, and nothing that merely counts as one."""
    check(isinstance(value, bool), owner, option.name, value, "True or False")


def to_day(value: date | str | None) -> date | None:
    """Answer the day that a text of ISO 8601 names; anything else is left for `day` to judge."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass  # the validator knows the option's name
    return value  # type: ignore[return-value]


def day(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow a day."""
    fine = isinstance(value, date) and not isinstance(value, datetime)
    check(fine, owner, option.name, value, 'a day, as date(2026, 11, 26) or "2026-11-26"')


def function(of: str) -> Validator:
    """Allow a function *of* something, that need not be awaited."""
    allowed = f"a function of {of}"

    def validate(owner: object, option: attrs.Attribute[Any], value: object) -> None:
        check(is_function(value), owner, option.name, value, allowed)

    return validate


def random(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow what chance is drawn from."""
    allowed = "a function that answers a number from 0 up to 1, such as random.random"
    check(is_function(value), owner, option.name, value, allowed)


def having(allowed: str, *methods: str) -> Validator:
    """Allow an object that has these *methods*, and no class."""

    def validate(owner: object, option: attrs.Attribute[Any], value: object) -> None:
        fine = all(callable(getattr(value, method, None)) for method in methods)
        check(fine and not isinstance(value, type), owner, option.name, value, allowed)

    return validate


clock = having("a clock, such as SystemClock()", "now", "wall", "sleep", "cancel_at")
"""Allows what `genai_pipeline.clock.Clock` asks for."""


def token_counter(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow what `genai_pipeline.types.TokenCounter` asks for; a text's ``count`` is another."""
    fine = callable(getattr(value, "count", None)) and not isinstance(value, type | Sequence)
    check(fine, owner, option.name, value, "a token counter, such as gp.TokenEstimator()")


def optional(validator: Validator) -> Validator:
    """Allow `None` too."""

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(owner, option, value)

    return validate
