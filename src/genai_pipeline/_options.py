"""Validators for options: each raises a `ConfigurationError` naming option, value and range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from genai_pipeline.errors import ConfigurationError

__all__ = ["at_least", "check", "one_of", "optional", "positive", "seconds"]

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def check(fine: bool, owner: object, option: str, value: object, allowed: str) -> None:  # noqa: FBT001
    """Raise `ConfigurationError` that says what *allowed* is, unless the option is *fine*."""
    if not fine:
        name = owner if isinstance(owner, str) else type(owner).__name__
        raise ConfigurationError(f"{name}: {option}={value!r}; give {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def positive(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow a finite number above zero."""
    fine = _is_number(value) and 0 < value < math.inf
    check(fine, owner, option.name, value, "a number above 0")


def seconds(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow a finite number of seconds, zero or more."""
    fine = _is_number(value) and 0 <= value < math.inf
    check(fine, owner, option.name, value, "seconds, 0 or more")


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


def optional(validator: Validator) -> Validator:
    """Allow `None` too."""

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(owner, option, value)

    return validate
