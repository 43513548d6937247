"""The part of `Sqlite` that people and commands use between runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from genai_pipeline._journal_tables import TableSchema
from genai_pipeline.clock import Clock
from genai_pipeline.journals import _erase as erasing
from genai_pipeline.journals import _sql_keeper as sql
from genai_pipeline.journals._check import backup, problems
from genai_pipeline.journals._operation import Kind
from genai_pipeline.journals._purge import purge, would_purge
from genai_pipeline.journals._sql_rows import kept_tables, read_rows
from genai_pipeline.journals._tables import Tables

__all__ = ["SqliteKeeper"]

_AT_ONCE = 500
_A_MOMENT = 0.05


class SqliteKeeper:
    """What `JournalKeeper` promises, and what a file needs: check, backup and vacuum."""

    clock: Clock

    async def _ask(self, act: Callable[[Tables], Any], kind: Kind = "write") -> Any:
        raise NotImplementedError

    async def runs(self, *, pipeline: str | None = None, limit: int = 100) -> Sequence[RunSummary]:
        """Answer the latest runs, the newest first."""
        found: list[RunSummary] = await self._ask(
            lambda tables: sql.runs(tables, pipeline, limit), "read"
        )
        return found

    async def records(self, which: Selector, /, *, limit: int = 100) -> Sequence[KeptRecord]:
        """Answer the dead or held records that *which* selects, those that ended last first."""
        found: list[KeptRecord] = await self._ask(
            lambda tables: sql.records(tables, which, limit), "read"
        )
        return found

    async def letter(self, item: bytes, /) -> bytes | None:
        """Answer the dead letter of a record; `None` when there is none, or it was purged."""
        found: bytes | None = await self._ask(lambda tables: sql.letter(tables, item), "read")
        return found

    async def open_calls(
        self, *, pipeline: str | None = None, limit: int = 100
    ) -> Sequence[OpenCall]:
        """Answer the calls that are ``unknown``, the oldest first."""
        found: list[OpenCall] = await self._ask(
            lambda tables: sql.open_calls(tables, pipeline, limit), "read"
        )
        return found

    async def redrive(self, which: Selector, /, *, reuse: bool = True) -> int:
        """
        Let dead records be worked on again, each in a new generation; answer how many.

        Their answered calls are used again unless *reuse* is false: then all are made anew.
        """
        count: int = await self._ask(lambda tables: sql.redrive(tables, dead(which), reuse=reuse))
        return count

    async def release(self, which: Selector, /) -> int:
        """
        Let held records be worked on again; answer how many.

        Their unknown calls are abandoned: they count at their hold, and are made again.
        """
        count: int = await self._ask(lambda tables: sql.release(tables, held(which)))
        return count

    async def costs(
        self,
        by: Sequence[str] = ("model",),
        /,
        *,
        pipeline: str | None = None,
        run: int | None = None,
    ) -> Sequence[CostLine]:
        """
        Answer what calls cost, grouped *by* names, the dearest group first.

        A name is ``pipeline``, ``run``, ``stage``, ``provider``, ``model`` or else a label.
        """
        found: list[CostLine] = await self._ask(
            lambda tables: sql.costs(tables, by, pipeline, run), "read"
        )
        return found

    async def budgets(self) -> Sequence[BudgetLine]:
        """Answer all budgets in all their windows, by name and window."""
        found: list[BudgetLine] = await self._ask(sql.budgets, "read")
        return found

    async def purge(
        self, before: float, /, *, pipeline: str | None = None, dry_run: bool = False
    ) -> Purged:
        """
        Forget what records that ended *before* a wall time were: keys, calls, answers, letters.

        What stays says that they have ended, so that they are not worked on again, and what
        they cost. It is done in small steps, between which runs go on; `vacuum` then makes the
        file smaller. With *dry_run*, what would be forgotten is counted, and stays.
        """
        if dry_run:
            found: Purged = await self._ask(
                lambda tables: would_purge(tables, before, pipeline), "read"
            )
            return found
        records = calls = 0
        while True:
            step: Purged = await self._ask(lambda tables: purge(tables, before, pipeline, _AT_ONCE))
            records, calls = records + step.records, calls + step.calls
            if step.records < _AT_ONCE:
                return Purged(records=records, calls=calls)

    async def erase(self, subject: str, /, *, dry_run: bool = False) -> Erased:
        """
        Forget all that is kept of *subject*, as the pipeline's ``subject=`` names it.

        Rows are dropped and overwritten, the file is rebuilt and its log emptied, and in an
        encrypted journal the subject's key is destroyed, which reaches older copies of the file.
        What stays is a salted digest for each record, by which it is passed by for ever, and
        what its calls cost. Gathered groups that a record of the subject was in go as a whole.

        Records of the subject that are carried come to their end first: do not wait for this in a
        stage. Cancelled or interrupted, it is finished when the journal is entered next. With
        *dry_run*, what would be forgotten is told, and stays.
        """
        if dry_run:
            known: Erased = await self._ask(lambda tables: erasing.told(tables, subject), "read")
            return known
        owner: int | None = await self._ask(lambda tables: erasing.begin(tables, subject))
        if owner is None:
            return Erased()
        number = owner
        found: Erased | None = None
        while found is None:
            found = await self._ask(
                lambda tables: erasing.erase_unless_carried(tables, number, subject)
            )
            if found is None:
                await self.clock.sleep(_A_MOMENT)
        await self._ask(erasing.clean, "alone")
        await self._ask(lambda tables: erasing.end(tables, number))
        return found

    async def rotate(self) -> str:
        """
        Have the data key of an encrypted journal wrapped by the key of today; answer which it is.

        Nothing else is written anew. Raises `ConfigurationError` for one that is not encrypted.
        """
        key_id: str = await self._ask(lambda tables: tables.vault.rewrap(tables))
        return key_id

    async def tables(self) -> Sequence[TableSchema]:
        """Answer the tables that sinks keep here, by name."""
        found: list[TableSchema] = await self._ask(kept_tables, "read")
        return found

    async def rows(
        self, table: str, /, *, after: str | None = None, limit: int = 1000
    ) -> Sequence[Mapping[str, Any]]:
        """
        Answer rows of a table by column, in the order of their keys, at most *limit*.

        The next ones are those *after* the last key. Raises `ConfigurationError` when there is no
        such table.
        """
        found: list[dict[str, Any]] = await self._ask(
            lambda tables: read_rows(tables, table, after, limit), "read"
        )
        return found

    async def check(self) -> Sequence[str]:
        """
        Answer what is wrong with the file; nothing, when all is well.

        All of it is read: its structure, every answer against its digest, and the accounts
        against the calls they are made of.
        """
        found: list[str] = await self._ask(problems, "read")
        return found

    async def backup(self, to: Path, /) -> None:
        """
        Copy the journal as it is now to the new file *to*; runs may go on meanwhile.

        Raises `ConfigurationError` when there is such a file.
        """
        await self._ask(lambda tables: backup(tables, to), "alone")

    async def vacuum(self) -> None:
        """Make the file as small as it can be; it needs as much room again for a while."""
        await self._ask(lambda tables: tables.alone("VACUUM"), "alone")
