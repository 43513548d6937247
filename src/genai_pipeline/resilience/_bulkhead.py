"""`Bulkhead`: so many calls at once, and a bounded line before them."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import BulkheadFull, DeadlineExceeded
from genai_pipeline.events import PolicyWaited, emit
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.resilience._slots import Slots
from genai_pipeline.types import Handler

__all__ = ["Bulkhead", "Slot", "enter_line"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


@attrs.define(eq=False)
class Bulkhead:
    """
    Lets at most *size* calls run at once, so that one slow target cannot take everything.

    The others wait in line, first come first served, up to *queue* of them; one more is refused
    at once with `BulkheadFull`. Nobody waits longer than the caller's deadline, at which
    `DeadlineExceeded` is raised. A slot is given back however the call ends. It belongs to no
    task: the same task may hold several.

    Stands behind `Retry`, so that a call that backs off holds no slot, and behind `RateLimit`, so
    that one that waits for quota holds none.
    """

    passed_by_replays: ClassVar[bool] = True

    size: int = attrs.field(validator=at_least(1))
    """The most calls at once."""

    queue: int = attrs.field(default=1000, kw_only=True, validator=at_least(0))
    """
    The most calls that wait. The default is above what a pipeline has in flight, so that a
    pipeline waits in line and only a flood is refused; a waiting call takes about a kilobyte.
    """

    name: str = attrs.field(default="bulkhead", kw_only=True, validator=_options.text)
    """What events call it."""

    clock: Clock = attrs.field(
        factory=SystemClock, kw_only=True, repr=False, validator=_options.clock
    )

    _slots: Slots = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._slots = Slots(self.size)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on as soon as a slot is free."""
        slots = self._slots
        if not slots.take_free():
            await enter_line(slots, self.queue, self.name, self.clock)
        try:
            return await call_next(value)
        finally:
            slots.give()

    def slot(self) -> Slot:
        """
        Hold a slot over an ``async with`` block, for what outlives a call: an open stream.

        Waits, and refuses, as a call does.
        """
        return Slot(self._slots, self.queue, self.name, self.clock)

    @property
    def in_use(self) -> int:
        """How many calls run now."""
        return self._slots.in_use

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        return self._slots.waiting


@attrs.define(eq=False)
class Slot:
    """A slot from ``async with`` to its end; made by `Bulkhead.slot`."""

    _slots: Slots
    _queue: int
    _name: str
    _clock: Clock

    async def __aenter__(self) -> None:
        if not self._slots.take_free():
            await enter_line(self._slots, self._queue, self._name, self._clock)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._slots.give()


async def enter_line(
    slots: Slots,
    queue: int,
    name: str,
    clock: Clock,
    watch: Callable[[], float] = lambda: math.inf,
) -> None:
    """Wait for a slot and take it, or raise `BulkheadFull` or `DeadlineExceeded`."""
    if slots.waiting >= queue:
        raise BulkheadFull(
            f"{name}: {slots.in_use} calls run and {slots.waiting} wait, the most that may"
        )
    began = clock.now()
    deadline = binding_deadline()
    if deadline <= began:
        raise DeadlineExceeded(f"{name}: the caller's deadline passed before a slot was free")
    try:
        taken = await slots.take(clock, deadline, watch)
    finally:
        emit(PolicyWaited(kind="queue", name=name, seconds=clock.now() - began))
    if not taken:
        raise DeadlineExceeded(f"{name}: no slot was free before the caller's deadline")
