"""Which failures send a call to another target: what the option ``on`` of routes may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from genai_pipeline._options import check, is_function
from genai_pipeline.errors import AuthenticationFailed, QuotaExhausted, Rejected, Transient

__all__ = ["Causes", "asked", "elsewhere", "is_causes", "selects_errors"]

Causes: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"
"""An exception class, several, or a function that is asked."""

_ELSEWHERE = (
    *(Transient, Rejected, AuthenticationFailed, QuotaExhausted),
    *(ConnectionError, TimeoutError),
)
_ALLOWED = "an exception class, a tuple of them, or a function (error) -> bool"


def elsewhere(error: Exception) -> bool:
    """
    Tell whether the same call may well succeed at another target.

    True of what passes (`Transient`, and `ConnectionError` and `TimeoutError` of others), what a
    policy refused (`Rejected`), and what is wrong with one account (`AuthenticationFailed`,
    `QuotaExhausted`). The other errors are about the request, the machine or the program.
    """
    return isinstance(error, _ELSEWHERE)


def asked(on: Causes) -> Callable[[Exception], bool]:
    """Answer the function that tells whether *on* names an error."""
    if isinstance(on, type | tuple):
        return lambda error: isinstance(error, on)
    return on


def is_causes(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow what `Causes` says."""
    check(selects_errors(value), owner, option.name, value, _ALLOWED)


def selects_errors(value: object) -> bool:
    """Tell whether *value* is an exception class, a tuple of them, or a function to ask."""
    if not isinstance(value, type | tuple):
        return is_function(value)
    kinds = value if isinstance(value, tuple) else (value,)
    return bool(kinds) and all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds
    )
