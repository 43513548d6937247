"""The part of `Sqlite` that people and commands use between runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genai_pipeline._journal_admin import (
    BudgetLine,
    CostLine,
    KeptRecord,
    OpenCall,
    Purged,
    RunSummary,
    Selector,
    dead,
    held,
)
from genai_pipeline.journals import _sql_keeper as sql
from genai_pipeline.journals._check import backup, problems
from genai_pipeline.journals._operation import Kind
from genai_pipeline.journals._purge import purge
from genai_pipeline.journals._tables import Tables

__all__ = ["SqliteKeeper"]

_AT_ONCE = 500


class SqliteKeeper:
    """What `JournalKeeper` promises, and what a file needs: check, backup and vacuum."""

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

    async def purge(self, before: float, /, *, pipeline: str | None = None) -> Purged:
        """
        Forget what records that ended *before* a wall time were: keys, calls, answers, letters.

        What stays says that they have ended, so that they are not worked on again, and what
        they cost. It is done in small steps, between which runs go on; `vacuum` then makes the
        file smaller.
        """
        records = calls = 0
        while True:
            step: Purged = await self._ask(lambda tables: purge(tables, before, pipeline, _AT_ONCE))
            records, calls = records + step.records, calls + step.calls
            if step.records < _AT_ONCE:
                return Purged(records=records, calls=calls)

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
        await self._ask(lambda tables: tables.do("VACUUM"), "alone")
