"""A sink whose disk is full: the run waits for space with the answers in hand, and goes on."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline.errors import StorageFailed, StorageFull
from genai_pipeline.journals import Memory, Sqlite, read_status
from genai_pipeline.sinks import Disk, Files, JsonLines, Table
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept, Ledger, run_interrupted

from .test_journaled_runs import asking, upper

pytestmark = pytest.mark.anyio


def no_space() -> OSError:
    """Answer what the operating system raises for a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.jsonl")


def full_until(
    clock: FakeClock, until: float, error: Callable[[], Exception] = no_space, *, after: int = 0
) -> Kept:
    """Answer a sink that takes *after* records and is full then, until a moment."""

    def refuse(_: Any) -> Exception | None:
        return error() if len(sink.records) >= after and clock.now() < until else None

    sink = Kept(refuse)
    return sink


def heard() -> tuple[list[Any], Callable[[Any], None]]:
    """Answer a list of the events about full disks, and who listens for them."""
    told: list[Any] = []

    def listener(event: Any) -> None:
        if isinstance(event, events.DiskFilled | events.DiskFreed):
            told.append(event)

    return told, listener


@pytest.mark.parametrize("error", [no_space, lambda: StorageFull("the disk is full")])
async def test_records_wait_for_space_and_nothing_is_paid_twice(
    clock: FakeClock, error: Callable[[], Exception]
) -> None:
    """After an hour without space, every record is written, after one call for each."""
    model, source = upper(), Ledger(range(100))
    sink = full_until(clock, 3600, error, after=10)
    told, listener = heard()
    with gp.listen(listener):
        report = await gp.Pipeline(
            source=source,
            stage=gp.map(asking(model)),
            sink=sink,
            dead_letters=(dead := Kept()),
            max_in_flight=8,
            journal=Memory(),
            clock=clock,
        ).run()
    assert sorted(sink.values, key=int) == [str(number) for number in range(100)]
    assert model.calls == 100
    assert (report.written, report.handed_back, report.dead) == (100, 0, 0)
    assert not dead.records
    assert [type(event).__name__ for event in told] == ["DiskFilled", "DiskFreed"]
    assert 3600 <= clock.now() < 3600 + 60
    assert report.waits["space"] > 3600
    source.check()


async def test_no_new_record_is_begun_while_there_is_no_space(clock: FakeClock) -> None:
    """While records wait for space, no worker takes another; those at work come to the sink."""
    model = upper()
    begun: list[int] = []

    async def slow(value: int) -> int:
        begun.append(value)
        await clock.sleep(1 if value == 0 else 5)
        return value

    sink = full_until(clock, 1000)
    seen: list[tuple[int, int]] = []

    async def look() -> None:
        await clock.sleep(900)
        seen.append((len(begun), model.calls))

    pipeline = gp.Pipeline(
        source=Ledger(range(50)),
        stage=gp.chain(gp.map(slow), gp.map(asking(model))),
        sink=sink,
        max_in_flight=4,
        journal=Memory(),
        clock=clock,
    )
    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await pipeline.run()
    assert seen == [(4, 4)]
    assert pipeline.report().written == 50
    assert model.calls == 50


async def test_the_event_names_what_is_full(clock: FakeClock) -> None:
    """The events tell the path that could not be written, why, and for how long."""
    told, listener = heard()
    with gp.listen(listener):
        await gp.Pipeline(
            source=Ledger([1]),
            stage=gp.map(str),
            sink=full_until(clock, 10),
            journal=Memory(),
            clock=clock,
        ).run()
    filled, freed = told
    assert filled.path == freed.path == "out.jsonl"
    assert filled.error.errno == errno.ENOSPC
    assert freed.seconds == clock.now()


async def test_without_a_journal_a_full_disk_stops_the_run(clock: FakeClock) -> None:
    """Without a journal, and with on_full_disk="stop", a full disk is a StorageFailed at once."""
    options: list[dict[str, Any]] = [{}, {"journal": Memory(), "on_full_disk": "stop"}]
    for option in options:
        source = Ledger([1, 2])
        with pytest.raises(gp.RunFailed) as failed:
            await gp.Pipeline(
                source=source,
                stage=gp.map(str),
                sink=full_until(clock, 10, lambda: StorageFull("full")),
                clock=clock,
                **option,
            ).run()
        assert failed.group_contains(StorageFailed)
        assert clock.now() == 0
        source.check()
        assert len(source.handed_back) == len(source.read)


async def test_waiting_can_be_asked_for_without_a_journal(clock: FakeClock) -> None:
    """on_full_disk="wait" waits without a journal, too."""
    report = await gp.Pipeline(
        source=Ledger([1, 2]),
        stage=gp.map(str),
        sink=full_until(clock, 10),
        on_full_disk="wait",
        clock=clock,
    ).run()
    assert report.written == 2


def twice(value: int) -> list[int]:
    """Answer a number and its opposite."""
    return [value, -value]


async def test_a_record_does_not_die_of_a_full_disk(clock: FakeClock) -> None:
    """Waiting for space is no fault of a record, whatever time it is given."""
    report = await gp.Pipeline(
        source=Ledger([1, 2, 3]),
        stage=gp.flat_map(twice),
        sink=full_until(clock, 100),
        dead_letters=(dead := Kept()),
        record_timeout=5,
        journal=Memory(),
        clock=clock,
    ).run()
    assert report.written == 3
    assert not dead.records


async def test_a_record_whose_time_is_up_is_written_once(clock: FakeClock) -> None:
    """Of the many that a record became, those that were written are not written again."""
    sink = full_until(clock, 100, after=3)
    await gp.Pipeline(
        source=Ledger([10]),
        stage=gp.flat_map(range),
        sink=sink,
        record_timeout=5,
        journal=Memory(),
        clock=clock,
    ).run()
    assert sorted(sink.values) == [*range(10)]


async def test_order_is_kept_through_a_full_disk(clock: FakeClock) -> None:
    """What is written in order is in order, though the disk was full in between."""
    sink = full_until(clock, 100, after=5)
    await gp.Pipeline(
        source=Ledger(range(40)),
        stage=gp.flat_map(twice),
        sink=gp.in_order(sink),
        record_timeout=30,
        max_in_flight=8,
        journal=Memory(),
        clock=clock,
    ).run()
    assert sink.values == [each for number in range(40) for each in (number, -number)]


async def test_dead_letters_wait_for_space_too(clock: FakeClock) -> None:
    """A record that failed is not handed back for want of space for its dead letter."""
    letters = full_until(clock, 100)

    def fails(value: int) -> int:
        raise gp.errors.InvalidRequest("never")

    report = await gp.Pipeline(
        source=Ledger([1, 2]),
        stage=gp.map(fails),
        sink=Kept(),
        dead_letters=letters,
        max_failures=None,
        journal=Memory(),
        clock=clock,
    ).run()
    assert report.dead == len(letters.records) == 2


@pytest.mark.parametrize("kind", ["stop", "timeout", "cancel"])
async def test_a_stop_hands_back_what_waits_for_space(clock: FakeClock, kind: str) -> None:
    """Whoever stops a run that waits for space gets it at once, and a later one pays nothing."""
    model, journal, source = upper(), Memory(), Ledger(range(20))
    options: dict[str, Any] = {"timeout": 50} if kind == "timeout" else {}
    pipeline = gp.Pipeline(
        source=source,
        stage=gp.map(asking(model)),
        sink=full_until(clock, 1e9),
        dead_letters=(dead := Kept()),
        max_in_flight=4,
        journal=journal,
        clock=clock,
        **options,
    )
    report = await run_interrupted(pipeline, kind, at=50)
    if kind != "cancel":
        assert report.stopped is not None
        assert report.handed_back == 4
        assert clock.now() == pytest.approx(50)
    source.check()
    assert not dead.records
    paid = model.calls
    again = await gp.Pipeline(
        source=Ledger(range(20)),
        stage=gp.map(asking(model)),
        sink=(sink := Kept()),
        journal=journal,
    ).run()
    assert again.replayed == paid == 4
    assert len(sink.records) == 20
    assert model.calls == 20


async def test_another_failure_while_waiting_ends_the_wait(clock: FakeClock) -> None:
    """A disk that is broken when there would be space stops the run."""

    def error() -> Exception:
        return no_space() if clock.now() < 10 else StorageFailed("the disk is failing")

    source = Ledger([1, 2])
    with pytest.raises(gp.RunFailed, match="StorageFailed"):
        await gp.Pipeline(
            source=source,
            stage=gp.map(str),
            sink=full_until(clock, 1e9, error),
            journal=Memory(),
            clock=clock,
        ).run()
    assert clock.now() < 60
    source.check()


async def test_the_status_says_what_a_run_waits_for(tmp_path: Path, clock: FakeClock) -> None:
    """The status beside the journal says that a run waits for space, and where."""
    path = tmp_path / "run.db"
    said: list[Any] = []

    async def look() -> None:
        for _ in range(2):
            await clock.sleep(150)
            status = read_status(path)
            assert status is not None
            said.append(dict(status.waits))

    async def slow(value: int) -> int:
        await clock.sleep(value)
        return value

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await gp.Pipeline(
            source=Ledger([1, 500]),
            stage=gp.map(slow),
            sink=full_until(clock, 200),
            journal=Sqlite(path, ballast=0, writer="inline", clock=clock),
            clock=clock,
        ).run()
    assert said == [{"1": "space for out.jsonl"}, {}]


async def test_the_status_tells_of_two_waits_at_once(tmp_path: Path, clock: FakeClock) -> None:
    """While a run waits for space and for memory, the status has both; then what is left."""
    path, most = tmp_path / "run.db", 100 * 1024**2
    said: list[Any] = []

    async def look() -> None:
        for seconds in (30, 40, 120):
            await clock.sleep(seconds)
            status = read_status(path)
            assert status is not None
            said.append(dict(status.waits))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        report = await gp.Pipeline(
            source=Ledger(range(60), clock=clock, every=5),
            stage=gp.map(str),
            sink=full_until(clock, 100),
            journal=Sqlite(path, ballast=0, writer="inline", clock=clock),
            max_memory=most,
            memory_used=lambda: 2 * most if 10 <= clock.now() < 50 else 0,
            clock=clock,
        ).run()
    space = "space for out.jsonl"
    assert said == [{"1": f"{space} and memory below {most} bytes"}, {"1": space}, {}]
    assert report.written == 60


class FullDisk(Disk):
    """A disk on which nothing can be made, written or named while it is full."""

    def __init__(self, is_full: Callable[[], bool], *, names_only: bool) -> None:
        self._is_full = is_full
        self._names_only = names_only

    def _check(self) -> None:
        if self._is_full():
            raise no_space()

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open, or make if there is space."""
        if flags & os.O_CREAT and not self._names_only:
            self._check()
        return super().open(path, flags, mode)

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """Write one byte, if the disk is full then."""
        if self._is_full() and not self._names_only:
            super().write(fd, data[:1], offset)
            raise no_space()
        return super().write(fd, data, offset)

    def publish(self, source: Path, target: Path) -> None:
        """Give a name, if there is space for it."""
        self._check()
        super().publish(source, target)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("names_only", [False, True])
@pytest.mark.parametrize("kind", ["file", "parts", "files"])
async def test_sinks_of_files_take_every_record_once(
    tmp_path: Path, kind: str, *, names_only: bool
) -> None:
    """On a disk that is full for a while, each line or file is there once in the end, and whole."""
    async with FakeClock(cushion=0.002) as clock:
        written: list[int] = []
        full = FullDisk(lambda: len(written) > 5 and clock.now() < 10, names_only=names_only)
        options: dict[str, Any] = {"disk": full}  # which takes real time, unlike the run
        sinks: dict[str, Callable[[], Any]] = {
            "file": lambda: JsonLines(tmp_path / "out.jsonl", **options),
            "parts": lambda: JsonLines(tmp_path / "out", segment=4, **options),
            "files": lambda: Files(tmp_path / "out", on_existing="refuse", **options),
        }
        sink = sinks[kind]()

        async def one(value: int) -> int:
            written.append(value)
            return value

        model = Script.of(lambda request: request.prompt)
        report = await gp.Pipeline(
            source=Ledger(range(20)),
            stage=gp.chain(gp.map(asking(model)), gp.map(one)),
            sink=sink,
            max_in_flight=3,
            journal=Memory(),
            clock=clock,
        ).run()
    assert report.written == model.calls == 20
    paths = [tmp_path / "out.jsonl"] if kind == "file" else [*(tmp_path / "out").glob("[!.]*")]
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    assert sorted(map(int, (line.strip('"') for line in lines))) == [*range(20)]
    assert clock.now() >= 10 or (kind != "parts" and names_only)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 256 KiB, which only the superuser may."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs the superuser; full disks are faked above")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["parts", "table"])
async def test_on_a_disk_that_is_really_full(tmp_path: Path, small_disk: Path, kind: str) -> None:
    """A run goes on by itself when somebody makes room, and buys nothing twice."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(150_000))
    model = Script.of(lambda request: request.prompt * 2000)
    sink: Any = (
        JsonLines(small_disk / "out", segment=10)
        if kind == "parts"
        else Table(small_disk / "out.db")
    )

    def make_room(event: Any) -> None:
        if isinstance(event, events.DiskFilled):
            assert event.path.startswith(str(small_disk))
            filler.unlink()

    with gp.listen(make_room):
        report = await gp.Pipeline(
            source=Ledger(range(10, 50)),
            stage=gp.map(asking(model)),
            sink=sink,
            max_in_flight=4,
            journal=Sqlite(tmp_path / "run.db", ballast=0),
        ).run()
    assert not filler.exists()
    assert report.written == model.calls == 40
    if kind == "parts":
        parts = sorted((small_disk / "out").glob("part-*"))
        lines = [line for part in parts for line in part.read_text("utf-8").splitlines()]
        found = {line.strip('"') for line in lines}
        assert len(lines) == 40
    else:
        with closing(sqlite3.connect(small_disk / "out.db")) as connection:
            found = {
                value.strip('"') for (value,) in connection.execute("SELECT value FROM records")
            }
    assert found == {str(number) * 2000 for number in range(10, 50)}
