"""What policies do, told to whoever listens."""

from __future__ import annotations

import attrs

from genai_pipeline.events import Event

__all__ = ["RetryScheduled"]


@attrs.frozen(kw_only=True)
class RetryScheduled(Event):
    """
    An attempt failed, and the call will be tried again in *wait* seconds.

    *attempt* is the one that failed, counted from 1; *error* is the class name of its failure,
    *name* the policy's.
    """

    name: str
    attempt: int
    wait: float
    error: str


@attrs.frozen(kw_only=True)
class FallbackTaken(Event):
    """
    A call goes on to another target, *target*, because the one before failed with *error*.

    *error* is a class name; it is ``NotAccepted`` when the answer was not good enough.
    """

    name: str
    target: str
    error: str
