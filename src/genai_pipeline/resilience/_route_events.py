"""What caches and routes do, told to whoever listens."""

from __future__ import annotations

from typing import Literal

import attrs

from genai_pipeline.events import Event
from genai_pipeline.messages import Usage

__all__ = [
    "CacheAnswered",
    "CacheFailed",
    "CacheMissed",
    "DegradationChanged",
    "FallbackTaken",
    "HedgeLost",
    "HedgeStarted",
    "TargetRested",
]


@attrs.frozen(kw_only=True)
class FallbackTaken(Event):
    """
    A call goes on to another target, *target*, because the one before failed with *error*.

    *error* is a class name; it is ``NotAccepted`` when the answer was not good enough.
    """

    name: str
    target: str
    error: str


@attrs.frozen(kw_only=True)
class CacheAnswered(Event):
    """
    A call was answered without being made.

    *kind* is ``fresh`` for an entry of the store, ``stale`` for one past its time that stands
    in for a failure, ``shared`` for the answer of an equal call that was under way. *seconds* is
    the entry's age.
    """

    name: str
    kind: Literal["fresh", "stale", "shared"]
    seconds: float = 0.0


@attrs.frozen(kw_only=True)
class CacheMissed(Event):
    """The store had no fresh answer, so the call is made."""

    name: str


@attrs.frozen(kw_only=True)
class CacheFailed(Event):
    """The store failed to *operation* (``get`` or ``put``); the call went on without it."""

    name: str
    operation: Literal["get", "put"]
    error: Exception


@attrs.frozen(kw_only=True)
class TargetRested(Event):
    """A balancer asks *target* nothing for *seconds*, because it asked for that by *error*."""

    name: str
    target: str
    seconds: float
    error: str


@attrs.frozen(kw_only=True)
class HedgeStarted(Event):
    """
    A call is made once more, to *target*, without waiting longer for what is under way.

    *seconds* is how long the call has taken so far; *error* is the class name of the failure
    that gave the reason, `None` when it was slowness.
    """

    name: str
    target: str
    seconds: float
    error: str | None = None


@attrs.frozen(kw_only=True)
class HedgeLost(Event):
    """
    An attempt was not needed, because another answered first; its tokens are billed all the same.

    It ran for *seconds*. *usage* is its own if it had ended, else *estimated*: that of the
    winner, since the request is the same. `None` where answers tell no usage.
    """

    name: str
    target: str
    seconds: float
    usage: Usage | None
    estimated: bool


@attrs.frozen(kw_only=True)
class DegradationChanged(Event):
    """
    Calls are now answered by *level*, number *index* of the levels, instead of *previous*.

    *degraded* tells whether that is a lower level than the first.
    """

    name: str
    level: str
    previous: str
    index: int
    degraded: bool
