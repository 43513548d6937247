"""The engine: one reader, workers that each walk one record at a time, and an orderly stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from genai_pipeline._carrier import Carrier
from genai_pipeline._chain import Chain
from genai_pipeline._failure_limit import FailureLimit
from genai_pipeline._fan_out import FAN_OUT
from genai_pipeline._handoff import Handoff
from genai_pipeline._intake import intake_of
from genai_pipeline._lifespan import Lifespan
from genai_pipeline._listeners import listened
from genai_pipeline._lost_calls import require_reconcilable
from genai_pipeline._order import is_ordered
from genai_pipeline._reader import Reader
from genai_pipeline._run_journal import RunJournal
from genai_pipeline._signals import received_signals
from genai_pipeline._space import Space
from genai_pipeline._tally import Tally, run_ended
from genai_pipeline._turnstile import Turnstile
from genai_pipeline.errors import DeadlineExceeded, Rejected, Stopped
from genai_pipeline.events import (
    RecordWaited,
    RunStarted,
    StopRequested,
    emit,
    listen,
)
from genai_pipeline.records import Delivery
from genai_pipeline.report import Report, RunFailed
from genai_pipeline.walk import Walk

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from genai_pipeline._isolation import Isolation
    from genai_pipeline.pipeline import Pipeline

__all__ = ["Runner"]

_ERRORS_KEPT = 100
_CHECKPOINT_EVERY = 64
_LEAST_WAIT = 0.01
_DEFAULT_WAIT = 1.0
_CLOSE_SECONDS = 30.0


class _Failing(Exception):
    """Tells those who are left, on the way out, that the run failed."""


class Runner:
    """One run of a pipeline."""

    def __init__(self, pipeline: Pipeline[Any, Any], *, endless: bool) -> None:
        self.clock = pipeline.clock
        self.deadline = math.inf
        self._pipeline = pipeline
        stage = pipeline.stage
        self._chain = stage if isinstance(stage, Chain) else Chain((stage,), fan_out=FAN_OUT)
        self._tally = Tally(clock=self.clock, workers=pipeline.max_in_flight)
        self._handoff: Handoff[Delivery[Any]] = Handoff(pipeline.max_in_flight, self._begin_worker)
        self._turnstile = Turnstile() if is_ordered(pipeline.sink) else None
        self._journal = RunJournal.of(
            pipeline, self._chain.marks, lambda: self._stopped is not None
        )
        self._reader = Reader(
            source=intake_of(pipeline, self._handoff, self._tally, self._journal),
            handoff=self._handoff,
            tally=self._tally,
            clock=self.clock,
            fail=self.fail,
            endless=endless,
        )
        self._isolation: Isolation | None = None
        self._space = self._make_space(pipeline)
        self._carrier = self._make_carrier(pipeline)
        self.notes = self._tally.notes
        self.fold = self._tally.fold
        self._failure_limit = FailureLimit(pipeline.max_failures, alike=self._journal is not None)
        self._errors: list[Exception] = []
        self._taken = 0
        self._stopped: str | None = None
        self._closed_at: Report | None = None
        self._stopping = anyio.Event()
        self._work: TaskGroup

    def _make_space(self, pipeline: Pipeline[Any, Any]) -> Space | None:
        waits = "stop" if self._journal is None else "wait"
        if (pipeline.on_full_disk or waits) == "stop":
            return None
        return Space(clock=self.clock, park=self.park, journal=self._journal)

    def _make_carrier(self, pipeline: Pipeline[Any, Any]) -> Carrier:
        options: dict[str, Any] = {
            "engine": self,
            "clock": self.clock,
            "tally": self._tally,
            "stage": self._chain,
            "silent": not listened(),
            "sink": pipeline.sink,
            "dead_letters": pipeline.dead_letters,
            "record_timeout": pipeline.record_timeout,
            "ordered": self._turnstile is not None,
            "space": self._space,
        }
        if self._journal is None:
            return Carrier(**options)
        # Slow to import, for a pipeline without a journal.
        from genai_pipeline._isolation import Isolation  # noqa: PLC0415
        from genai_pipeline._journaled import JournaledCarrier  # noqa: PLC0415

        require_reconcilable(self._chain.stages)
        self._isolation = Isolation(self._chain, self.clock)
        return JournaledCarrier(
            **options,
            journal=self._journal,
            isolation=self._isolation,
            skip=self._reader.skip,
            subject=pipeline.subject,
        )

    # What the pipeline asks.

    async def execute(self) -> Report:
        """Run to the end; answer the account, or raise `RunFailed`."""
        if self._pipeline.timeout is not None:
            self.deadline = self.clock.now() + self._pipeline.timeout
        with listen(self._tally.hear):
            emit(RunStarted(max_in_flight=self._pipeline.max_in_flight))
            try:
                await self._live()
            finally:
                report = self._closed_at = self.report()
                emit(run_ended(report))
        report.check()
        if self._errors:
            raise RunFailed(_summary(self._errors), self._errors, report)
        return report

    def report(self) -> Report:
        """Answer the account so far."""
        return self._closed_at or self._tally.report(
            stages=(*self._chain.names, "sink"),
            pending=self._handoff.busy + len(self._handoff),
            in_flight=self._handoff.busy,
            exhausted=self._reader.exhausted,
            stopped=self._stopped,
            journal=self._journal,
        )

    def stop(self, reason: str) -> None:
        """Read no more, and let what is in flight end within the pipeline's grace."""
        if self._stopped is None:
            self._stopped = reason
            emit(StopRequested(reason=reason, grace=self._pipeline.grace))
            self._stopping.set()
            self._reader.stop()
            if self._journal is not None:
                self._journal.stop()
            if self._space is not None:
                self._space.give_up()

    # What walks and the carrier ask.

    async def park(self, rejection: Rejected, stage: str, walk: Walk) -> None:
        """Wait until a rejected call may be tried again."""
        self._raise_if_stopping(rejection)
        wanted = _DEFAULT_WAIT if rejection.retry_after is None else rejection.retry_after
        seconds = max(wanted, _LEAST_WAIT)
        began = self.clock.now()
        if began + seconds > walk.deadline and walk.deadline < self.deadline:
            raise DeadlineExceeded(
                f"{stage} may go on in {seconds:g} s, which is past the deadline"
            ) from rejection
        self._tally.rejections += 1
        emit(RecordWaited(key=walk.record.key, stage=stage, seconds=seconds, error=rejection))
        try:
            with self.clock.cancel_at(began + seconds):
                await self._stopping.wait()
        finally:
            self._tally.park(rejection.waits_for, self.clock.now() - began)
        self._raise_if_stopping(rejection)

    def _raise_if_stopping(self, rejection: Rejected) -> None:
        if self._stopping.is_set():
            raise Stopped("the run stopped while the record waited") from rejection

    async def turn(self, walk: Walk) -> None:
        """Wait until every record read before this one has written what it had to write."""
        if self._turnstile is not None:
            began = self.clock.now()
            await self._turnstile.wait(walk.ordinal)
            walk.waited_for_turn += self.clock.now() - began

    def passed(self, walk: Walk) -> None:
        """Note that *walk* has written what it had to write."""
        if self._turnstile is not None:
            self._turnstile.passed(walk.ordinal)

    def fail(self, error: Exception, *, stop: str | None) -> None:
        """Note an error to be raised at the end, and stop for the reason given, if any."""
        if len(self._errors) < _ERRORS_KEPT:
            self._errors.append(error)
        if stop is not None:
            self.stop(stop)

    def count_failure(self, kind: str) -> None:
        """Stop the run when this failure was one too many."""
        if self._stopped is None:
            tally = self._tally
            error = self._failure_limit.exceeded_by(kind, tally.failures, tally.ended)
            if error is not None:
                self.fail(error, stop=str(error))

    # The life of the run.

    async def _live(self) -> None:
        pipeline, opened = self._pipeline, False
        try:
            async with Lifespan() as lifespan:
                # What is written to comes first, so that a bad path is found before any cost; the
                # journal is left last.
                for part in (
                    pipeline.journal,
                    pipeline.sink,
                    pipeline.dead_letters,
                    self._chain,
                    self._isolation,
                    pipeline.source,
                ):
                    await lifespan.enter(part)
                if self._journal is not None:
                    self._reader.finished = await self._journal.begin()
                opened = True
                try:
                    await self._run_tasks(lifespan)
                finally:
                    await self._end_in_journal()
                if self._errors:
                    raise _Failing  # noqa: TRY301 - it tells the parts, on their way out
        except _Failing:
            return
        except Exception as error:
            if not opened:
                raise
            self.fail(error, stop=None)

    async def _end_in_journal(self) -> None:
        if self._journal is None:
            return
        state = "failed" if self._errors else "stopped" if self._stopped else "ended"
        try:
            await self._journal.end(state, self.report().counts)
        except Exception as error:  # noqa: BLE001 - reported at the end
            self.fail(error, stop=None)

    async def _run_tasks(self, lifespan: Lifespan) -> None:
        async with anyio.create_task_group() as services:
            lifespan.group = services
            services.start_soon(self._stop_on_signals)
            services.start_soon(self._stop_within_grace)
            services.start_soon(self._stop_at_deadline)
            try:
                async with anyio.create_task_group() as self._work:
                    self._work.start_soon(self._reader.read)
            finally:
                lifespan.group = None
                await self._hand_back_waiting()
            services.cancel_scope.cancel()

    async def _stop_on_signals(self) -> None:
        with received_signals(self._pipeline.stop_signals) as received:
            if received is None:
                return
            async for number in received:
                reason = f"signal {number.name}"
                if self._stopped is None:
                    self.stop(reason)
                else:
                    emit(StopRequested(reason=reason, grace=0.0, again=True))
                    self._work.cancel_scope.cancel()

    async def _stop_within_grace(self) -> None:
        await self._stopping.wait()
        await self._hand_back_waiting()
        await self.clock.sleep(self._pipeline.grace)
        self._work.cancel_scope.cancel()

    async def _stop_at_deadline(self) -> None:
        if self._pipeline.timeout is not None:
            await self.clock.sleep(self.deadline - self.clock.now())
            self.stop(f"timeout={self._pipeline.timeout}")
            self._work.cancel_scope.cancel()

    async def _hand_back_waiting(self) -> None:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            for delivery in self._handoff.drain():
                self._tally.handed_back += 1
                try:
                    await delivery.settle(Stopped("the run stopped before the record's turn"))
                except Exception as error:  # noqa: BLE001 - the source will deliver it again
                    self.fail(error, stop=None)

    # Those who do the work.

    def _begin_worker(self) -> None:
        self._work.start_soon(self._worker)

    async def _worker(self) -> None:
        handoff, carry, space = self._handoff, self._carrier.carry, self._space
        handoff.begun()
        while await handoff.wait_for_item():
            while True:
                if space is not None and space.lacking:
                    await space.wait()
                if (delivery := handoff.take()) is None:
                    break
                self._taken += 1
                try:
                    await carry(delivery, self._taken - 1)
                finally:
                    handoff.busy -= 1
                if self._taken % _CHECKPOINT_EVERY == 0:
                    await anyio.lowlevel.checkpoint()


def _summary(errors: Sequence[Exception]) -> str:
    kinds = ", ".join(dict.fromkeys(type(error).__name__ for error in errors))
    return f"the run failed: {kinds}"
