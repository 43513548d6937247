"""`Memory`: a journal in this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from genai_pipeline._identity import Digests
from genai_pipeline._journal import (
    CallEnd,
    Claim,
    Group,
    Intent,
    ItemEnd,
    ItemState,
    RawAnswer,
    RunInfo,
    Settled,
)
from genai_pipeline._journal_admin import (
    BudgetLine,
    CostLine,
    Erased,
    KeptRecord,
    OpenCall,
    Purged,
    RunSummary,
    Selector,
    dead,
    held,
)
from genai_pipeline._journal_tables import TableRows, TableSchema
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._book import Book
from genai_pipeline.journals._book_erase import Eraser
from genai_pipeline.journals._book_keeper import Keeper
from genai_pipeline.journals._book_table import BookTable

__all__ = ["Memory"]


@attrs.define(eq=False)
class Memory:
    """
    Keeps a journal in memory: gone with the process, for tests and for trying things out.

    It does what `Sqlite` does, by the same rules. Leaving it keeps what it knows, so that a
    second run over it resumes; `crash` lets the next run find it as after ``kill -9``. Several
    pipelines of one event loop may be inside at once.
    """

    _book: Book = attrs.field(factory=Book, init=False, repr=False)
    _keeper: Keeper = attrs.field(
        default=attrs.Factory(lambda self: Keeper(self._book), takes_self=True),
        init=False,
        repr=False,
    )
    _ended: anyio.Event | None = attrs.field(default=None, init=False, repr=False)
    """Set when a record or call has ended, for those who wait to erase."""

    _users: int = attrs.field(default=0, init=False, repr=False)
    _died: bool = attrs.field(default=False, init=False, repr=False)

    def crash(self) -> None:
        """Forget who is inside, as if the process had died: what is under way is left so."""
        self._died = self._users > 0
        self._users = 0

    async def __aenter__(self) -> Self:
        await checkpoint()
        if self._users == 0:
            self._book.recover(died=self._died)
            self._died = False
            for subject in sorted(self._book.erasing):
                Eraser(self._book, self._keeper).erase(subject)
            self._book.erasing.clear()
        self._users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        # After a crash, those who were inside leave as well.
        self._users = max(0, self._users - 1)

    async def begin_run(self, run: RunInfo, /) -> int:
        """Note that a run begins; answer its number, 1 or more."""
        await checkpoint()
        return self._book.begin_run(run)

    async def end_run(self, run: int, state: str, at: float, counts: Mapping[str, int], /) -> None:
        """Note that it ended: ``ended``, ``stopped`` or ``failed``."""
        await cancel_shielded_checkpoint()
        self._book.end_run(run, state, at, counts)

    async def finished(self, pipeline: str, fingerprint: str, /) -> Digests:
        """Answer the keys of records that need not be looked at again."""
        await checkpoint()
        return self._book.finished(pipeline, fingerprint)

    async def claim(self, run: int, key: str, /, *, subject: str | None = None) -> Claim:
        """Take up the record *key* for *run*; it is admitted if need be."""
        await checkpoint()
        return self._book.claim(run, key, subject)

    async def freeze_group(
        self,
        run: int,
        stage: str,
        members: Sequence[bytes],
        body: bytes,
        /,
        *,
        items: Collection[bytes] = (),
    ) -> Group:
        """Keep a new group with its *members* and *body*."""
        del stage
        await checkpoint()
        return self._book.freeze_group(run, members, body, items)

    async def group_of(self, run: int, member: bytes, /) -> Group | None:
        """Answer the group that *member* belongs to, if any."""
        await checkpoint()
        return self._book.group_of(run, member)

    async def begin_call(self, intent: Intent, /) -> int:
        """Note the intent of a call and hold its money in every budget, or in none."""
        await checkpoint()
        return self._book.begin_call(intent)

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        """Note how a call ended, keep its answer, and settle its hold; once."""
        await cancel_shielded_checkpoint()
        settled = self._book.end_call(call, end)
        self._freed()
        return settled

    async def answer(self, call: int, /) -> RawAnswer:
        """Answer what is kept of an answered call, ``replayed``."""
        await checkpoint()
        return self._book.answer(call)

    async def open_table(self, table: TableSchema, /) -> None:
        """Make *table*, whose rows come with the ends of records, if it is missing."""
        await checkpoint()
        known = self._book.tables.setdefault(table.name, BookTable(table)).schema
        if known != table:
            raise ConfigurationError(
                f"Memory: the table {table.name!r} has other columns; give another table="
            )

    async def tables(self) -> Sequence[TableSchema]:
        """Answer the tables that sinks keep here, by name."""
        await checkpoint()
        return [table.schema for _, table in sorted(self._book.tables.items())]

    async def rows(
        self, table: str, /, *, after: str | None = None, limit: int = 1000
    ) -> Sequence[Mapping[str, Any]]:
        """Answer rows of a table by column, in the order of their keys, those behind *after*."""
        await checkpoint()
        if table not in self._book.tables:
            raise ConfigurationError(f"Memory.rows: table={table!r}; there is no such table")
        return self._book.tables[table].read(after, limit)

    async def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> None:
        """Note how the carrying of a record ended, and its *rows*; an end it has stays."""
        await cancel_shielded_checkpoint()
        self._book.end_item(item, end, rows)
        self._freed()

    def _freed(self) -> None:
        """Let those who wait to erase look again."""
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    async def counts(self, pipeline: str, /) -> Mapping[ItemState, int]:
        """Answer how many records are in which state."""
        await checkpoint()
        return self._book.counts(pipeline)

    async def past_calls(self, keys: Sequence[str], pipeline: str, /) -> Mapping[str, Claim]:
        """Answer what is known of records, by key, without taking them up."""
        await checkpoint()
        return self._book.past_calls(keys, pipeline)

    async def runs(self, *, pipeline: str | None = None, limit: int = 100) -> Sequence[RunSummary]:
        """Answer the latest runs, the newest first."""
        await checkpoint()
        return self._keeper.runs(pipeline, limit)

    async def records(self, which: Selector, /, *, limit: int = 100) -> Sequence[KeptRecord]:
        """Answer the dead or held records that *which* selects, those that ended last first."""
        await checkpoint()
        return self._keeper.records(which, limit)

    async def letter(self, item: bytes, /) -> bytes | None:
        """Answer the dead letter of a record; `None` when there is none, or it was purged."""
        await checkpoint()
        return self._keeper.letter(item)

    async def open_calls(
        self, *, pipeline: str | None = None, limit: int = 100
    ) -> Sequence[OpenCall]:
        """Answer the calls that are ``unknown``, the oldest first."""
        await checkpoint()
        return self._keeper.open_calls(pipeline, limit)

    async def redrive(self, which: Selector, /, *, reuse: bool = True) -> int:
        """Let dead records be worked on again; answer how many."""
        await checkpoint()
        return self._keeper.redrive(dead(which), reuse=reuse)

    async def release(self, which: Selector, /) -> int:
        """Let held records be worked on again; answer how many."""
        await checkpoint()
        return self._keeper.release(held(which))

    async def costs(
        self,
        by: Sequence[str] = ("model",),
        /,
        *,
        pipeline: str | None = None,
        run: int | None = None,
    ) -> Sequence[CostLine]:
        """Answer what calls cost, grouped *by* names, the dearest group first."""
        await checkpoint()
        return self._keeper.costs(by, pipeline, run)

    async def budgets(self) -> Sequence[BudgetLine]:
        """Answer all budgets in all their windows, by name and window."""
        await checkpoint()
        return self._keeper.budgets()

    async def purge(
        self, before: float, /, *, pipeline: str | None = None, dry_run: bool = False
    ) -> Purged:
        """Forget what records that ended *before* a wall time were."""
        await checkpoint()
        return self._keeper.purge(before, pipeline, dry_run=dry_run)

    async def erase(self, subject: str, /, *, dry_run: bool = False) -> Erased:
        """Forget all that is kept of *subject*, once nobody carries a record of it."""
        await checkpoint()
        eraser = Eraser(self._book, self._keeper)
        if dry_run:
            return eraser.told(subject)
        self._book.erasing.add(subject)
        while eraser.is_carried(subject):
            if self._ended is None:
                self._ended = anyio.Event()
            await self._ended.wait()
        self._book.erasing.discard(subject)
        return eraser.erase(subject)
