"""The part of `JournalContract` that is about tables, for journals that keep any."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from genai_pipeline._journal import ItemEnd
from genai_pipeline._journal_tables import Column, TableRows, TableSchema
from genai_pipeline.errors import AccountingError, ConfigurationError
from genai_pipeline.testing._journal_samples import begin
from genai_pipeline.testing._journal_tests import JournalTests

__all__ = ["TablesContract"]

_COLUMNS = (
    Column("text", "text"),
    Column("whole", "integer"),
    Column("part", "real", nullable=True),
    Column("good", "boolean"),
    Column("raw", "blob"),
    Column("all", "json"),
)
_TABLE = TableSchema("answers", _COLUMNS)


class TablesContract(JournalTests):
    """Tests of `TableJournal`; they do nothing for a journal that keeps no tables."""

    def _with_tables(self, backend: str, check: Callable[[Any], Awaitable[None]]) -> None:
        async def run() -> None:
            journal: Any = self.make()
            if hasattr(journal, "open_table"):
                await journal.__aenter__()
                try:
                    await journal.open_table(_TABLE)
                except ConfigurationError:
                    await journal.__aexit__(None, None, None)
                else:
                    await check(journal)

        anyio.run(run, backend=backend)

    def test_rows_are_there_once_their_record_has_ended(self, anyio_backend_name: str) -> None:
        """What came with an end is read back as it was written, and outlives a crash."""

        async def check(journal: Any) -> None:
            item = (await journal.claim(await begin(journal), "a")).item
            last = 2**63 - 1
            await _end(
                journal,
                item,
                ("é", "ü\0", -last - 1, None, 1, b"\0\xff", '{"a": [1]}'),
                ("a/0", "", last, 0.1, 0, b"", "null"),
            )
            left: Any = await self.die(journal)
            async with left:
                assert await left.tables() == [_TABLE]
                first, second = await left.rows("answers")
                assert list(second.values()) == [
                    *("é", "ü\0", -last - 1, None, True, b"\0\xff", {"a": [1]})
                ]
                assert list(first) == ["key", *(column.name for column in _COLUMNS)]
                assert list(first.values()) == ["a/0", "", last, 0.1, False, b"", None]
                assert await left.rows("answers", after="a/0") == [second]
                assert await left.rows("answers", limit=1) == [first]
                with pytest.raises(ConfigurationError, match="'others'"):
                    await left.rows("others")

        self._with_tables(anyio_backend_name, check)

    def test_rows_of_a_record_are_those_of_its_last_end(self, anyio_backend_name: str) -> None:
        """Worked on again, a record leaves no row of before; a key is its who wrote it last."""

        async def check(journal: Any) -> None:
            run = await begin(journal)
            for key in "ab":
                item = (await journal.claim(run, key)).item
                await _end(journal, item, _row(f"{key}0"), _row(f"{key}1"))
                await _end(journal, item, _row("late"))
            run = await begin(journal, "g")
            await _end(journal, (await journal.claim(run, "a")).item, _row("a1"), _row("b0"))
            assert await _keys(journal) == ["a1", "b0", "b1"]
            await _end(journal, (await journal.claim(run, "b")).item)
            assert await _keys(journal) == ["a1", "b0"]
            with pytest.raises(AccountingError):
                await _end(journal, bytes(16), _row("nobody"))
            assert await _keys(journal) == ["a1", "b0"]
            await journal.__aexit__(None, None, None)

        self._with_tables(anyio_backend_name, check)

    def test_a_row_that_another_record_took_goes_with_that_one(
        self, anyio_backend_name: str
    ) -> None:
        """Worked on again, a record leaves alone the row that another wrote in its place."""

        async def check(journal: Any) -> None:
            run = await begin(journal)
            for key in "ab":
                await _end(journal, (await journal.claim(run, key)).item, _row("same"))
            run = await begin(journal, "g")
            await _end(journal, (await journal.claim(run, "b")).item)
            assert await _keys(journal) == []
            await _end(journal, (await journal.claim(run, "a")).item, _row("own"))
            assert await _keys(journal) == ["own"]
            await journal.__aexit__(None, None, None)

        self._with_tables(anyio_backend_name, check)

    def test_a_table_has_one_form(self, anyio_backend_name: str) -> None:
        """The same table may be opened again; one of other columns may not."""

        async def check(journal: Any) -> None:
            await journal.open_table(_TABLE)
            for columns in (_COLUMNS[:1], (*_COLUMNS[:5], Column("all", "text"))):
                with pytest.raises(ConfigurationError, match="'answers'"):
                    await journal.open_table(TableSchema("answers", columns))
            await journal.__aexit__(None, None, None)

        self._with_tables(anyio_backend_name, check)


def _row(key: str) -> tuple[Any, ...]:
    return (key, "", 0, None, 0, b"", "null")


async def _keys(journal: Any) -> list[str]:
    return [row["key"] for row in await journal.rows("answers")]


async def _end(journal: Any, item: bytes, *rows: tuple[Any, ...]) -> None:
    end = ItemEnd(state="done", at=2.0, fingerprint="f")
    await journal.end_item(item, end, rows=[TableRows(_TABLE, rows)])
