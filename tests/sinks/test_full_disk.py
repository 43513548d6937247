"""A disk that is really full."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.errors import StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import JsonLines

pytestmark = pytest.mark.anyio

_LINE = "x" * 10_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 256 KiB, which only the superuser may."""
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs the superuser; failing disks are faked elsewhere")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def _fill(sink: JsonLines) -> int:
    for number in range(100):
        try:
            await sink(Record([number, _LINE]))
        except StorageFailed as error:
            assert "ENOSPC" in str(error) or "EFBIG" in str(error)
            return number
    raise AssertionError("the disk never filled")


def _numbers(*paths: Path) -> list[int]:
    return [json.loads(line)[0] for path in paths for line in path.read_bytes().splitlines()]


async def test_file_on_a_full_disk_stays_whole(small_disk: Path) -> None:
    """What fitted is published whole, and a record fits again after space was freed."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(50_000))
    async with JsonLines(small_disk / "out.jsonl") as sink:
        written = await _fill(sink)
        ballast.unlink()
        await sink(Record([written, "fits again"]))
    assert _numbers(small_disk / "out.jsonl") == [*range(written + 1)]
    assert written > 5


async def test_parts_on_a_full_disk_stay_whole(small_disk: Path) -> None:
    """Every acknowledged line is in a part, each once, though the disk filled in the middle."""
    async with JsonLines(small_disk / "out", segment=4) as sink:
        written = await _fill(sink)
    assert _numbers(*sorted((small_disk / "out").glob("part-*"))) == [*range(written)]
    assert written > 5


async def test_limit_on_file_size_is_told(tmp_path: Path) -> None:
    """A file that may not grow further is a StorageFailed, and what fitted is published whole."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        async with JsonLines(tmp_path / "out.jsonl") as sink:
            written = await _fill(sink)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert _numbers(tmp_path / "out.jsonl") == [*range(written)]
    assert written == 9
