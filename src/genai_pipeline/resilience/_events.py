"""What policies do, told to whoever listens."""

from __future__ import annotations

from typing import Literal

import attrs

from genai_pipeline.events import Event

__all__ = [
    "CallThrottled",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitOpened",
    "CircuitSharingFailed",
    "ConcurrencyChanged",
    "CooldownBegan",
    "QuotaLearned",
    "RetryScheduled",
    "SharedQuotaLost",
    "SharedQuotaRegained",
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
class ConcurrencyChanged(Event):
    """
    An adaptive limit lets *limit* calls run at once, where it let *was*.

    *reason* says why: the provider ``throttled``, calls succeeded (``grown``), or calls waited
    and none ended for long (``stalled``).
    """

    name: str
    limit: int
    was: int
    reason: Literal["throttled", "grown", "stalled"]


@attrs.frozen(kw_only=True)
class CooldownBegan(Event):
    """The provider asked to slow down: nobody calls it for *seconds*, and then gradually again."""

    name: str
    seconds: float


@attrs.frozen(kw_only=True)
class QuotaLearned(Event):
    """The provider told its quota: *limit* of *dimension* in each *per* seconds."""

    name: str
    dimension: str
    limit: float
    per: float


@attrs.frozen(kw_only=True)
class SharedQuotaLost(Event):
    """
    The server of a shared quota is out of reach.

    This process goes on with its part, one of *processes*; *error* is the class name of what
    happened.
    """

    name: str
    processes: int
    error: str


@attrs.frozen(kw_only=True)
class SharedQuotaRegained(Event):
    """The server of a shared quota answers again."""

    name: str


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
