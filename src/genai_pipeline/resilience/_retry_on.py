"""Which failures `Retry` tries again: what its option ``on`` may be, and means."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import attrs

from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError, PipelineError, Transient
from genai_pipeline.resilience._causes import selects_errors

__all__ = ["On", "Wish", "is_on", "wish_of"]

Wish: TypeAlias = Callable[[Exception], bool | float]
"""Whether to try again after an error; a number is the seconds to wait before."""

On: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Wish"
"""What ``on`` may be: a class, several, or a function that is asked."""

_ALLOWED = "an exception class, a tuple of them, or a function (error) -> bool or seconds"


def wish_of(on: On) -> Wish:
    """Answer the function that tells what *on* says of an error."""
    if isinstance(on, type | tuple):
        return _named_in(on if isinstance(on, tuple) else (on,))
    return _checked(on)


def is_on(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    """Allow what `On` says."""
    check(selects_errors(value), owner, option.name, value, _ALLOWED)


def _named_in(kinds: tuple[type[Exception], ...]) -> Wish:
    # A wide class such as Exception is no permission to repeat what cannot succeed.
    ours = tuple(kind for kind in kinds if issubclass(kind, PipelineError))
    named = tuple(kind for kind in ours if kind is not PipelineError)

    def wish(error: Exception) -> bool:
        final = isinstance(error, PipelineError) and not isinstance(error, Transient)
        return isinstance(error, named if final else kinds)

    return wish


def _checked(ask: Wish) -> Wish:
    def wish(error: Exception) -> bool | float:
        answer = cast("object", ask(error))
        if isinstance(answer, bool):
            return answer
        if isinstance(answer, int | float) and math.isfinite(answer) and answer >= 0:
            return float(answer)
        raise ConfigurationError(
            f"Retry: on={ask!r} answered {answer!r}; let it answer True, False or seconds"
        ) from error

    return wish
