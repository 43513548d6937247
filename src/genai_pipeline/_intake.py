"""Pausing intake: while this process has too much memory, the source is asked for nothing more."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline._closing import close_deliveries
from genai_pipeline._handoff import Handoff
from genai_pipeline._options import check, is_number
from genai_pipeline._resident_memory import resident_memory
from genai_pipeline._run_journal import RunJournal
from genai_pipeline._tally import Tally
from genai_pipeline.clock import Clock
from genai_pipeline.events import IntakePaused, IntakeResumed, emit
from genai_pipeline.records import Delivery
from genai_pipeline.types import Source

if TYPE_CHECKING:
    from genai_pipeline.pipeline import Pipeline

__all__ = ["Intake", "intake_of"]

_LOOK_EVERY = 0.1
_RESUME_SHARE = 0.95


def intake_of(
    pipeline: Pipeline[Any, Any],
    handoff: Handoff[Delivery[Any]],
    tally: Tally,
    journal: RunJournal | None,
) -> Source[Any]:
    """Answer the source of *pipeline*, behind an `Intake` if its memory is limited."""
    if pipeline.max_memory is None:
        return pipeline.source
    return Intake(
        source=pipeline.source,
        max_memory=pipeline.max_memory,
        memory_used=pipeline.memory_used or resident_memory,
        clock=pipeline.clock,
        handoff=handoff,
        tally=tally,
        journal=journal,
    )


@attrs.define(kw_only=True, eq=False)
class Intake:
    """
    A source that is asked for nothing more while this process uses more than *max_memory*.

    It goes on when a twentieth of that is free again. As soon as nothing is in flight, it lets one
    record through whatever is used, so that a run comes to its end where memory never falls.
    """

    source: Source[Any]
    max_memory: int
    memory_used: Callable[[], int]
    clock: Clock
    handoff: Handoff[Delivery[Any]]
    tally: Tally
    journal: RunJournal | None
    """Tells others what the run waits for."""

    _look_at: float = attrs.field(default=-math.inf, init=False)
    _paused_at: float | None = attrs.field(default=None, init=False)

    def __aiter__(self) -> AsyncIterator[Delivery[Any]]:
        return _Deliveries(self, aiter(self.source))

    async def wait(self) -> None:
        """Wait until the source may be asked for one record more."""
        await self._look()
        while self._paused_at is not None and not self.handoff.idle:
            began = self.clock.now()
            try:
                with self.clock.cancel_at(self._look_at):
                    await self.handoff.wait_until_idle()
            finally:
                self.tally.paused += self.clock.now() - began
            await self._look()

    async def _look(self) -> None:
        now = self.clock.now()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        try:
            memory = self.memory_used()
        except OSError:
            return  # such as too many open files: to be seen next time
        check(is_number(memory), "Pipeline", "memory_used", memory, "one that answers bytes")
        if self._paused_at is None and memory > self.max_memory:
            self._paused_at = now
            emit(IntakePaused(memory=memory, max_memory=self.max_memory))
            await self._tell(f"memory below {self.max_memory} bytes")
        elif self._paused_at is not None and memory <= _RESUME_SHARE * self.max_memory:
            emit(IntakeResumed(memory=memory, seconds=now - self._paused_at))
            self._paused_at = None
            await self._tell(None)

    async def _tell(self, what: str | None) -> None:
        if self.journal is not None:
            await self.journal.tell("memory", what)


@attrs.frozen(eq=False)
class _Deliveries:
    """What the source of an intake delivers, in one iteration."""

    intake: Intake
    deliveries: AsyncIterator[Delivery[Any]]

    def __aiter__(self) -> AsyncIterator[Delivery[Any]]:
        return self

    async def __anext__(self) -> Delivery[Any]:
        await self.intake.wait()
        return await anext(self.deliveries)

    async def aclose(self) -> None:
        await close_deliveries(self.deliveries)
