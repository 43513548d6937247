"""What a journal costs: the pipeline of `benchmarks.calls` with each kind, and resuming."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import anyio
import attrs

import genai_pipeline as gp
from benchmarks.calls import IN_FLIGHT, LATENCY, prompts, simulated_server
from benchmarks.harness import Goal, Table, take_turns
from genai_pipeline._identity import item_id, record_id
from genai_pipeline._journal import CallEnd, Intent, ItemEnd, Journal, Settled
from genai_pipeline._journal_tables import TableRows
from genai_pipeline.journals import Memory

_FIRST = record_id("pipeline", "0")
_MEMORY = Path("/dev/shm")


@attrs.define(eq=False)
class TimedSqlite(gp.Sqlite):
    """A journal that notes how long its commits take, and how much it is given to keep."""

    seconds: list[float] = attrs.field(factory=list, init=False)
    payload: int = attrs.field(default=0, init=False)

    async def begin_call(self, intent: Intent, /) -> int:
        """T1."""
        began = time.perf_counter()
        number = await super().begin_call(intent)
        self.seconds.append(time.perf_counter() - began)
        return number

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        """T2."""
        began = time.perf_counter()
        settled = await super().end_call(call, end)
        self.seconds.append(time.perf_counter() - began)
        self.payload += 0 if end.answer is None else len(end.answer.body)
        return settled

    async def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> None:
        """T3."""
        began = time.perf_counter()
        await super().end_item(item, end, rows=rows)
        self.seconds.append(time.perf_counter() - began)


@attrs.define
class Facts:
    """What was seen of it, over all looks."""

    seconds: list[float] = attrs.field(factory=list)
    amplification: list[float] = attrs.field(factory=list)
    per_commit: list[float] = attrs.field(factory=list)

    def notes(self) -> Iterator[str]:
        """Answer them as text."""
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive")
        yield (
            f"one durable commit, as its caller waits for it: p50 {cuts[49] * 1000:.1f} ms, "
            f"p99 {cuts[98] * 1000:.1f} ms; {statistics.median(self.per_commit):.0f} share a sync"
        )
        if self.amplification:
            times = statistics.median(self.amplification)
            yield f"written to the disk: {times:.1f} x the bytes of the answers kept"


@contextmanager
def folder_on_disk(where: Path | None = None) -> Iterator[Path]:
    """Make a folder beside the checkout: where temporary files go is often memory."""
    with tempfile.TemporaryDirectory(dir=where or Path.cwd(), prefix=".bench-") as folder:
        yield Path(folder)


def _written() -> int | None:
    try:
        facts = Path("/proc/self/io").read_text("ascii")
    except OSError:
        return None
    return int(facts.split("write_bytes: ", 1)[1].split("\n", 1)[0])


async def _run(url: str, count: int, journal: Journal | None) -> int:
    model = gp.providers.OpenAI("simulated", base_url=url, api_key="sk-none")
    sink: gp.sinks.Collect[str] = gp.sinks.Collect()

    async def ask(prompt: str) -> str:
        return (await model(gp.Request(prompt))).text

    pipeline = gp.Pipeline(
        source=gp.sources.Values(prompts(count)),
        stage=gp.map(ask),
        sink=sink,
        max_in_flight=IN_FLIGHT,
        journal=journal,
    )
    return (await pipeline.run()).written


def _rate(url: str, count: int, journal: Journal | None) -> float:
    began = time.perf_counter()
    written = anyio.run(_run, url, count, journal)
    seconds = time.perf_counter() - began
    assert written == count, f"{written} of {count} records were written"
    return count / seconds


def _in_memory(url: str, count: int) -> float:
    return _rate(url, count, Memory())


def _where_a_sync_is_free(url: str, count: int) -> float:
    with folder_on_disk(_MEMORY) as folder:
        return _rate(url, count, gp.Sqlite(folder / "run.db"))


def _on_disk(url: str, count: int) -> float:
    with folder_on_disk() as folder:
        return _rate(url, count, gp.Sqlite(folder / "run.db"))


def _look(url: str, count: int, facts: Facts) -> None:
    """Run once more, with a journal that notes what it does, which costs a little itself."""
    with folder_on_disk() as folder:
        journal = TimedSqlite(folder / "run.db")
        before = _written()
        _rate(url, count, journal)
        after = _written()
        status = gp.journals.read_status(folder / "run.db")
    assert status is not None
    facts.seconds += journal.seconds
    facts.per_commit.append((len(journal.seconds) + count) / status.commits)
    if before is not None and after is not None:
        facts.amplification.append((after - before) / journal.payload)


def _throughput(count: int, repeats: int) -> Table:
    facts = Facts()
    with simulated_server() as url:
        cases = {
            "no journal": partial(_rate, url, count, None),
            "journals.Memory": partial(_in_memory, url, count),
            "gp.Sqlite": partial(_on_disk, url, count),
        }
        if _MEMORY.is_dir():
            cases["gp.Sqlite, file in memory"] = partial(_where_a_sync_is_free, url, count)
        runs = take_turns(cases, repeats)
        for _ in range(repeats):
            _look(url, count, facts)
    return Table(
        title=f"Journal: {count:,} calls, {IN_FLIGHT} in flight, {LATENCY * 1000:g} ms latency",
        unit="records/s",
        runs=runs,
        baseline="no journal",
        goals=(Goal("gp.Sqlite", at_least=0.6, ratio=True),),
        notes=tuple(facts.notes()),
    )


async def _stage(value: int) -> int:
    return value


async def _sink(record: gp.Record[int]) -> None:
    pass


async def _pass(path: Path, count: int) -> gp.Report:
    """Run a pipeline over *count* records."""
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(count)),
        stage=gp.map(_stage),
        sink=_sink,
        journal=gp.Sqlite(path, ballast=0),
    )
    return await pipeline.run()


def _finish(path: Path, count: int) -> None:
    """Finish one record, and put the others beside it in bulk: to run them would take minutes."""
    anyio.run(_pass, path, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO item (item, latest, pipeline, key, state, run, fingerprint, ended) "
            "SELECT ?, 1, pipeline, ?, state, run, fingerprint, ended FROM item WHERE item = ?",
            (
                (item_id(record_id("pipeline", key)), key.encode(), item_id(_FIRST))
                for key in map(str, range(1, count))
            ),
        )


def _seconds(path: Path, count: int) -> float:
    began = time.perf_counter()
    report = anyio.run(_pass, path, count)
    assert report.skipped == count, f"{report.skipped} of {count} records were passed by"
    return time.perf_counter() - began


def _resuming(count: int, repeats: int) -> Table:
    with folder_on_disk() as folder:
        _finish(folder / "run.db", count)
        runs = take_turns({"run again": partial(_seconds, folder / "run.db", count)}, repeats)
    return Table(
        title=f"Resume: a pipeline run again whose {count:,} records are finished",
        unit="s",
        runs=runs,
        baseline="run again",
        goals=(Goal("run again", at_most=5),),
    )


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure both; by turns, against one server."""
    repeats = 1 if smoke else 5
    return [
        _throughput(300 if smoke else 5_000, repeats),
        _resuming(1_000 if smoke else 1_000_000, min(repeats, 3)),
    ]
