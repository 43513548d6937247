"""Carrying a record in a pipeline with a journal: claimed first, and its end kept before told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import attrs

from genai_pipeline._alone import Alone
from genai_pipeline._carrier import Carrier
from genai_pipeline._encode import encode_json
from genai_pipeline._isolation import Isolation, Unfit
from genai_pipeline._journal import Claim, ItemEnd
from genai_pipeline._journal_tables import PendingRows, TableRows
from genai_pipeline._paid import CallRecorder, current_recorder, set_recorder
from genai_pipeline._recorder import Recorder
from genai_pipeline._redact import redacted
from genai_pipeline._run_journal import RunJournal
from genai_pipeline._subjects import Subject, subject_of
from genai_pipeline.errors import (
    BudgetExhausted,
    DataError,
    DeadlineExceeded,
    OutcomeUnknown,
    Stopped,
    Systemic,
    WorkerDied,
    classify,
)
from genai_pipeline.events import IsolationFailed, Outcome, emit
from genai_pipeline.records import Delivery, Record
from genai_pipeline.walk import Fate, Walk

__all__ = ["JournaledCarrier"]

_MESSAGE = 2000
_SUSPECT, _POISON, _HOPELESS = 2, 3, 10
"""How often the process died: from when on a record is set apart, and when it is given up."""

_ENDED = ("done", "filtered", "dead")


@attrs.frozen(kw_only=True, eq=False)
class JournaledCarrier(Carrier):
    """Carries records through a journal as well."""

    quick: ClassVar[bool] = False

    journal: RunJournal
    isolation: Isolation
    skip: Callable[[Delivery[Any]], Any]
    """Passes a record by that has ended already."""

    subject: Subject | None = None
    """What tells whose data a record is."""

    _carried: dict[str, anyio.Event | None] = attrs.field(factory=dict, init=False)
    """The keys of records being carried, with what tells of the end if somebody waits for it."""

    _alone: Alone = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: Alone(ordered=self.ordered), takes_self=True),
    )

    async def carry(
        self,
        delivery: Delivery[Any],
        ordinal: int,
        recorder: CallRecorder | None = None,  # noqa: ARG002 - made here
    ) -> None:
        """Claim the record of *delivery*, and take it to its end if it has none yet."""
        key = delivery.record.key
        carried = False
        try:
            subject = subject_of(delivery.record, self.subject)
            # The same record may be delivered again while it is carried, by a queue for one.
            while key in self._carried:
                await self._other_end(key)
            self._carried[key] = None
            try:
                # A record that waits here is not claimed, and no suspect if the process dies.
                if not self._alone.begin_at_once(ordinal):
                    await self._alone.begin(ordinal)
                try:
                    claim = await self.journal.claim(key, subject)
                    if claim.state != "claimed" or claim.crashes < _SUSPECT:
                        carried = True
                        await self._carry_claimed(delivery, ordinal, claim)
                        return
                    await self._put_back(claim)
                finally:
                    self._alone.end()
                # Nobody may wait for its turn while it waits for everybody.
                self.engine.passed(Walk(self.engine, delivery.record, ordinal))
                async with self._set_apart(delivery.record, ordinal) as apart:
                    claim = await self.journal.claim(key, subject)
                    carried = True
                    await self._carry_claimed(delivery, ordinal, claim, apart=apart)
            finally:
                set_recorder(None)
                ended = self._carried.pop(key)
                if ended is not None:
                    ended.set()
        except Exception as error:
            if carried:
                raise
            self.engine.fail(error, stop=f"{type(error).__name__}: {error}")
            await self._turn_away(delivery, ordinal, error)
        except BaseException:
            if not carried:
                await self._turn_away(delivery, ordinal, Stopped("the run was cancelled"))
            raise

    async def _other_end(self, key: str) -> None:
        ended = self._carried[key]
        if ended is None:
            ended = self._carried[key] = anyio.Event()
        await ended.wait()

    @asynccontextmanager
    async def _set_apart(self, record: Record[Any], ordinal: int) -> AsyncGenerator[bool, None]:
        """Let *record* be in a process of its own, and answer true; else alone in this one."""
        async with self.isolation.turn:
            reason = await self.isolation.unfit(record)
            if reason is None:
                async with self._alone.beside_others(ordinal):
                    yield True
                return
        emit(IsolationFailed(key=record.key, reason=reason))
        async with self._alone.alone():
            yield False

    async def _put_back(self, claim: Claim) -> None:
        info = self.journal.info
        end = ItemEnd(state="ready", at=self.clock.wall(), fingerprint=info.fingerprint)
        await self.journal.end_item(claim.item, end)

    def _carry_claimed(
        self, delivery: Delivery[Any], ordinal: int, claim: Claim, *, apart: bool = False
    ) -> Awaitable[None]:
        """Answer what takes a record to its end, as what is known of it wants."""
        if claim.state != "claimed":
            return self._pass(delivery, ordinal, claim)
        record = delivery.record
        recorder = Recorder(
            *(self.journal, claim.item, record.key, record.attributes, claim.calls),
            reuses_from=claim.reuses_from,
        )
        recorder.apart = apart
        set_recorder(recorder)
        if claim.crashes >= (_HOPELESS if apart else _POISON):
            walk = Walk(self.engine, record, ordinal, recorder=recorder)
            return self._give_up(delivery, walk, claim.crashes)
        return super().carry(delivery, ordinal, recorder)

    async def _pass(self, delivery: Delivery[Any], ordinal: int, claim: Claim) -> None:
        """Pass a record by that is not this run's to carry."""
        record = delivery.record
        if claim.state in _ENDED:
            self.engine.passed(Walk(self.engine, record, ordinal))
            await self.skip(delivery)
            return
        told = "is held" if claim.state == "held" else "is carried by another run"
        await self._turn_away(delivery, ordinal, Stopped(f"the record {record.key!r} {told}"))

    async def _give_up(self, delivery: Delivery[Any], walk: Walk, crashes: int) -> None:
        """Let a record die that the process dies of."""
        self.engine.passed(walk)
        poison = WorkerDied(
            f"poison: the process died {crashes} times while it carried this record"
            + ("" if _recorder_of(walk).apart else ", the last time alone")
        )
        await self._end_badly(delivery, walk, poison, self.clock.now())

    async def _turn_away(self, delivery: Delivery[Any], ordinal: int, error: Exception) -> None:
        """Hand back a record that was not claimed."""
        walk = Walk(self.engine, delivery.record, ordinal)
        self.engine.passed(walk)
        await super()._settle(delivery, walk, "handed_back", error, self.clock.now())

    def _begin_work(self, walk: Walk) -> Coroutine[Any, Any, Fate]:
        recorder = _recorder_of(walk)
        recorder.restart()
        self._expect_rows(walk)
        if current_recorder() is not recorder:  # as where a group's was the last
            set_recorder(recorder)
        return self._work_apart(walk, recorder) if recorder.apart else self._work(walk)

    async def _work_apart(self, walk: Walk, recorder: Recorder) -> Fate:
        fate = await self._work(walk, self.isolation)
        if not isinstance(fate, Unfit):
            return fate
        # It is no killer, and is walked here, for what its stages answer.
        emit(IsolationFailed(key=walk.record.key, reason=str(fate)))
        recorder.restart()
        return await self._work(walk)

    def _expect_rows(self, walk: Walk) -> None:
        """Let what is written from here on be all that the record leaves in tables."""
        tables = self.journal.tables
        walk.rows = PendingRows(tables) if tables else None

    async def _close_groups(self, walk: Walk, fate: Fate) -> Fate:
        # The latest first: while it has no end, what it was made of is asked for again.
        groups = dict.fromkeys(shared.group for shared in reversed(walk.carries or ()))
        for group in groups:
            if group is not None:
                try:
                    fate = await self._close_group(group, walk, fate)
                except Exception as error:  # noqa: BLE001 - a way to end
                    return error
        return fate

    async def _close_group(self, group: bytes, walk: Walk, fate: Fate) -> Fate:
        end = self._group_end(walk, fate)
        if end is None:
            return fate
        if isinstance(fate, Exception):
            self._expect_rows(walk)  # and so none of what was made before it failed
        rows = () if walk.rows is None else walk.rows.of_group(group)
        try:
            await self.journal.end_item(group, end, rows)
        except DataError as refusal:
            if not _any(rows):
                raise
            walk.failed_in("sink", refusal)
            return await self._close_group(group, walk, refusal)
        return fate

    def _group_end(self, walk: Walk, fate: Fate) -> ItemEnd | None:
        if isinstance(fate, Exception):
            if self._is_runs_fault(fate):
                return None
            return self._item_end(walk, "dead", fate)
        return self._item_end(walk, fate, None)

    def _is_runs_fault(self, error: Exception) -> bool:
        return isinstance(error, OutcomeUnknown) or super()._is_runs_fault(error)

    async def _end_badly(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        if isinstance(error, OutcomeUnknown) or _of_some_records(error):
            self.engine.fail(error, stop=None)
            await self._settle(delivery, walk, "handed_back", error, began)
        else:
            await super()._end_badly(delivery, walk, error, began)

    async def _bury(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        self._expect_rows(walk)  # the letter's, and none of what failed
        set_recorder(_recorder_of(walk))
        await super()._bury(delivery, walk, error, began)

    async def _end_without_letter(
        self, delivery: Delivery[Any], walk: Walk, error: Exception, began: float
    ) -> None:
        await self._settle(delivery, walk, "dead", error, began)

    async def _settle(
        self,
        delivery: Delivery[Any],
        walk: Walk,
        outcome: Outcome,
        error: Exception | None,
        began: float,
    ) -> None:
        end = self._item_end(walk, outcome, error)
        if outcome == "dead" and error is not None:
            letter = self._dead_letter(walk, error, began).value
            kept = attrs.evolve(
                letter, message=redacted(letter.message), trace=redacted(letter.trace)
            )
            end = attrs.evolve(end, letter=encode_json(kept).encode())
        rows = self._rows_of(walk, outcome)
        try:
            await self.journal.end_item(_recorder_of(walk).item, end, rows)
        except Exception as failure:  # noqa: BLE001 - reported, and the record handed back
            if isinstance(failure, DataError) and outcome != "dead" and _any(rows):
                walk.failed_in("sink", failure)
                await self._end_badly(delivery, walk, failure, began)
                return
            self.engine.fail(failure, stop=f"the journal cannot be written: {failure}")
            outcome, error = "handed_back", failure
        await super()._settle(delivery, walk, outcome, error, began)

    def _rows_of(self, walk: Walk, outcome: Outcome) -> tuple[TableRows, ...]:
        """Answer what the record leaves in tables; what is handed back leaves them as they are."""
        if walk.rows is None or outcome == "handed_back":
            return ()
        return walk.rows.of_record([shared.group for shared in walk.carries or () if shared.group])

    def _item_end(self, walk: Walk, outcome: Outcome, error: Exception | None) -> ItemEnd:
        info, at = self.journal.info, self.clock.wall()
        if outcome == "written":
            return ItemEnd(state="done", at=at, fingerprint=info.fingerprint)
        if outcome == "filtered":
            return ItemEnd(state="filtered", at=at, fingerprint=info.fingerprint)
        assert error is not None
        told: dict[str, Any] = {
            "at": at,
            "fingerprint": info.fingerprint,
            "stage": walk.stage_of(error),
            "error": type(error).__name__,
            "message": redacted(str(error))[:_MESSAGE],
            "category": classify(error),
        }
        if outcome == "dead":
            environment = told["category"] in {"transient", "system"}
            return ItemEnd(
                state="dead", own_fault=not environment, environment_fault=environment, **told
            )
        if isinstance(error, BudgetExhausted | OutcomeUnknown):
            return ItemEnd(state="held", resumes=True, **told)
        stopped = isinstance(error, Stopped | DeadlineExceeded)
        return ItemEnd(
            state="ready",
            environment_fault=isinstance(error, Systemic) and not stopped,
            **told,
        )


def _recorder_of(walk: Walk) -> Recorder:
    recorder = walk.recorder
    assert isinstance(recorder, Recorder)
    return recorder


def _of_some_records(error: Exception) -> bool:
    """Whether *error* holds records of one tenant, say, and no others."""
    return isinstance(error, BudgetExhausted) and error.scoped


def _any(rows: tuple[TableRows, ...]) -> bool:
    return any(each.rows for each in rows)
