"""`AdaptiveLimit`: as many calls at once as the provider bears."""

from __future__ import annotations

import math
from types import TracebackType
from typing import ClassVar, Literal, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._listeners import listened
from genai_pipeline._options import at_least, check, positive
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import AttemptTimeout, Overloaded, RateLimited
from genai_pipeline.events import emit
from genai_pipeline.resilience._bulkhead import enter_line
from genai_pipeline.resilience._events import ConcurrencyChanged
from genai_pipeline.resilience._slots import Slots
from genai_pipeline.types import Handler

__all__ = ["AdaptiveLimit", "AdaptiveSlot"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_RECOVERED = 0.5


@attrs.define(kw_only=True, eq=False, on_setattr=attrs.setters.NO_OP)  # its state changes often
class AdaptiveLimit:
    """
    Finds how many calls at once a provider bears: more while all is well, fewer when it protests.

    Additive increase, multiplicative decrease, as TCP does it (Jacobson 1988) and Netflix's
    concurrency-limits: a call that fails with `RateLimited`, `Overloaded` or `AttemptTimeout`
    takes a tenth off the limit, at least one, and only if the call began after the last
    decrease: one protest of a whole burst counts once. Calls that succeed while at least half of
    the limit is in use add to it: one each while it ramps up, at the start and after trouble up to
    half of what it was before; beyond that, one for each *limit* of them. Latency plays no part,
    since a model's depends on the length of its answer.

    It never stands still. The limit does not fall below *floor*; after trouble it doubles with
    each round of successes instead of creeping; and when calls wait but none has ended for
    *patience* seconds, one more is let through.

    Calls beyond the limit wait in line, first come first served, up to *queue* of them; one more
    is refused with `BulkheadFull`. Nobody waits longer than the caller's deadline, at which
    `DeadlineExceeded` is raised. Cancelled calls and other errors change nothing. The limit is for
    one provider and model; give each its own instance.
    """

    passed_by_replays: ClassVar[bool] = True

    initial: int = attrs.field(default=10, validator=at_least(1))
    """The limit to begin with."""

    floor: int = attrs.field(default=1, validator=at_least(1))
    """The limit never falls below."""

    ceiling: int = attrs.field(default=256, validator=at_least(1))
    """The limit never rises above; at most what connections there are."""

    queue: int = attrs.field(default=1000, validator=at_least(0))
    """The most calls that wait."""

    patience: float = attrs.field(default=60.0, validator=positive)
    """Seconds without the end of any call after which a waiting one is let through anyway."""

    name: str = attrs.field(default="adaptive_limit", validator=_options.text)
    """What events call it."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)

    _slots: Slots = attrs.field(init=False, repr=False)
    _limit: float = attrs.field(init=False, repr=False)
    _ramp_to: float = attrs.field(default=math.inf, init=False, repr=False)
    _calls: int = attrs.field(default=0, init=False, repr=False)
    _decreased_at: int = attrs.field(default=0, init=False, repr=False)
    _calm: int = attrs.field(default=0, init=False, repr=False)
    _in_trouble: bool = attrs.field(default=False, init=False, repr=False)
    _moved: float = attrs.field(default=-math.inf, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        fine = self.floor <= self.initial <= self.ceiling
        allowed = f"a whole number from floor={self.floor} to ceiling={self.ceiling}"
        check(fine, self, "initial", self.initial, allowed)
        self._limit = self.initial
        self._slots = Slots(self.initial)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on as soon as the limit allows, and learn from how it ends."""
        slots = self._slots
        if not slots.take_free():
            await self._wait_in_line()
        self._calls = number = self._calls + 1
        try:
            answer = await call_next(value)
        except Exception as error:
            self._failed(number, error)
            raise
        else:
            self._succeeded()
            return answer
        finally:
            slots.give()

    def slot(self) -> AdaptiveSlot:
        """
        Hold a slot over an ``async with`` block, for what outlives a call: an open stream.

        Waits and refuses as a call does, and learns from how the block ends.
        """
        return AdaptiveSlot(self)

    @property
    def limit(self) -> int:
        """The most calls at once, now."""
        return self._slots.limit

    @property
    def in_use(self) -> int:
        """How many calls run now."""
        return self._slots.in_use

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        return self._slots.waiting

    async def _begin(self) -> int:
        """Take a slot; answer the number of the call that has it."""
        if not self._slots.take_free():
            await self._wait_in_line()
        self._calls += 1
        return self._calls

    def _finish(self, number: int, error: BaseException | None) -> None:
        """Give back the slot of a call that ended so."""
        try:
            if error is None:
                self._succeeded()
            elif isinstance(error, Exception):
                self._failed(number, error)
        finally:
            self._slots.give()

    async def _wait_in_line(self) -> None:
        if not self._slots.waiting:
            self._moved = self.clock.now()
        await enter_line(self._slots, self.queue, self.name, self.clock, self._watch)

    def _failed(self, number: int, error: Exception) -> None:
        self._moved = self.clock.now()
        if isinstance(error, RateLimited | Overloaded | AttemptTimeout):
            self._protested(number)

    def _protested(self, number: int) -> None:
        self._calm = 0
        if number <= self._decreased_at:
            return  # it was on its way when the limit fell
        self._decreased_at = self._calls
        if not self._in_trouble:
            self._in_trouble = True
            self._ramp_to = self._limit * _RECOVERED
        self._set(max(self.floor, min(self._limit * 0.9, self._limit - 1)), "throttled")

    def _succeeded(self) -> None:
        slots = self._slots
        if slots.waiting:  # nobody needs to know otherwise
            self._moved = self.clock.now()
        self._calm += 1
        if self._calm >= slots.limit:
            self._in_trouble = False
        if self._limit >= self.ceiling or slots.in_use * 2 < self._limit:
            return
        if self._in_trouble:
            return
        step = 1.0 if self._limit < self._ramp_to else 1.0 / self._limit
        self._set(min(self.ceiling, self._limit + step), "grown")

    def _set(self, limit: float, reason: Literal["throttled", "grown", "stalled"]) -> None:
        self._limit = limit
        whole, was = int(limit), self._slots.limit
        if whole == was:
            return
        self._slots.resize(whole)
        if listened():
            emit(ConcurrencyChanged(name=self.name, limit=whole, was=was, reason=reason))

    def _watch(self) -> float:
        """Let one more through when nothing has moved for long; answer when to look again."""
        now = self.clock.now()
        if now >= self._moved + self.patience:
            self._moved = now
            self._set(min(self.ceiling, self._limit + 1), "stalled")
        return self._moved + self.patience


@attrs.define(eq=False)
class AdaptiveSlot:
    """A slot from ``async with`` to its end; made by `AdaptiveLimit.slot`."""

    _limit: AdaptiveLimit
    _number: int = attrs.field(default=0, init=False)

    async def __aenter__(self) -> None:
        self._number = await self._limit._begin()  # noqa: SLF001 - its own

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._limit._finish(self._number, error)  # noqa: SLF001 - its own
