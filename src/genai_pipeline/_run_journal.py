"""`RunJournal`: what one run asks of its journal, and what it counts on the way."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import attrs

from genai_pipeline._attempt_time import untimed
from genai_pipeline._budget_lines import BudgetLines
from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Claim,
    Finished,
    Intent,
    ItemEnd,
    Journal,
    PastCall,
    RunInfo,
    Settled,
)
from genai_pipeline._journal_tables import TableJournal, TableRows, TableSchema
from genai_pipeline._lifespan import every_part
from genai_pipeline._paid import StageMark
from genai_pipeline._table_sinks import tables_of
from genai_pipeline._versions import fingerprint_of
from genai_pipeline.clock import Clock
from genai_pipeline.errors import BudgetExhausted, ConfigurationError, Stopped, StorageFailed
from genai_pipeline.events import emit
from genai_pipeline.money import Budgets, PriceBook

if TYPE_CHECKING:
    from genai_pipeline.pipeline import Pipeline

__all__ = ["RunJournal", "publishes_at_end"]


@attrs.define(kw_only=True, eq=False)
class RunJournal:
    """A journal as one run of a pipeline uses it; entered and left by the run."""

    journal: Journal
    info: RunInfo
    clock: Clock
    prices: PriceBook
    budgets: Budgets
    erases: bool
    """Whether it is told whose data records are, so that it can erase them."""

    stopping: Callable[[], bool]
    """Whether the run stops, so that no new call is made."""

    tables: tuple[TableSchema, ...] = ()
    """The tables whose rows are written with the ends of records."""

    number: int = 0
    """Of the run; 0 before `begin`."""

    charged: int = 0
    """Nano-dollars that the calls of this run count with."""

    priced: bool = False
    """Whether the price of any call was known."""

    replayed: int = 0
    """Calls answered from the journal."""

    _under_way: int = attrs.field(default=0, init=False)
    """Calls that hold money, or are about to, and will end."""

    _waits: dict[str, str] = attrs.field(factory=dict, init=False)
    _lines: BudgetLines = attrs.field(factory=BudgetLines, init=False)

    @classmethod
    def of(
        cls,
        pipeline: Pipeline[Any, Any],
        stages: Sequence[StageMark],
        stopping: Callable[[], bool],
    ) -> RunJournal | None:
        """Answer the journal of *pipeline* for one run; `None` when it has none."""
        if pipeline.journal is None:
            return None
        from importlib.metadata import version  # noqa: PLC0415 - brings email, for one word

        fingerprint = fingerprint_of(stages)
        if publishes_at_end(pipeline.sink):
            # Each run has to give it everything again, so for no other run is anything finished.
            fingerprint = f"{fingerprint} {secrets.token_hex(8)}"
        info = RunInfo(
            pipeline=pipeline.name,
            fingerprint=fingerprint,
            stages=tuple(mark.stage for mark in stages),
            began=pipeline.clock.wall(),
            version=version("genai_pipeline"),
        )
        return cls(
            journal=pipeline.journal,
            info=info,
            clock=pipeline.clock,
            prices=pipeline.prices or PriceBook(),
            budgets=Budgets(pipeline.budgets),
            erases=pipeline.subject is not None,
            stopping=stopping,
            tables=tables_of(pipeline.stage, pipeline.sink, pipeline.dead_letters),
        )

    async def begin(self) -> Finished:
        """Note that the run begins; answer the keys of records that have ended for good."""
        for table in self.tables:
            await cast("TableJournal", self.journal).open_table(table)
        self.number = await self.journal.begin_run(self.info)
        return await self.journal.finished(self.info.pipeline, self.info.fingerprint)

    async def end(self, state: str, counts: dict[str, int]) -> None:
        """Note that the run has ended: ``ended``, ``stopped`` or ``failed``."""
        await self.journal.end_run(self.number, state, self.clock.wall(), counts)

    def claim(self, key: str, subject: str | None = None) -> Awaitable[Claim]:
        """Take the record *key* up, which is of *subject*."""
        if not key:
            raise ConfigurationError(
                "Pipeline: the source delivered a record without a key, and a journal knows "
                "records by their keys; let the source give each its own"
            )
        if subject is None:
            return self.journal.claim(self.number, key)
        return self.journal.claim(self.number, key, subject=subject)

    def end_item(
        self, item: bytes, end: ItemEnd, rows: tuple[TableRows, ...] = ()
    ) -> Awaitable[None]:
        """Note how a record ended, with its rows (T3); also when the run is cancelled meanwhile."""
        if rows:
            return cast("TableJournal", self.journal).end_item(item, end, rows=rows)
        return self.journal.end_item(item, end)

    async def begin_call(self, intent: Intent) -> int:
        """
        Note an intent and hold its money (T1); waits while calls under way hold what is missing.

        Raises `Stopped` when the run stops, `BudgetExhausted` when waiting is no use.
        """
        waited: str | None = None
        try:
            while True:
                if self.stopping():
                    raise Stopped("the run stops, and no new call is made")
                self._under_way += 1
                try:
                    return await self.journal.begin_call(intent)
                except BudgetExhausted as error:
                    short = self._worth_waiting_for(error)
                except BaseException:
                    self._no_longer_under_way()
                    raise
                if waited is not None and waited != short:
                    self._lines.next(waited)
                with untimed():
                    await self._lines.wait(short, again=short == waited)
                waited = short
        finally:
            if waited is not None:
                self._lines.next(waited)

    def _worth_waiting_for(self, error: BudgetExhausted) -> str:
        """Answer the budget to wait for; raises *error* when nobody will return what it lacks."""
        # A call whose end could not be kept holds its money on, and nobody returns it.
        alone = self._under_way == 1 and self._lines.is_hopeless(error.budget)
        if not error.waits or alone:
            self._no_longer_under_way()
            error.scoped = self.budgets.is_scoped(error.budget)
            raise error
        self._under_way -= 1
        return error.budget

    def _no_longer_under_way(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._lines.next_of_each()

    async def end_call(
        self, call: int, end: CallEnd, uses: tuple[BudgetUse, ...], hold: int | None
    ) -> Settled:
        """Note how a call ended (T2), and tell of budgets; also when the run is cancelled."""
        try:
            settled = await self.journal.end_call(call, end)
        finally:
            if uses:
                self._lines.freed([use.budget for use in uses])
            self._no_longer_under_way()
        self.charged += settled.charged
        known = end.cost is not None or (hold is not None and end.state != "void")
        self.priced = self.priced or known
        for event in self.budgets.reached(uses, settled.spent) if uses else ():
            emit(event)
        return settled

    async def reconcile(self, call: PastCall, end: CallEnd, *, of_this_run: bool) -> None:
        """Note what became of a call that was unknown, and what it really cost."""
        settled = await self.journal.end_call(call.call, end)
        if of_this_run:
            self.charged += settled.charged - call.hold
        self._lines.freed(settled.spent)

    async def tell(self, kind: str, waits_for: str | None) -> None:
        """
        Let others see in the journal's status what the run waits for, where it has one.

        It may wait for one thing of each *kind* at a time.
        """
        self._waits.pop(kind, None)
        if waits_for is not None:
            self._waits[kind] = waits_for
        tell = getattr(self.journal, "tell", None)
        if tell is not None:
            with suppress(StorageFailed):  # no more than words
                await tell(self.number, " and ".join(self._waits.values()) or None)

    def stop(self) -> None:
        """Let those who wait for money look again, and find that the run stops."""
        self._lines.close()


def publishes_at_end(sink: object) -> bool:
    """Tell whether *sink*, or what it is made of, is durable only when a run ends."""
    return any(getattr(part, "publishes_at_end", False) is True for part in every_part(sink))
