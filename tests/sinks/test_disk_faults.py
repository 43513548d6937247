"""Whatever call to the disk fails: nothing is half-written, nothing acknowledged is lost."""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline.errors import StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import Csv, Files, JsonLines

from ._disks import FaultyDisk, PowerCut, error_of

pytestmark = pytest.mark.anyio

_RECORDS = 5


async def _run(sink: Any, start: int = 0, *, keyed: bool = False) -> tuple[list[int], bool]:
    """Answer which of a few records were acknowledged, and whether the sink ended well."""
    written: list[int] = []
    try:
        async with sink:
            for number in range(start, start + _RECORDS):
                try:
                    await sink(Record({"n": number}, str(number) if keyed else ""))
                except StorageFailed:
                    continue
                written.append(number)
    except (StorageFailed, PowerCut):
        return written, False
    return written, True


def _numbers(path: Path) -> list[int]:
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()]


def _parts(folder: Path) -> list[int]:
    return [number for part in sorted(folder.glob("part-*")) for number in _numbers(part)]


def _restart(disk: FaultyDisk, kind: str) -> None:
    if kind == "power cut" and disk.calls >= disk.at:
        disk.lose()
    else:
        disk.forget()


_FAILURES: dict[str, Callable[[], BaseException]] = {
    "full": error_of(errno.ENOSPC),
    "failing": error_of(errno.EIO),
    "power cut": PowerCut,
}
_KINDS = [
    ("full", False),
    ("full", True),
    ("failing", False),
    ("failing", True),
    ("power cut", True),
]


@pytest.mark.parametrize(("kind", "lasting"), _KINDS)
async def test_file_is_the_old_or_the_new_one(tmp_path: Path, kind: str, lasting: bool) -> None:
    """When any one call fails, the file holds the old lines or all acknowledged new ones."""
    path = tmp_path / "out.jsonl"
    at = 0
    for at in itertools.count(1):
        path.write_text('{"n": -1}\n')
        disk = FaultyDisk(at, _FAILURES[kind], lasting=lasting)
        written, well = await _run(JsonLines(path, disk=disk))
        _restart(disk, kind)
        if well:
            assert _numbers(path) == written
        else:
            assert _numbers(path) in ([-1], written)
        assert await _run(JsonLines(path), start=100) == ([*range(100, 105)], True)
        assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
        assert _numbers(path) == [*range(100, 105)]
        if disk.calls < at:
            break  # nothing was left to fail
    assert at >= 9


@pytest.mark.parametrize(("kind", "lasting"), _KINDS)
async def test_parts_hold_all_that_was_acknowledged(
    tmp_path: Path, kind: str, lasting: bool
) -> None:
    """When any one call fails, the next run has all acknowledged lines, in order, each once."""
    at = 0
    for at in itertools.count(1):
        folder = tmp_path / f"{at}"
        disk = FaultyDisk(at, _FAILURES[kind], lasting=lasting)
        written, _ = await _run(JsonLines(folder, segment=2, disk=disk))
        _restart(disk, kind)
        assert await _run(JsonLines(folder, segment=2), start=100) == ([*range(100, 105)], True)
        found = _parts(folder)
        assert set(written) <= set(found)
        assert found == sorted(set(found)), "a line is there twice or out of order"
        assert found[-5:] == [*range(100, 105)]
        assert {each.name[:5] for each in folder.iterdir()} == {".lock", "part-", ".part"}
        if disk.calls < at:
            break
    assert at >= 20


@pytest.mark.parametrize(("kind", "lasting"), _KINDS)
@pytest.mark.parametrize("sink", [JsonLines, Files])
async def test_repeats_after_a_fault_are_harmless(
    tmp_path: Path, sink: type[Any], kind: str, lasting: bool
) -> None:
    """When any one call fails, the next run leaves every record once, whatever was there."""
    at = 0
    for at in itertools.count(1):
        folder = tmp_path / f"{at}"
        options: dict[str, Any] = {"segment": 2} if sink is JsonLines else {}
        disk = FaultyDisk(at, _FAILURES[kind], lasting=lasting)
        written, _ = await _run(sink(folder, disk=disk, **options), keyed=True)
        _restart(disk, kind)
        if sink is Files:
            whole = {path.name: _numbers(path) for path in folder.glob("*.json")}
            assert whole == {name: [int(Path(name).stem)] for name in whole}
            assert {f"{number}.json" for number in written} <= whole.keys()
        assert await _run(sink(folder, **options), keyed=True) == ([*range(_RECORDS)], True)
        if sink is JsonLines:
            assert sorted(_parts(folder)) == [*range(_RECORDS)]
            assert {each.name[:5] for each in folder.iterdir()} == {".lock", "part-", ".part"}
        else:
            names = {".lock", *(f"{number}.json" for number in range(_RECORDS))}
            assert {each.name for each in folder.iterdir()} == names
            assert [_numbers(folder / f"{n}.json") for n in range(_RECORDS)] == [
                [n] for n in range(_RECORDS)
            ]
        if disk.calls < at:
            break
    assert at >= 20


async def test_full_disk_tells_the_path_and_the_mend(tmp_path: Path) -> None:
    """The error of a full disk names the file, the reason and what to do, in every call."""
    path = tmp_path / "out.jsonl"
    # Calls: the sink makes the file, looks for others, then writes.
    disk = FaultyDisk(2, error_of(errno.ENOSPC), lasting=True)
    errors: list[StorageFailed] = []

    async def write(sink: JsonLines, number: int) -> None:
        try:
            await sink(Record(number))
        except StorageFailed as error:
            errors.append(error)

    with pytest.raises(StorageFailed, match="ENOSPC"):
        async with JsonLines(path, disk=disk) as sink, anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(write, sink, number)
    disk.forget()
    assert len(errors) == 10
    assert len({id(error) for error in errors}) == 10
    for error in errors:
        assert "out.jsonl" in str(error)
        assert "ENOSPC" in str(error)
        assert "free some space" in str(error)


async def test_table_keeps_its_header_after_a_failed_first_write(tmp_path: Path) -> None:
    """When the write of the first row fails, the next one still comes after the header."""
    path = tmp_path / "out.csv"
    disk = FaultyDisk(2, error_of(errno.ENOSPC), lasting=False)
    async with Csv(path, disk=disk) as sink:
        with pytest.raises(StorageFailed):
            await sink(Record({"n": 1}))
        await sink(Record({"n": 2}))
    assert path.read_text() == "n\n2\n"
    disk.forget()


async def test_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    """After a failed sync nothing more is acknowledged in that run, since nobody knows the disk."""

    class NoSync(FaultyDisk):
        def sync(self, fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        def write(self, fd: int, data: memoryview, offset: int) -> int:
            self.calls += 1
            return super(FaultyDisk, self).write(fd, data, offset)

    disk = NoSync(0, error_of(errno.EIO), lasting=False)
    async with JsonLines(tmp_path / "out", segment=10, disk=disk) as sink:
        with pytest.raises(StorageFailed, match=r"EIO.*disk is failing"):
            await sink(Record(1))
        before = disk.calls
        with pytest.raises(StorageFailed, match="nothing more is written"):
            await sink(Record(2))
        assert disk.calls == before
    disk.forget()


async def test_unpublished_lines_are_kept_and_named(tmp_path: Path) -> None:
    """When publishing fails, the old file stays and the error names the file with the new lines."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")

    class NoReplace(FaultyDisk):
        def replace(self, source: Path, target: Path) -> None:
            raise OSError(errno.EACCES, "Permission denied")

    disk = NoReplace(0, error_of(errno.EIO), lasting=False)
    with pytest.raises(StorageFailed, match=r"the new lines stay in .*\.tmp") as caught:
        async with JsonLines(path, disk=disk) as sink:
            await sink(Record("new"))
    assert path.read_text() == "old\n"
    (kept,) = tmp_path.glob(".out.jsonl.*.tmp")
    assert kept.name in str(caught.value)
    assert kept.read_text() == '"new"\n'
    disk.forget()
