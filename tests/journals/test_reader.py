"""`SqliteReader`: looks into a journal file that nobody has, and leaves it as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline._journal_admin import Selector
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals import Sqlite, SqliteReader
from genai_pipeline.testing import FakeClock
from tests.journals.script import answered, ended, intent, item, run_info

pytestmark = pytest.mark.anyio


def journal(folder: Path, clock: FakeClock) -> Sqlite:
    """Answer a journal that does everything in the caller's thread."""
    return Sqlite(folder / "run.db", ballast=0, clock=clock, writer="inline")


async def crash(folder: Path, clock: FakeClock) -> None:
    """Let an owner die with records done, dead and under way, and calls answered and under way."""
    alive = folder / "alive"
    alive.mkdir()
    kept = journal(alive, clock)
    await kept.__aenter__()
    run = await kept.begin_run(run_info())
    for key in "abc":
        await kept.claim(run, key)
        await kept.end_call(await kept.begin_call(intent(key)), answered(100))
    await kept.end_item(item("a"), ended("done"))
    await kept.end_item(item("b"), ended("dead"))
    await kept.begin_call(intent("c"))
    for name in ("run.db", "run.db-wal", "run.db.status"):  # as a killed process leaves them
        shutil.copyfile(alive / name, folder / name)
    kept.crash()
    shutil.rmtree(alive)
    assert (folder / "run.db-wal").stat().st_size > 0


async def told(kept: Any) -> list[Any]:
    """Answer all that a keeper tells."""
    runs = await kept.runs()
    names = {run.pipeline for run in runs}
    return [
        runs,
        [await kept.counts(name) for name in names],
        await kept.records(Selector()),
        await kept.open_calls(),
        await kept.costs(("stage", "model", "run")),
        await kept.budgets(),
        await kept.check(),
    ]


async def test_it_tells_what_the_next_owner_finds(folder: Path, clock: FakeClock) -> None:
    """After a crash it tells to the letter what the journal says once it was entered again."""
    await crash(folder, clock)
    async with SqliteReader(folder / "run.db", clock=clock) as reader:
        found = await told(reader)
        assert await reader.pipelines() == sorted({run.pipeline for run in found[0]})
    assert [run.state for run in found[0]] == ["died"]
    assert len(found[3]) == 1
    async with journal(folder, clock) as kept:
        assert await told(kept) == found


async def test_it_leaves_the_files_as_they_are(folder: Path, clock: FakeClock) -> None:
    """Neither a log that a crash left nor a file that was left in order is touched."""
    await crash(folder, clock)
    for _ in range(2):
        (folder / "run.db.lock").unlink(missing_ok=True)
        before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
        async with SqliteReader(folder / "run.db", clock=clock) as reader:
            await told(reader)
        assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before
        async with journal(folder, clock):
            pass


async def test_a_copy_is_of_the_file_as_it_is(folder: Path, clock: FakeClock) -> None:
    """A backup after a crash has what the crash left, and the reader goes on reading."""
    await crash(folder, clock)
    async with SqliteReader(folder / "run.db", clock=clock) as reader:
        found = await told(reader)
        await reader.backup(folder / "copy.db")
        assert await told(reader) == found
    with closing(sqlite3.connect(folder / "copy.db")) as copy:
        states = copy.execute("SELECT count(*) FROM call WHERE state = 'inflight'").fetchone()
    assert states == (1,)
    async with SqliteReader(folder / "copy.db", clock=clock) as reader:
        assert await told(reader) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda reader: reader.redrive(Selector()),
        lambda reader: reader.release(Selector(state="held")),
        lambda reader: reader.purge(1e12),
        lambda reader: reader.vacuum(),
    ],
    ids=["redrive", "release", "purge", "vacuum"],
)
async def test_it_changes_nothing(
    folder: Path, clock: FakeClock, change: Callable[[Any], Awaitable[Any]]
) -> None:
    """What would change the journal is refused, with what to use instead."""
    await crash(folder, clock)
    async with SqliteReader(folder / "run.db", clock=clock) as reader:
        found = await told(reader)
        with pytest.raises(ConfigurationError, match="is only read; enter Sqlite to change it"):
            await change(reader)
        assert await told(reader) == found


async def test_nobody_enters_meanwhile(folder: Path, clock: FakeClock) -> None:
    """While it is read nobody can enter the journal, and while somebody has it nobody reads."""
    await crash(folder, clock)
    async with SqliteReader(folder / "run.db", clock=clock):
        with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
            await journal(folder, clock).__aenter__()
    async with journal(folder, clock):
        with pytest.raises(ConfigurationError, match=f"in use by process {os.getpid()}"):
            await SqliteReader(folder / "run.db", clock=clock).__aenter__()


async def test_to_be_refused_leaves_the_owners_locks(folder: Path, clock: FakeClock) -> None:
    """Who is refused in the owner's own process leaves the file closed to other programs."""

    def refused_elsewhere() -> bool:
        look = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute({sql!r})"
        done = subprocess.run([sys.executable, "-c", look], capture_output=True, check=False)
        return b"database is locked" in done.stderr

    path, sql = folder / "run.db", "SELECT * FROM run"
    async with journal(folder, clock):
        assert refused_elsewhere()
        with pytest.raises(ConfigurationError, match="in use by process"):
            await SqliteReader(path, clock=clock).__aenter__()
        assert refused_elsewhere()


async def test_what_is_no_journal(folder: Path, clock: FakeClock) -> None:
    """A missing file, another program's and a damaged one are refused, and no lock stays."""
    path = folder / "it.db"
    with pytest.raises(ConfigurationError, match="there is no such file"):
        await SqliteReader(path, clock=clock).__aenter__()
    path.write_bytes(b"\0" * 10_000)
    with pytest.raises(StorageFailed, match="it is damaged, or no journal"):
        await SqliteReader(path, clock=clock).__aenter__()
    assert os.listdir(folder) == ["it.db"]


async def test_it_must_be_entered(folder: Path, clock: FakeClock) -> None:
    """Before it is entered, and after it was left, it says that it must be."""
    await crash(folder, clock)
    reader = SqliteReader(folder / "run.db", clock=clock)
    async with reader:
        pass
    with pytest.raises(ConfigurationError, match="use `async with`"):
        await reader.runs()
