"""Table."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError, DataError, StorageFailed, Transient
from genai_pipeline.journals import Sqlite
from genai_pipeline.records import Record
from genai_pipeline.sinks import Table

pytestmark = pytest.mark.anyio


async def _write(sink: Table, *records: Record[Any]) -> None:
    async with sink:
        for record in records:
            await sink(record)


def _ask(path: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


async def test_row_of_a_key_is_replaced(tmp_path: Path) -> None:
    """Each key has one row, with the value that was written last, as JSON."""
    path = tmp_path / "out.db"
    await _write(Table(path), Record({"n": 1}, "a"), Record("é", "b"), Record({"n": 2}, "a"))
    await _write(Table(path), Record([None], "b"))
    assert _ask(path, "SELECT key, value FROM records") == [("a", '{"n": 2}'), ("b", "[null]")]
    assert _ask(path, "SELECT value ->> '$.n' FROM records WHERE key = 'a'") == [(2,)]
    assert [each.name for each in tmp_path.iterdir()] == ["out.db"]


async def test_row_is_committed_when_the_call_returns(tmp_path: Path) -> None:
    """Another program sees a row as soon as its call has returned."""
    path = tmp_path / "out.db"
    async with Table(path) as sink:
        await sink(Record(1, "a"))
        assert _ask(path, "SELECT key FROM records") == [("a",)]


async def test_calls_at_the_same_time_are_few_transactions(tmp_path: Path) -> None:
    """What many write at once is committed together."""
    path = tmp_path / "out.db"
    async with Table(path) as sink:
        before = path.read_bytes()[24:28]
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(sink, Record(number, f"{number}"))
        changes = [int.from_bytes(each, "big") for each in (before, path.read_bytes()[24:28])]
    assert _ask(path, "SELECT count(*) FROM records") == [(200,)]
    assert 1 <= changes[1] - changes[0] <= 3, "the file's own count of its transactions"


async def test_tables_share_a_file(tmp_path: Path) -> None:
    """Results and dead letters may go to two tables of one file, at the same time."""
    path = tmp_path / "out.db"
    async with (
        Table(path, table="good") as good,
        Table(path, table="bad") as bad,
        anyio.create_task_group() as group,
    ):
        for number in range(20):
            group.start_soon(good, Record(number, f"{number}"))
            group.start_soon(bad, Record(number, f"{number}"))
    assert _ask(path, "SELECT count(*) FROM good") == _ask(path, "SELECT count(*) FROM bad")


async def test_table_may_have_more_columns(tmp_path: Path) -> None:
    """A table that the application made is filled, its other columns by their defaults."""
    path = tmp_path / "out.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT, "
            "n AS (value ->> '$.n'), seen INTEGER DEFAULT 0)"
        )
    await _write(Table(path), Record({"n": 5}, "a"))
    assert _ask(path, "SELECT key, n, seen FROM records") == [("a", 5, 0)]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("name TEXT, age INTEGER", "has the columns 'name', 'age', not 'key' and 'value'"),
        ("key TEXT, value TEXT", "has another primary key"),
        ("key TEXT, value TEXT, x, PRIMARY KEY (key, x)", "has another primary key"),
    ],
)
async def test_table_of_somebody_else_is_left_alone(
    tmp_path: Path, columns: str, told: str
) -> None:
    """A table that cannot be upserted by key is refused before the run begins."""
    path = tmp_path / "out.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE records ({columns})")
    with pytest.raises(ConfigurationError, match=f"table='records' in .*{told}.*; give another"):
        await _write(Table(path))


async def test_journal_is_no_place_for_a_table(tmp_path: Path) -> None:
    """The file of a journal is refused: busy while it is in use, by its kind when it is not."""
    path = tmp_path / "run.db"
    async with Sqlite(path, ballast=0):
        with pytest.raises(Transient, match="locked by another process"):
            await _write(Table(path, busy_timeout=0.01))
    with pytest.raises(ConfigurationError, match="is a journal or a store"):
        await _write(Table(path))


async def test_key_that_is_no_text_fails_alone(tmp_path: Path) -> None:
    """A record without a key, or with one that is no Unicode, is a DataError of its own."""
    path = tmp_path / "out.db"
    async with Table(path) as sink:
        with pytest.raises(DataError, match="has no key"):
            await sink(Record(1))
        with pytest.raises(DataError, match=r"key '\\ud800' is no Unicode"):
            await sink(Record(1, "\ud800"))
        for key in ("a\0b", "a", "'; DROP TABLE records; --", "é" * 3000):
            await sink(Record(key, key))
    rows = _ask(path, "SELECT key, value FROM records")
    assert len(rows) == 4
    assert all(json.loads(value) == key for key, value in rows)


async def test_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """Another file is left as it is, and so is a folder or a place that does not exist."""
    path = tmp_path / "out.db"
    path.write_text("precious " * 200)
    with pytest.raises(StorageFailed, match="is damaged, or no SQLite file"):
        await _write(Table(path))
    assert path.read_text() == "precious " * 200
    with pytest.raises(ConfigurationError, match="is a directory"):
        await _write(Table(tmp_path))
    with pytest.raises(ConfigurationError, match="does not exist"):
        await _write(Table(tmp_path / "no" / "out.db"))
    await _write(Table(tmp_path / "no" / "out.db", make_dirs=True))


async def test_busy_file_is_told_and_rows_can_be_written_later(tmp_path: Path) -> None:
    """While another program holds the file, a call is Transient, and writes nothing."""
    path = tmp_path / "out.db"
    async with Table(path, busy_timeout=0.01) as sink:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Transient, match="locked by another process"):
                await sink(Record(1, "a"))
            other.execute("ROLLBACK")
        await sink(Record(2, "a"))
    assert _ask(path, "SELECT value FROM records") == [("2",)]


async def test_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    """When the file may grow no further, the call fails, and what was committed stays."""
    path = tmp_path / "out.db"
    async with Table(path) as sink:
        await sink(Record("small", "a"))
        inner: Any = sink
        inner._session._place._connection.execute("PRAGMA max_page_count = 10")
        with pytest.raises(StorageFailed, match="the disk is full"):
            await sink(Record("x" * 100_000, "b"))
        await sink(Record("fits", "c"))
    assert _ask(path, "SELECT key FROM records") == [("a",), ("c",)]
    assert _ask(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("table", "a b"),
        ("table", 'x"; DROP TABLE y'),
        ("table", "1st"),
        ("table", "sqlite_master"),
        ("table", "x" * 64),
        ("table", None),
        ("busy_timeout", 0),
        ("path", ":memory:"),
        ("path", ""),
        ("path", 3),
    ],
)
def test_option_out_of_range_is_refused_when_built(option: str, value: object) -> None:
    """A wrong option is a ConfigurationError that names it."""
    options: Any = {"path": "out.db", option: value}
    with pytest.raises(ConfigurationError, match=f"Table: {option}="):
        Table(**options)
