"""Tables of sinks in a journal file: what they may be, and what becomes of the file's life."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline._journal_tables import Column, TableRows, TableSchema
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.journals import Sqlite, SqliteReader, salvage
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Disk
from tests.journals.script import TABLE, ended, item, rows, run_info


def _run(check: Callable[[], Awaitable[None]]) -> None:
    anyio.run(check)


def _inline(path: Path, **options: Any) -> Sqlite:
    return Sqlite(path, writer="inline", ballast=0, clock=FakeClock(), **options)


async def _fill(journal: Any, *keys: str) -> None:
    """End records, each with a row of its key."""
    await journal.open_table(TABLE)
    run = await journal.begin_run(run_info())
    for key in keys:
        await journal.claim(run, key)
        await journal.end_item(item(key), ended("done"), rows=rows(key))


def test_a_row_costs_no_sync_of_its_own(folder: Path) -> None:
    """An end with rows is one commit and one sync, as an end without."""

    async def check() -> None:
        disk = Disk()
        async with _inline(folder / "run.db", connect=disk.connect) as journal:
            await _fill(journal, "a")
            syncs = []
            for key, left in (("b", []), ("c", rows("c", "c/1", "c/2"))):
                await journal.claim(1, key)
                before = len(disk.log)
                await journal.end_item(item(key), ended("done"), rows=left)
                syncs.append([change[0] for change in disk.log[before:]].count("sync"))
            assert syncs == [1, 1]
            assert len(await journal.rows("out")) == 4

    _run(check)


def test_a_refused_row_harms_no_neighbour(folder: Path) -> None:
    """Of many ends in one commit, that which a constraint refuses is undone alone."""

    async def check() -> None:
        path = folder / "run.db"
        async with Sqlite(path, ballast=0) as journal:
            await _fill(journal)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE UNIQUE INDEX once ON out (size)")
            connection.commit()
        async with Sqlite(path, ballast=0) as journal:
            await _fill(journal)
            keys = [f"{number}" for number in range(40)]
            refused = []
            for key in keys:
                await journal.claim(2, key)

            async def end(key: str) -> None:
                size = 7 if key in {"7", "20"} else int(key)
                try:
                    await journal.end_item(
                        item(key), ended("done"), rows=rows(f"{key}/0", size=size)
                    )
                except DataError as error:
                    refused.append((key, str(error)))

            async with anyio.create_task_group() as group:
                for key in keys:
                    group.start_soon(end, key)
            ((key, told),) = refused
            assert key in {"7", "20"}
            assert told == "the table 'out' refuses a row: UNIQUE constraint failed: out.size"
            assert {row["key"] for row in await journal.rows("out")} == {
                f"{each}/0" for each in keys if each != key
            }
            assert await journal.counts("p") == {"done": 39, "claimed": 1}
            await journal.end_item(item(key), ended("done"), rows=rows(key, size=99))
            assert await journal.counts("p") == {"done": 40}

    _run(check)


@pytest.mark.parametrize("name", ["item", "call", "meta", "gp_new", "item_stuck"])
def test_the_journals_own_names_are_refused(folder: Path, name: str) -> None:
    """No sink gets a table that the journal has, or may have one day."""

    async def check() -> None:
        async with _inline(folder / "run.db") as journal:
            with pytest.raises(ConfigurationError, match=f"{name!r} is the journal's own"):
                await journal.open_table(TableSchema(name, TABLE.columns))
            assert await journal.tables() == []

    _run(check)


@pytest.mark.parametrize("name", ["group", "order", "written", "record", "main", "run_of"])
def test_words_of_sql_are_names(folder: Path, name: str) -> None:
    """A table or a column may be called what SQL, or the journal itself, uses as a word."""

    async def check() -> None:
        table = TableSchema(name, (Column("select", "text"), Column("rowid", "integer")))
        async with _inline(folder / "run.db") as journal:
            await journal.open_table(table)
            await journal.claim(await journal.begin_run(run_info()), "a")
            left = [TableRows(table, (("a", "x", 1),))]
            await journal.end_item(item("a"), ended("done"), rows=left)
            assert await journal.rows(name) == [{"key": "a", "select": "x", "rowid": 1}]
            assert (await journal.erase("nobody")).rows == 0

    _run(check)


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ("ALTER TABLE out ADD COLUMN seen INTEGER", True),
        ("ALTER TABLE out ADD COLUMN seen INTEGER NOT NULL DEFAULT 0", True),
        ("CREATE INDEX out_by_size ON out (size)", True),
        ("ALTER TABLE out DROP COLUMN size", False),
        ("ALTER TABLE out RENAME COLUMN size TO width", False),
        ("DROP TABLE out", False),
    ],
)
def test_a_table_that_was_changed_is_looked_at(folder: Path, change: str, fits: bool) -> None:
    """What others add to a table stays there, and is kept; what rows would not fit is refused."""

    async def check() -> None:
        path = folder / "run.db"
        async with Sqlite(path, ballast=0) as journal:
            await _fill(journal, "a")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(change)
            if fits and "ADD" in change:
                connection.execute("UPDATE out SET seen = 5")
            connection.commit()
        async with Sqlite(path, ballast=0) as journal:
            if not fits:
                with pytest.raises(ConfigurationError, match="'out' was changed"):
                    await journal.open_table(TABLE)
                return
            await journal.open_table(TABLE)
            await journal.claim(await journal.begin_run(run_info(fingerprint="g")), "a")
            await journal.end_item(item("a"), ended("done"), rows=rows("a", size=1))
            assert await journal.rows("out") == [{"key": "a", "text": "a", "size": 1}]
        with closing(sqlite3.connect(path)) as connection:
            if "ADD" in change:
                assert connection.execute("SELECT seen FROM out").fetchall() == [(5,)]

    _run(check)


def test_rows_are_in_copies_and_read_without_change(folder: Path) -> None:
    """A backup, taken during a run, a vacuumed file and one that was left by a crash have them."""

    async def check() -> None:
        path = folder / "run.db"
        journal = Sqlite(path, ballast=0)
        await journal.__aenter__()
        await _fill(journal, *"abc")
        await journal.backup(folder / "copy.db")
        await journal.vacuum()
        expected = await journal.rows("out")
        journal.crash()
        for each in (folder / "copy.db", path):
            async with SqliteReader(each) as reader:
                assert await reader.rows("out") == expected
                assert await reader.tables() == [TABLE]
                with pytest.raises(ConfigurationError, match="there is out"):
                    await reader.rows("item")
        with closing(sqlite3.connect(folder / "copy.db")) as connection:
            found = connection.execute("SELECT key, text, size FROM out ORDER BY key").fetchall()
        assert found == [tuple(row.values()) for row in expected]

    _run(check)


def test_salvage_brings_rows_over_and_asks_for_lost_ones(folder: Path) -> None:
    """From a damaged file come the rows that are whole; records of others are worked on again."""

    async def check() -> None:
        path, keys = folder / "run.db", [f"key {number:03}" for number in range(200)]
        async with Sqlite(path, ballast=0) as journal:
            await _fill(journal, *keys)
            await journal.claim(1, "nobody")
            await journal.end_item(item("nobody"), ended("filtered"))
        whole = salvage(path, folder / "whole.db")
        assert (whole.rows["out"], whole.damaged) == (200, ())
        with closing(sqlite3.connect(path)) as connection:
            (root,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'out'"
            ).fetchone()
        data = bytearray(path.read_bytes())
        leaf = next(
            page
            for page in range(root, len(data) // 4096)
            if data[page * 4096] == 13 and b"key 100key 100" in data[page * 4096 :][:4096]
        )
        data[leaf * 4096 : leaf * 4096 + 4096] = b"\xff" * 4096
        path.write_bytes(data)
        found = salvage(path, folder / "new.db")
        assert found.damaged == ("out",)
        assert 100 < found.rows["out"] < 200
        async with Sqlite(folder / "new.db", ballast=0) as journal:
            assert await journal.check() == []
            await journal.open_table(TABLE)
            there = {row["key"] for row in await journal.rows("out")}
            finished = await journal.finished("p", "f")
            assert {key for key in keys if key in finished} == there
            assert "nobody" in finished

    _run(check)
