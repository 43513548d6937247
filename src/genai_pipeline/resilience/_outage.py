"""Which failures say that the callee is ill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from genai_pipeline._options import function
from genai_pipeline.errors import (
    InvalidAnswer,
    PipelineError,
    RateLimited,
    Refused,
    Transient,
    Truncated,
    classify,
)

__all__ = ["Counts", "is_counts", "is_outage"]

Counts: TypeAlias = Callable[[Exception], bool | None]
"""What an error says of the callee: `True` ill, `False` well, `None` nothing."""

is_counts = function("the error that answers True, False or None")
"""Allows what `Counts` says."""


def is_outage(error: Exception) -> bool | None:
    """
    Tell whether *error* says that the callee is ill (`True`), well (`False`) or nothing (`None`).

    Ill: `Overloaded`, `ConnectionFailed`, `AttemptTimeout` and any other `Transient` but
    `RateLimited`, which says that there were too many calls, and `InvalidAnswer`, which may be
    the model's whim; also a foreign `ConnectionError` or `TimeoutError`. Well: `Truncated` and
    `Refused`, which are answers. Everything else, like a wrong request, never got that far.
    """
    if isinstance(error, Transient):
        return None if isinstance(error, RateLimited | InvalidAnswer) else True
    if isinstance(error, PipelineError):
        return False if isinstance(error, Truncated | Refused) else None
    return True if classify(error) == "transient" else None
