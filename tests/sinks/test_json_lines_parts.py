"""JsonLines into a folder of parts."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import Csv, Disk, JsonLines

pytestmark = pytest.mark.anyio


async def _write(sink: JsonLines, *values: object) -> None:
    async with sink:
        for value in values:
            await sink(Record(value))


def _parts(folder: Path) -> dict[str, list[object]]:
    return {
        part.name: [json.loads(line) for line in part.read_bytes().splitlines()]
        for part in sorted(folder.glob("part-*"))
    }


async def test_each_part_has_its_records(tmp_path: Path) -> None:
    """Full parts hold *segment* records, the last one what is left, and runs add parts."""
    await _write(JsonLines(tmp_path / "out", segment=2), 1, 2, 3)
    await _write(JsonLines(tmp_path / "out", segment=2), 4, 5)
    assert _parts(tmp_path / "out") == {
        "part-000001.jsonl": [1, 2],
        "part-000002.jsonl": [3],
        "part-000003.jsonl": [4, 5],
    }


async def test_line_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    """Before a call returns, its line was synced."""
    synced: list[int] = []

    class Watched(Disk):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            synced.append(os.fstat(fd).st_size)

    async with JsonLines(tmp_path / "out", segment=10, disk=Watched()) as sink:
        for number in range(3):
            await sink(Record(number))
            assert synced[-1] == 2 * (number + 1)


async def test_full_part_is_readable_during_the_run(tmp_path: Path) -> None:
    """A part is published as soon as it is full, and private no longer."""
    before = os.umask(0o022)
    try:
        async with JsonLines(tmp_path / "out", segment=2) as sink:
            for number in range(3):
                await sink(Record(number))
            assert _parts(tmp_path / "out") == {"part-000001.jsonl": [0, 1]}
            part = tmp_path / "out" / "part-000001.jsonl"
            assert stat.S_IMODE(part.stat().st_mode) == 0o644
    finally:
        os.umask(before)


async def test_group_that_is_larger_than_a_part_is_spread(tmp_path: Path) -> None:
    """One record to a part, and parts that exist already, are no trouble."""
    await _write(JsonLines(tmp_path / "out", segment=1), *range(5))
    assert list(_parts(tmp_path / "out").values()) == [[0], [1], [2], [3], [4]]


async def test_torn_line_of_a_killed_run_is_cut_off(tmp_path: Path) -> None:
    """What a killed run left is published without its torn last line."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.jsonl.tmp").write_bytes(b'1\n2\n{"half": ')
    await _write(JsonLines(folder, segment=10), 3)
    assert _parts(folder) == {"part-000001.jsonl": [1, 2], "part-000002.jsonl": [3]}


async def test_bytes_a_power_cut_lost_are_cut_off(tmp_path: Path) -> None:
    """Zeros where data was on its way end the whole lines, even with lines after them."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.jsonl.tmp").write_bytes(b"1\n" + b"\0" * 100 + b"\n2\n")
    await _write(JsonLines(folder, segment=10))
    assert _parts(folder) == {"part-000001.jsonl": [1]}


async def test_nothing_whole_leaves_no_part(tmp_path: Path) -> None:
    """A killed run without a whole line leaves no part."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.jsonl.tmp").write_bytes(b'{"half": ')
    await _write(JsonLines(folder, segment=10))
    assert [each.name for each in folder.iterdir()] == [".lock"]


async def test_part_that_got_its_number_is_not_doubled(tmp_path: Path) -> None:
    """A run that was killed right after it published a part leaves it there once."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.jsonl.tmp").write_bytes(b"1\n2\n")
    os.link(folder / ".open.jsonl.tmp", folder / "part-000001.jsonl")
    await _write(JsonLines(folder, segment=10))
    assert _parts(folder) == {"part-000001.jsonl": [1, 2]}


async def test_finished_parts_are_never_touched(tmp_path: Path) -> None:
    """Later runs leave earlier parts alone, also when numbers are missing."""
    folder = tmp_path / "out"
    folder.mkdir()
    for number in (3, 41):
        (folder / f"part-{number:06d}.jsonl").write_text(f"{number}\n")
    await _write(JsonLines(folder, segment=1), 1, 2)
    assert _parts(folder) == {
        "part-000003.jsonl": [3],
        "part-000041.jsonl": [41],
        "part-000042.jsonl": [1],
        "part-000043.jsonl": [2],
    }


async def test_name_that_somebody_takes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """A part that appears during the run keeps its content; ours takes the next number."""
    folder = tmp_path / "out"
    async with JsonLines(folder, segment=10) as sink:
        await sink(Record(1))
        (folder / "part-000001.jsonl").write_text('"theirs"\n')
    assert _parts(folder) == {"part-000001.jsonl": ["theirs"], "part-000002.jsonl": [1]}


async def test_file_system_without_links_will_do(tmp_path: Path) -> None:
    """Where there are no hard links, parts are renamed, and no name is overwritten either."""

    class NoLinks(Disk):
        def publish(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

    folder = tmp_path / "out"
    async with JsonLines(folder, segment=10, disk=NoLinks()) as sink:
        await sink(Record(1))
        (folder / "part-000001.jsonl").write_text('"theirs"\n')
    await _write(JsonLines(folder, segment=1, disk=NoLinks()), 2, 3)
    assert list(_parts(folder).values()) == [["theirs"], [1], [2], [3]]


async def test_second_writer_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    """A folder has one writer; the second learns the process of the first."""
    folder = tmp_path / "out"
    async with JsonLines(folder, segment=10) as sink:
        await sink(Record(1))
        with pytest.raises(
            ConfigurationError, match=f"is being written by process {os.getpid()} on"
        ):
            await _write(JsonLines(folder, segment=10), 2)
        await sink(Record(3))
    assert _parts(folder) == {"part-000001.jsonl": [1, 3]}


async def test_table_and_lines_share_a_folder_in_turn(tmp_path: Path) -> None:
    """A killed Csv's leftovers are not taken for JSON Lines."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.csv.tmp").write_bytes(b'a,b\n1,"two\nlines"\n2,"torn\n')
    await _write(JsonLines(folder, segment=10), 1)
    assert list(_parts(folder).values()) == [[1]]
    async with Csv(folder, segment=10):
        pass
    assert (folder / "part-000002.csv").read_bytes() == b'a,b\n1,"two\nlines"\n'


async def test_header_alone_is_no_part(tmp_path: Path) -> None:
    """A killed Csv that had written its header only leaves no part."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".open.csv.tmp").write_bytes(b"a,b\n1,")
    async with Csv(folder, segment=10):
        pass
    assert [each.name for each in folder.iterdir()] == [".lock"]


async def test_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    """A path that is a file cannot be a folder of parts, and is left alone."""
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    with pytest.raises(ConfigurationError, match="is a file; segment= writes parts into a folder"):
        await _write(JsonLines(path, segment=10))
    assert path.read_text() == "precious\n"


async def test_leftover_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the place of the open segment is refused, its target untouched."""
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "precious").write_text("half a line")
    (folder / ".open.jsonl.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageFailed, match="ELOOP"):
        await _write(JsonLines(folder, segment=10))
    assert (tmp_path / "precious").read_text() == "half a line"
