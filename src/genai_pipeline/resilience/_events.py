"""What policies do, told to whoever listens."""

from __future__ import annotations

import attrs

from genai_pipeline.events import Event

__all__ = [
    "CallThrottled",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitOpened",
    "CircuitSharingFailed",
    "RetryScheduled",
]


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
class CircuitOpened(Event):
    """A circuit refuses calls for *seconds* (infinite: until it is closed by hand)."""

    name: str
    seconds: float
    reason: str


@attrs.frozen(kw_only=True)
class CircuitHalfOpened(Event):
    """A circuit lets single calls through, to see whether the callee is well again."""

    name: str


@attrs.frozen(kw_only=True)
class CircuitClosed(Event):
    """A circuit lets all calls through again."""

    name: str


@attrs.frozen(kw_only=True)
class CircuitSharingFailed(Event):
    """A circuit cannot reach the state it shares; it goes on alone and tries again."""

    name: str
    error: Exception


@attrs.frozen(kw_only=True)
class CallThrottled(Event):
    """A call was refused, as such calls are with this *probability* now."""

    name: str
    probability: float
