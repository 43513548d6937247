"""`Throttle`: fewer calls to what turns them away."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import ClassVar, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import RateLimited, Rejected, Throttled
from genai_pipeline.events import emit
from genai_pipeline.resilience._events import CallThrottled
from genai_pipeline.resilience._outage import Counts, is_counts, is_outage
from genai_pipeline.types import Handler

__all__ = ["Throttle", "is_turned_away"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_SLICES = 60


def is_turned_away(error: Exception) -> bool | None:
    """Tell whether the callee turned a call away: as `is_outage`, and `RateLimited` too."""
    return True if isinstance(error, RateLimited) else is_outage(error)


def _above_one(owner: object, option: attrs.Attribute[float], value: float) -> None:
    _options.positive(owner, option, value)
    check(value >= 1, owner, option.name, value, "a number, 1 or more")


@attrs.define(kw_only=True, eq=False)
class Throttle:
    """
    Refuses a share of the calls with `Throttled` while the callee turns many away.

    A call is refused with the probability ``(requests - k * accepts) / (requests + 1)``, never
    below zero, over the calls that ended within the last *window_seconds*, refused ones among
    them. So it does nothing until the callee turns away more than one of *k* calls; in a total
    outage about one call in a window gets through, and traffic grows with what is accepted.
    The breaker is all or nothing, this is gradual: for a callee that is overloaded, not dead.

    Which errors mean that the callee turned a call away, *counts* says. Cancelled calls, those
    that a policy inside refused, and those whose error says nothing count as nothing. A call
    counts when it ends, lest many slow ones under way look like refusals.

    All who use the instance share its state, on one event loop at a time. The algorithm is
    client-side throttling from *Site Reliability Engineering* (Google, 2016), chapter 21.
    """

    passed_by_replays: ClassVar[bool] = True

    name: str = attrs.field(default="throttle", validator=_options.text)
    """Named in events and errors."""

    k: float = attrs.field(default=2.0, validator=_above_one)
    """How many calls to make for each that is accepted; a lower one refuses sooner."""

    window_seconds: float = attrs.field(default=120.0, validator=_options.positive)
    pause: float = attrs.field(default=1.0, validator=_options.positive)
    """After how many seconds a refused call may try again."""

    counts: Counts = attrs.field(default=is_turned_away, validator=is_counts)
    """Says of an error whether the call was turned away (`True`), accepted, or nothing (`None`)."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)
    random: Callable[[], float] = attrs.field(
        default=random.random, repr=False, validator=_options.random
    )
    _accepted: int = attrs.field(default=0, init=False, repr=False)
    _away: int = attrs.field(default=0, init=False, repr=False)
    _before: tuple[int, int] = attrs.field(default=(0, 0), init=False, repr=False)
    """How many were accepted and turned away before the window; both are counted for ever."""

    _slices: deque[tuple[float, int, int]] = attrs.field(factory=deque, init=False, repr=False)
    """The ends of the stretches of time in the window, and what had been counted by then."""

    _slice_ends: float = attrs.field(default=-math.inf, init=False, repr=False)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on, or raise `Throttled`."""
        if self._away > self._before[1]:
            self._refuse_some()
        try:
            answer = await call_next(value)
        except Exception as error:
            away = None if isinstance(error, Rejected) else self.counts(error)
            if away is not None:
                self._count(away)
            raise
        self._count(False)
        return answer

    @property
    def probability(self) -> float:
        """The share of calls that are refused now."""
        accepted, requests = self._recent()
        return max(0.0, (requests - self.k * accepted) / (requests + 1))

    def _refuse_some(self) -> None:
        probability = self.probability
        if self.random() >= probability:
            return
        accepted, requests = self._recent()
        self._count(True)
        emit(CallThrottled(name=self.name, probability=probability))
        raise Throttled(
            f"{self.name} refuses {probability:.0%} of the calls: {accepted} of the last"
            f" {requests} were accepted",
            retry_after=self.pause,
        )

    def _recent(self) -> tuple[int, int]:
        """Answer how many of how many calls were accepted in the window."""
        self._pass_time()
        accepted = self._accepted - self._before[0]
        return accepted, accepted + self._away - self._before[1]

    def _count(self, away: bool) -> None:  # noqa: FBT001
        self._pass_time()
        if away:
            self._away += 1
        else:
            self._accepted += 1

    def _pass_time(self) -> None:
        now = self.clock.now()
        if now < self._slice_ends:
            return
        slices = self._slices
        slices.append((self._slice_ends, self._accepted, self._away))
        while slices and slices[0][0] <= now - self.window_seconds:
            _, accepted, away = slices.popleft()
            self._before = (accepted, away)
        self._slice_ends = now + self.window_seconds / _SLICES
