"""How concurrent calls are written together."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline.errors import DataError, StorageFailed, Transient
from genai_pipeline.records import Record
from genai_pipeline.sinks import Disk, JsonLines
from genai_pipeline.testing import FakeClock

from ._disks import SlowDisk

pytestmark = pytest.mark.anyio


async def test_concurrent_calls_cost_one_write(tmp_path: Path) -> None:
    """What many workers write at the same time is one write, round after round."""
    disk = SlowDisk(threading.Event())
    disk.gate.set()

    async def work(sink: JsonLines) -> None:
        for number in range(10):
            await sink(Record(number))

    async with (
        JsonLines(tmp_path / "out.jsonl", disk=disk) as sink,
        anyio.create_task_group() as group,
    ):
        for _ in range(50):
            group.start_soon(work, sink)
    assert sum(disk.groups) == 500
    assert len(disk.groups) <= 20


async def test_calls_gather_while_a_write_runs(tmp_path: Path) -> None:
    """While the disk is busy with one group, all that come are the next one."""
    disk = SlowDisk(threading.Event())
    async with (
        JsonLines(tmp_path / "out.jsonl", disk=disk) as sink,
        anyio.create_task_group() as group,
    ):
        group.start_soon(sink, Record(0))
        while not disk.groups:
            await anyio.lowlevel.checkpoint()
        for number in range(1, 100):
            group.start_soon(sink, Record(number))
        await anyio.wait_all_tasks_blocked()
        disk.gate.set()
    assert disk.groups == [1, 99]


async def test_call_cancelled_before_its_turn_is_withdrawn(tmp_path: Path) -> None:
    """A call that is cancelled while it waits for the disk leaves no line."""
    disk = SlowDisk(threading.Event())
    async with (
        JsonLines(tmp_path / "out.jsonl", disk=disk) as sink,
        anyio.create_task_group() as group,
    ):
        group.start_soon(sink, Record("first"))
        while not disk.groups:
            await anyio.lowlevel.checkpoint()
        group.start_soon(sink, Record("leads the second group"))
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(sink, Record("cancelled"))
            await anyio.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        disk.gate.set()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert lines == ['"first"', '"leads the second group"']


async def test_disk_that_hangs_is_given_up(tmp_path: Path) -> None:
    """After *timeout* seconds a hanging write is a StorageFailed, and so is leaving the sink."""
    disk, clock = SlowDisk(threading.Event()), FakeClock()

    async def use() -> None:
        with pytest.raises(StorageFailed, match="not finished after 60 s; the disk hangs"):
            async with JsonLines(
                tmp_path / "out.jsonl", disk=disk, timeout=60, clock=clock
            ) as sink:
                with pytest.raises(StorageFailed, match="no answer for 60 s; the disk hangs"):
                    await sink(Record(1))

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        while not disk.groups:  # until the thread hangs in the disk
            await anyio.lowlevel.checkpoint()
        clock.advance(60)
        await anyio.wait_all_tasks_blocked()
        clock.advance(60)
    assert not (tmp_path / "out.jsonl").exists()
    disk.gate.set()


async def test_cancelled_run_waits_for_a_hanging_disk_no_longer(tmp_path: Path) -> None:
    """Cancellation of a run is held up by a hanging disk for *timeout* seconds at most."""
    disk = SlowDisk(threading.Event())

    async def run(clock: FakeClock) -> None:
        async with JsonLines(tmp_path / "out.jsonl", disk=disk, timeout=60, clock=clock) as sink:
            await sink(Record(1))

    async with FakeClock() as clock:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(run, clock)
                while not disk.groups:
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
    assert caught.group_contains(StorageFailed)
    assert 60 <= clock.now() <= 120
    disk.gate.set()


_STEP = st.sampled_from(["write", "refused", "cancelled"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40, deadline=None)
@given(
    workers=st.lists(st.lists(st.tuples(_STEP, st.integers(0, 3)), max_size=6), max_size=6),
    segment=st.none() | st.integers(1, 4),
)
def test_any_interleaving_gives_exactly_the_lines(
    backend: str, workers: list[list[tuple[str, int]]], segment: int | None
) -> None:
    """However workers interleave, fail and are cancelled, what was acknowledged is there once."""
    written: list[str] = []
    perhaps: list[str] = []

    async def work(sink: JsonLines, name: int) -> None:
        for number, (step, pause) in enumerate(workers[name]):
            value = f"{name}.{number}"
            for _ in range(pause):
                await anyio.lowlevel.checkpoint()
            if step == "refused":
                with pytest.raises(DataError):
                    await sink(Record({value: object()}))
            elif step == "cancelled":
                perhaps.append(value)
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:
                        group.start_soon(sink, Record(value))
                        await anyio.lowlevel.checkpoint()
                        scope.cancel()
            else:
                await sink(Record(value))
                written.append(value)

    async def run(path: Path) -> None:
        async with JsonLines(path, segment=segment) as sink, anyio.create_task_group() as group:
            for name in range(len(workers)):
                group.start_soon(work, sink, name)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        anyio.run(run, path, backend=backend)
        parts = [path] if segment is None else sorted(path.glob("part-*"))
        counts = [len(part.read_bytes().splitlines()) for part in parts]
        found = [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]
    assert set(written) <= set(found) <= {*written, *perhaps}
    assert len(found) == len(set(found))
    for name in range(len(workers)):
        mine = [value for value in found if value.startswith(f"{name}.")]
        assert mine == sorted(mine, key=lambda value: int(value.split(".")[1]))
    if segment is not None:
        assert all(count == segment for count in counts[:-1])


async def test_group_commit_shares_its_syncs(tmp_path: Path) -> None:
    """With parts, calls that come together share one sync."""
    syncs: list[int] = []

    class Counting(Disk):
        def sync(self, fd: int) -> None:
            syncs.append(fd)
            super().sync(fd)

    async with (
        JsonLines(tmp_path / "out", segment=1000, disk=Counting()) as sink,
        anyio.create_task_group() as group,
    ):
        for number in range(200):
            group.start_soon(sink, Record(number))
    assert len(syncs) <= 4


def test_native_cancellation_of_the_leader_harms_nobody(tmp_path: Path) -> None:
    """On asyncio, a leader that is cancelled past every shield leaves the others an answer."""
    disk = SlowDisk(threading.Event())
    answers: list[str] = []

    async def write(sink: JsonLines, value: str) -> None:
        try:
            await sink(Record(value))
        except Transient:
            answers.append(f"{value} may try again")
        else:
            answers.append(f"{value} is written")

    async def run() -> None:
        async with JsonLines(tmp_path / "out.jsonl", disk=disk) as sink:
            leader = asyncio.create_task(write(sink, "leader"))
            follower = asyncio.create_task(write(sink, "follower"))
            while not disk.groups:
                await anyio.lowlevel.checkpoint()
            leader.cancel()
            await asyncio.wait([leader, follower])
            later = asyncio.create_task(write(sink, "later"))
            await asyncio.sleep(0)
            disk.gate.set()
            await later

    asyncio.run(run())
    assert answers == ["follower may try again", "later is written"]
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert lines == ['"leader"', '"follower"', '"later"']
