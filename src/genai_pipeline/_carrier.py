"""Carrying one delivery from its source to its one end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar, Protocol

import anyio
import attrs

from genai_pipeline._chain import Chain
from genai_pipeline._error_groups import failure_in
from genai_pipeline._fan_out import FAN_OUT, for_each
from genai_pipeline._paid import CallRecorder
from genai_pipeline._space import Space, is_full
from genai_pipeline._tally import Tally
from genai_pipeline.clock import Clock
from genai_pipeline.errors import (
    DeadlineExceeded,
    Rejected,
    Stopped,
    StorageFull,
    Systemic,
    classify,
)
from genai_pipeline.events import Outcome, RecordSettled, emit
from genai_pipeline.records import DeadLetter, Delivery, Record, accept
from genai_pipeline.types import Sink
from genai_pipeline.walk import Fate, Run, Walk, set_walk

__all__ = ["Carrier", "Engine"]

_TRACE_CHARACTERS = 4000
_SETTLE_SECONDS = 30.0


class Engine(Run, Protocol):
    """What a carrier needs of the run, beyond what every walk may ask."""

    deadline: float

    def passed(self, walk: Walk, /) -> None:
        """Note that *walk* has written what it had to write."""
        ...

    def fail(self, error: Exception, /, *, stop: str | None) -> None:
        """Note an error to be raised at the end, and stop for the reason given, if any."""
        ...

    def count_failure(self, kind: str, /) -> None:
        """Note that a record failed in the way of *kind*, which may be one too many."""
        ...


class Walker(Protocol):
    """Walks a record through the stages, wherever that is."""

    async def walk(self, record: Record[Any], walk: Walk, /) -> Sequence[Record[Any]]:
        """Answer all that *record* becomes, as a part of *walk*."""
        ...


@attrs.frozen(kw_only=True, eq=False)
class Carrier:
    """Walks deliveries through the stage and the sink, and settles each exactly once."""

    engine: Engine
    clock: Clock
    tally: Tally
    stage: Chain
    sink: Sink[Any]
    dead_letters: Sink[DeadLetter] | None
    record_timeout: float | None
    ordered: bool
    space: Space | None
    """Where to wait when a disk is full; `None` to stop."""

    silent: bool
    """Whether nobody listens to what becomes of each record."""

    _note_sink: Callable[[float], None] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: self.tally.notes(("sink",))[0], takes_self=True),
    )

    quick: ClassVar[bool] = True
    """Whether a good end is no more than counted where the source keeps no account."""

    async def carry(
        self, delivery: Delivery[Any], ordinal: int, recorder: CallRecorder | None = None
    ) -> None:
        """Take *delivery* to its end; when cancelled, hand it back first."""
        began = self.clock.now()
        engine = self.engine
        timed = ordinal % self.tally.time_one_in == 0
        walk = Walk(engine, delivery.record, ordinal, engine.deadline, timed, recorder)
        set_walk(walk)
        try:
            if delivery.error is not None:
                walk.failed_in("source", delivery.error)
                fate: Fate = delivery.error
            elif self.record_timeout is None:
                fate = await self._begin_work(walk)
            else:
                walk.deadline = min(began + self.record_timeout, walk.deadline)
                fate = await self._work_in_time(walk)
            if walk.joined is not None:
                self._release(walk, fate)
                fate = await self._join(walk, fate)
                fate = await self._close_groups(walk, fate)
            elif walk.carries is not None:
                fate = await self._close_groups(walk, fate)
                self._release(walk, fate)
            elif self.ordered:
                self._release(walk, fate)
            if isinstance(fate, Exception):
                await self._end_badly(delivery, walk, fate, began)
            elif self.quick and delivery.settle is accept:
                self._count(walk, fate, None, began)
            else:
                await self._settle(delivery, walk, fate, None, began)
        except BaseException as cancellation:
            if not walk.ended:
                error = Stopped("the run was cancelled before the record was finished")
                error.__cause__ = cancellation.__cause__
                self._release(walk, error)
                await self._settle(delivery, walk, "handed_back", error, began)
            raise

    def _begin_work(self, walk: Walk) -> Coroutine[Any, Any, Fate]:
        """Answer what walks the record of *walk*, for the first time or again."""
        return self._work(walk)

    async def _work(self, walk: Walk, walker: Walker | None = None) -> Fate:
        try:
            outputs = await (walker or self.stage).walk(walk.record, walk)
            if not outputs:
                return "filtered"
            if walk.marks:
                outputs = [record.with_attributes(**walk.marks) for record in outputs]
            began = self.clock.now() if walk.timed else 0.0
            if self.record_timeout is not None:
                walk.unwritten = dict(enumerate(outputs))
            if len(outputs) == 1:
                try:
                    await self.sink(outputs[0])
                except Rejected as rejection:
                    await self.engine.park(rejection, "sink", walk)
                    await self._put(walk, walk.unwritten or {0: outputs[0]}, 0)
                except (OSError, StorageFull) as error:
                    left = walk.unwritten or {0: outputs[0]}
                    await self._put_with_space(walk, left, 0, error)
            else:
                await self._put_all(walk, walk.unwritten or dict(enumerate(outputs)))
            if walk.timed:
                self._note_sink(self.clock.now() - began - walk.waited_for_turn)
        except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - a way to end
            failure = await failure_in(raised)
            walk.failed_in("sink", failure)
            return failure
        return "written"

    async def _work_in_time(self, walk: Walk) -> Fate:
        fate: Fate | None = None
        with self.clock.cancel_at(walk.deadline):
            fate = await self._begin_work(walk)
        if fate is None and walk.unwritten is not None and self._lacked_space():
            # Its time was up for want of space, of which it is not to die, nor those behind it.
            fate = await self._write_on(walk, walk.unwritten)
        if fate is None:
            return DeadlineExceeded(f"the record took longer than {self.record_timeout} s")
        return fate

    def _lacked_space(self) -> bool:
        timeout = self.record_timeout
        if self.space is None or timeout is None:
            return False
        return self.space.lacked_since(self.clock.now() - timeout)

    async def _write_on(self, walk: Walk, left: dict[int, Record[Any]]) -> Fate:
        try:
            await self._put_all(walk, left)
        except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - a way to end
            failure = await failure_in(raised)
            walk.failed_in("sink", failure)
            return failure
        return "written"

    async def _put_all(self, walk: Walk, left: dict[int, Record[Any]]) -> None:
        """Write what is *left*, of which what is written is taken out."""
        if self.ordered:
            for number in [*left]:
                await self._put(walk, left, number)
        else:
            await for_each([*left], partial(self._put, walk, left), at_once=FAN_OUT)

    async def _put(self, walk: Walk, left: dict[int, Record[Any]], number: int) -> None:
        try:
            await self._try_to_put(walk, left, number)
        except (OSError, StorageFull) as error:
            await self._put_with_space(walk, left, number, error)

    async def _try_to_put(self, walk: Walk, left: dict[int, Record[Any]], number: int) -> None:
        while True:
            try:
                await self.sink(left[number])
            except Rejected as rejection:
                await self.engine.park(rejection, "sink", walk)
            else:
                del left[number]
                return

    async def _put_with_space(
        self, walk: Walk, left: dict[int, Record[Any]], number: int, error: Exception
    ) -> None:
        """Write one when there is space, which *error* said there was none for."""
        if self.space is None or not is_full(error):
            raise error
        await self.space.write(partial(self._try_to_put, walk, left, number), walk, error)

    async def _close_groups(self, walk: Walk, fate: Fate) -> Fate:  # noqa: ARG002 - see the subclass
        """Note how the groups that *walk* carries have ended; answer the end of *walk*."""
        return fate

    def _release(self, walk: Walk, fate: Fate) -> None:
        """Let go those who wait for what this walk had to write."""
        if walk.carries:
            stage = walk.stage_of(fate) if isinstance(fate, Exception) else None
            for shared in walk.carries:
                shared.decide(fate, stage, walk.joined or ())
        if self.ordered:
            self.engine.passed(walk)

    async def _join(self, walk: Walk, fate: Fate) -> Fate:
        """Answer the end that the records which carry this one on came to."""
        while walk.joined and not isinstance(fate, Exception):
            shared = walk.joined.pop()
            theirs = await shared.wait()
            if isinstance(theirs, Rejected):
                walk.attempts += 1
                theirs = await self._work_in_time(walk)
                self._release(walk, theirs)
            elif isinstance(theirs, Exception) and shared.stage is not None:
                walk.failed_in(shared.stage, theirs)
            if theirs != "filtered":
                fate = theirs
        return fate

    async def _end_badly(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        if self._is_runs_fault(error):
            if isinstance(error, Systemic):
                self.engine.fail(error, stop=f"{type(error).__name__}: {error}")
            await self._settle(delivery, walk, "handed_back", error, began)
        else:
            self.tally.errors[type(error).__name__] += 1
            await self._bury(delivery, walk, error, began)
            self.engine.count_failure(f"{type(error).__name__} in {walk.stage_of(error)}")

    def _is_runs_fault(self, error: Exception) -> bool:
        if isinstance(error, DeadlineExceeded):
            return self.clock.now() >= self.engine.deadline
        return isinstance(error, Stopped | Systemic)

    async def _bury(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        if self.dead_letters is None:
            await self._end_without_letter(delivery, walk, error, began)
            return
        try:
            await self._put_letter(walk, self._dead_letter(walk, error, began))
        except Stopped:
            await self._settle(delivery, walk, "handed_back", error, began)
        except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - reported, and handed back
            failure = await failure_in(raised)
            self.engine.fail(failure, stop="the dead letters cannot be written")
            await self._settle(delivery, walk, "handed_back", error, began)
        else:
            await self._settle(delivery, walk, "dead", error, began)

    async def _put_letter(self, walk: Walk, letter: Record[DeadLetter]) -> None:
        assert self.dead_letters is not None
        try:
            await self.dead_letters(letter)
        except (OSError, StorageFull) as error:
            if self.space is None or not is_full(error):
                raise
            await self.space.write(partial(self.dead_letters, letter), walk, error)

    async def _end_without_letter(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        self.engine.fail(error, stop=None)
        await self._settle(delivery, walk, "handed_back", error, began)

    def _dead_letter(self, walk: Walk, error: Exception, began: float) -> Record[DeadLetter]:
        wall, record = self.clock.wall(), walk.record
        kind = type(error)
        letter = DeadLetter(
            key=record.key,
            payload=record.value,
            attributes=record.attributes,
            error=f"{kind.__module__}.{kind.__qualname__}",
            category=classify(error),
            message=str(error),
            stage=walk.stage_of(error) or "",
            attempts=walk.attempts,
            read_at=datetime.fromtimestamp(wall - (self.clock.now() - began), UTC),
            failed_at=datetime.fromtimestamp(wall, UTC),
            trace="".join(traceback.format_exception(error))[-_TRACE_CHARACTERS:],
        )
        return record.with_value(letter)

    async def _settle(
        self,
        delivery: Delivery[Any],
        walk: Walk,
        outcome: Outcome,
        error: Exception | None,
        began: float,
    ) -> None:
        self._count(walk, outcome, error, began)
        if delivery.settle is not accept:
            # Its source must hear of the end even when the run is cancelled at this moment.
            with anyio.move_on_after(_SETTLE_SECONDS, shield=True):
                try:
                    await delivery.settle(error if outcome == "handed_back" else None)
                except Exception as failure:  # noqa: BLE001 - the source will deliver it again
                    self.engine.fail(failure, stop="the source did not take back a record")

    def _count(self, walk: Walk, outcome: Outcome, error: Exception | None, began: float) -> None:
        walk.ended = True
        seconds = self.clock.now() - began
        self.tally.end(outcome, seconds)
        if not self.silent:
            emit(
                RecordSettled(
                    key=walk.record.key,
                    outcome=outcome,
                    seconds=seconds,
                    error=error,
                    stage=None if error is None else walk.stage_of(error),
                )
            )
