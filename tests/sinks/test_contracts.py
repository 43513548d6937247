"""Our own sinks keep what every sink promises."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.lowlevel
import attrs
import pytest

from genai_pipeline import sinks
from genai_pipeline._journal import ItemEnd, RunInfo
from genai_pipeline._journal_tables import PendingRows, TableRows
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.records import Record
from genai_pipeline.sinks import Collect, Csv, Files, JournalTable, JsonLines, Stdout, Table
from genai_pipeline.testing import SinkContract
from genai_pipeline.types import Sink
from genai_pipeline.walk import Run, Walk, set_walk


class _InFolder:
    folder: Path

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        """Give each test a folder of its own."""
        self.folder = tmp_path


class TestCollect(SinkContract):
    """Collect keeps the contract; it takes anything and keeps it over all runs."""

    accumulates = True
    at_least_once = True
    takes_anything = True

    def make(self) -> Sink[Any]:
        """Make an empty one."""
        return Collect()

    def read_back(self, sink: Any) -> Sequence[object]:
        """Look at the values."""
        return list(sink.values)


class TestJsonLinesFile(_InFolder, SinkContract):
    """JsonLines keeps the contract with one file."""

    def make(self) -> Sink[Any]:
        """Write one file."""
        return JsonLines(self.folder / "out.jsonl")

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the file, and see that nothing else is there."""
        assert [path.name for path in self.folder.iterdir()] == ["out.jsonl"]
        return _lines(self.folder / "out.jsonl")


class TestJsonLinesParts(_InFolder, SinkContract):
    """JsonLines keeps the contract with a folder of parts, which accumulate."""

    accumulates = True

    def make(self) -> Sink[Any]:
        """Write parts of seven."""
        return JsonLines(self.folder / "out", segment=7)

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the parts in the order of their names; none but the last of a run is short."""
        parts = sorted((self.folder / "out").glob("part-*.jsonl"))
        assert {path.name for path in (self.folder / "out").iterdir()} == {
            ".lock",
            *(part.name for part in parts),
            *(f".{part.name}.keys" for part in parts),
        }
        return [value for part in parts for value in _lines(part)]


class TestCsvFile(_InFolder, SinkContract):
    """Csv keeps the contract with one file."""

    def make(self) -> Sink[Any]:
        """Write one table."""
        return Csv(self.folder / "out.csv")

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the table."""
        return _rows(self.folder / "out.csv")


class TestCsvParts(_InFolder, SinkContract):
    """Csv keeps the contract with a folder of parts, which accumulate."""

    accumulates = True

    def make(self) -> Sink[Any]:
        """Write tables of seven rows."""
        return Csv(self.folder / "out", segment=7)

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the tables, each with its own header."""
        parts = sorted((self.folder / "out").glob("part-*.csv"))
        return [row for part in parts for row in _rows(part)]


def _lines(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _rows(path: Path) -> list[dict[str, int]]:
    with path.open(newline="") as file:
        return [{"number": int(row["number"])} for row in csv.DictReader(file)]


class TestFiles(_InFolder, SinkContract):
    """Files keeps the contract with a file for each record, which accumulate."""

    accumulates = True

    def make(self) -> Sink[Any]:
        """Write files."""
        return Files(self.folder / "out")

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the files in the order of their keys, and see that nothing else is there."""
        found = {path for path in (self.folder / "out").iterdir() if path.name != ".lock"}
        assert all(path.name.startswith("key-") for path in found)
        return [json.loads(path.read_bytes()) for path in sorted(found, key=_number)]


class TestFilesKept(TestFiles):
    """Files keeps the contract where files that are there stay."""

    def make(self) -> Sink[Any]:
        """Write files that are not there."""
        return Files(self.folder / "out", on_existing="keep")


class TestFilesRefusing(TestFiles):
    """Files keeps the contract where other files of the same name are refused."""

    def make(self) -> Sink[Any]:
        """Write files that are not there, or the same."""
        return Files(self.folder / "out", on_existing="refuse")


class TestTable(_InFolder, SinkContract):
    """Table keeps the contract with a row for each record, which accumulate."""

    accumulates = True

    def make(self) -> Sink[Any]:
        """Write rows."""
        return Table(self.folder / "out.db")

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Read the rows, and see that nothing is beside the file."""
        assert [path.name for path in self.folder.iterdir()] == ["out.db"]
        with closing(sqlite3.connect(self.folder / "out.db")) as connection:
            rows = connection.execute("SELECT value FROM records ORDER BY rowid").fetchall()
        return [json.loads(value) for (value,) in rows]


class _Ended:
    """Ends each record in a journal of its own, as a run does, with the row that it leaves."""

    def __init__(self, journal: Any) -> None:
        self.journal = journal
        self._table = JournalTable("out")
        self._run = 0
        self._carried: dict[str, anyio.Lock] = {}

    async def __aenter__(self) -> None:
        if self._run:
            raise ConfigurationError("it is open already")
        await self.journal.__aenter__()
        await self.journal.open_table(self._table.table_schema)
        info = RunInfo(pipeline="p", fingerprint="f", stages=(), began=0.0, version="1")
        self._run = await self.journal.begin_run(info)

    async def __aexit__(self, *error: object) -> None:
        self._run = 0
        with anyio.CancelScope(shield=True):
            await self.journal.__aexit__(*error)

    async def __call__(self, record: Record[Any]) -> None:
        if not self._run:
            raise ConfigurationError("it is not open")
        async with self._carried.setdefault(record.key, anyio.Lock()):
            claim = await self.journal.claim(self._run, record.key)
            if claim.state != "claimed":
                return
            end = ItemEnd(state="ready", at=0.0, fingerprint="f")
            rows: list[TableRows] = []
            try:
                walk = Walk(cast("Run", None), record, 0)
                walk.rows = PendingRows([self._table.table_schema])
                set_walk(walk)
                await self._table(record)
                await anyio.lowlevel.checkpoint()
                end, rows = attrs.evolve(end, state="done"), list(walk.rows.of_record(()))
            finally:
                await self.journal.end_item(claim.item, end, rows=rows)


class TestJournalTable(_InFolder, SinkContract):
    """JournalTable keeps the contract by the ends of its records, which accumulate."""

    accumulates = True

    def make(self) -> Sink[Any]:
        """Write rows with ends."""
        return _Ended(Sqlite(self.folder / "run.db", ballast=0))

    def read_back(self, sink: Any) -> Sequence[object]:
        """Read the rows, in the order in which they came."""
        with closing(sqlite3.connect(self.folder / "run.db")) as connection:
            rows = connection.execute("SELECT value FROM out ORDER BY rowid").fetchall()
        return [json.loads(value) for (value,) in rows]


class TestJournalTableInMemory(TestJournalTable):
    """JournalTable keeps the contract with the journal in memory."""

    def make(self) -> Sink[Any]:
        """Write rows with ends."""
        known = getattr(self, "journal", None)
        self.journal = known or Memory()
        return _Ended(self.journal)

    def read_back(self, sink: Any) -> Sequence[object]:
        """Read the rows, in the order of their keys' numbers."""
        rows = self.journal._book.tables["out"].rows
        found = sorted(rows.values(), key=lambda each: int(each[1][0].rpartition("-")[2]))
        return [json.loads(row[1]) for _, row in found]


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("key-"))


class TestStdout(SinkContract):
    """Stdout keeps the contract; the stream it prints on accumulates, repeats too."""

    accumulates = True
    at_least_once = True

    def make(self) -> Sink[Any]:
        """Print into memory."""
        return Stdout(stream=io.StringIO())

    def read_back(self, sink: Any) -> Sequence[object]:
        """Read what was printed."""
        return [json.loads(line) for line in sink.stream.getvalue().splitlines()]


class _Loses(Collect[Any]):
    async def __call__(self, record: Record[Any], /) -> None:
        if len(self.records) % 10 != 9:
            await super().__call__(record)


class _Doubles(Collect[Any]):
    async def __call__(self, record: Record[Any], /) -> None:
        await super().__call__(record)
        if len(self.records) == 7:
            await super().__call__(record)


class _Turns(Collect[Any]):
    async def __call__(self, record: Record[Any], /) -> None:
        self.records.insert(0, record)


class _Chokes(Collect[Any]):
    """Works no more once a call was cancelled."""

    cancelled = False

    async def __call__(self, record: Record[Any], /) -> None:
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        if not self.cancelled:
            await super().__call__(record)


class _Forgets(Collect[Any]):
    """Drops everything when the run fails or is cancelled."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.clear()


class _Stutters(Collect[Any]):
    """Keeps repeats, in spite of what its author claims."""


_KEPT: list[Record[Any]] = []


class _Mends(_Stutters):
    """Knows repeats of its own run, but not of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.records = _KEPT
        self.seen: set[str] = set()

    async def __call__(self, record: Record[Any], /) -> None:
        if record.key not in self.seen:
            self.seen.add(record.key)
            await super().__call__(record)


def test_every_sink_of_ours_keeps_the_contract() -> None:
    """No sink is without its contract, and those that double repeats say so in their docstring."""
    ours = {name for name in sinks.__all__ if name != "Disk"}
    tested = [kind for kind in globals().values() if _is_contract(kind)]
    assert {name for name in ours if not any(name in kind.__name__ for kind in tested)} == set()
    doubling = {kind.__name__.removeprefix("Test") for kind in tested if kind.at_least_once}
    assert doubling == {"Collect", "Stdout"}
    for name in doubling:
        assert "written again is" in " ".join((getattr(sinks, name).__doc__ or "").split())


def _is_contract(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, SinkContract) and kind is not SinkContract


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("sink", "law"),
    [
        (_Loses, "test_calls_one_after_the_other_keep_their_order"),
        (_Loses, "test_concurrent_writes_are_all_there"),
        (_Doubles, "test_concurrent_writes_are_all_there"),
        (_Turns, "test_calls_one_after_the_other_keep_their_order"),
        (_Chokes, "test_cancelled_call_leaves_the_sink_whole"),
        (_Mends, "test_same_record_after_a_bad_end_is_harmless"),
        (_Stutters, "test_same_record_again_is_harmless"),
        (_Stutters, "test_same_record_at_once_is_harmless"),
        (_Stutters, "test_record_of_a_cancelled_call_again_is_harmless"),
        (_Forgets, "test_cancelled_run_keeps_what_was_written"),
        (_Forgets, "test_failed_run_keeps_what_was_written"),
    ],
)
async def test_contract_catches_a_broken_sink(sink: type[Collect[Any]], law: str) -> None:
    """A sink that loses, doubles or disorders values, or forgets at a bad end, fails a test."""
    _KEPT.clear()

    class Broken(TestCollect):
        at_least_once = not issubclass(sink, _Stutters)

        def make(self) -> Sink[Any]:
            return sink()

    with pytest.raises(AssertionError):
        await getattr(Broken(), law)()
