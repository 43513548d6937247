"""Records that a folder of parts holds already."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.records import Record
from genai_pipeline.sinks import Csv, Disk, JsonLines
from genai_pipeline.sinks._keys import Held, Line

from ._disks import FaultyDisk, error_of

pytestmark = pytest.mark.anyio


async def _write(sink: Any, records: Iterable[Record[Any]]) -> None:
    async with sink:
        for record in records:
            await sink(record)


def _records(*numbers: int) -> list[Record[Any]]:
    return [Record({"n": number}, f"key-{number}") for number in numbers]


def _lines(folder: Path) -> list[int]:
    parts = sorted(folder.glob("part-*"))
    return [json.loads(line)["n"] for part in parts for line in part.read_bytes().splitlines()]


async def test_later_run_adds_only_what_is_new(tmp_path: Path) -> None:
    """Running over the same records again leaves the folder as it is, but for new ones."""
    folder = tmp_path / "out"
    await _write(JsonLines(folder, segment=2), _records(1, 2, 3))
    before = sorted(path.name for path in folder.iterdir())
    await _write(JsonLines(folder, segment=2), _records(3, 2, 1))
    assert sorted(path.name for path in folder.iterdir()) == before
    await _write(JsonLines(folder, segment=2), _records(3, 4, 1))
    assert _lines(folder) == [1, 2, 3, 4]


async def test_same_key_with_other_content_is_another_line(tmp_path: Path) -> None:
    """A record that came out otherwise is written, beside what it was before."""
    folder = tmp_path / "out"
    await _write(JsonLines(folder, segment=10), [Record({"n": 1}, "key")])
    await _write(JsonLines(folder, segment=10), [Record({"n": 2}, "key"), Record({"n": 1}, "key")])
    assert _lines(folder) == [1, 2]
    one, two = (path.read_bytes() for path in sorted(folder.glob(".part-*.keys")))
    assert (len(one), len(two)) == (40, 40)
    assert one[:16] == two[:16], "the key is the same"
    assert one[16:32] != two[16:32]


async def test_same_content_under_other_keys_is_all_there(tmp_path: Path) -> None:
    """Equal values of different records, and of records without a key, are no repeats."""
    folder = tmp_path / "out"
    keys = ("a", "b", "", "", "a/0")
    for _ in range(2):
        await _write(JsonLines(folder, segment=10), [Record({"n": 1}, key) for key in keys])
    assert _lines(folder) == [1] * (5 + 2)


@pytest.mark.parametrize("segment", [None, 10])
async def test_repeat_writes_nothing(tmp_path: Path, segment: int | None) -> None:
    """A record that is there costs no call to the disk."""
    disk = FaultyDisk(0, error_of(errno.EIO), lasting=False)
    async with JsonLines(tmp_path / "out", segment=segment, disk=disk) as sink:
        (record,) = _records(1)
        await sink(record)
        before = disk.calls
        await sink(record)
        assert disk.calls == before
    disk.forget()


async def test_rows_are_told_apart_too(tmp_path: Path) -> None:
    """The header of a table is nobody's, and repeated rows are passed by in every part."""
    folder = tmp_path / "out"
    for _ in range(2):
        await _write(Csv(folder, segment=2), _records(1, 2, 3))
    parts = [part.read_text() for part in sorted(folder.glob("part-*"))]
    assert parts == ["n\n1\n2\n", "n\n3\n"]


async def test_folder_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """Parts without keys, and an open segment without them, are kept; new parts have keys."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "part-000001.jsonl").write_text('{"n": 1}\n')
    (folder / ".open.jsonl.tmp").write_text('{"n": 2}\n{"n":')
    await _write(JsonLines(folder, segment=10), _records(3))
    await _write(JsonLines(folder, segment=10), _records(3))
    assert _lines(folder) == [1, 2, 3]
    assert [path.name for path in folder.glob(".part*")] == [".part-000003.jsonl.keys"]


async def test_part_that_was_removed_is_forgotten(tmp_path: Path) -> None:
    """Whoever removes a part can have its records written again."""
    folder = tmp_path / "out"
    await _write(JsonLines(folder, segment=1), _records(1, 2))
    (folder / "part-000002.jsonl").unlink()
    await _write(JsonLines(folder, segment=1), _records(1, 2))
    assert _lines(folder) == [1, 2]


def _left(folder: Path, lines: list[Line], *, torn: bytes = b"") -> tuple[Path, Path]:
    folder.mkdir()
    (folder / ".open.jsonl.tmp").write_bytes(b"".join(line.data for line in lines) + torn)
    (folder / ".open.jsonl.keys.tmp").write_bytes(b"".join(bytes(line.entry) for line in lines))
    return folder / ".open.jsonl.tmp", folder / ".open.jsonl.keys.tmp"


def _as_lines(*numbers: int) -> list[Line]:
    return [
        Line.of(record.key, f"{json.dumps(record.value)}\n".encode())
        for record in _records(*numbers)
    ]


async def test_line_without_its_key_was_never_acknowledged(tmp_path: Path) -> None:
    """What a killed process had half done is cut, and written by the next run: once."""
    for name, torn in (("torn", b'{"n": 3'), ("whole", b'{"n": 3}\n'), ("lost", b"\0" * 9)):
        folder = tmp_path / name
        _left(folder, _as_lines(1, 2), torn=torn)
        await _write(JsonLines(folder, segment=10), _records(1, 2, 3))
        assert _lines(folder) == [1, 2, 3]


async def test_key_without_its_line_was_never_acknowledged(tmp_path: Path) -> None:
    """A key whose line was not written, or was lost, is no sign that the line is there."""
    for cut in (1, 9, 12):
        folder = tmp_path / f"{cut}"
        lines, _ = _left(folder, _as_lines(1, 2, 3))
        os.truncate(lines, lines.stat().st_size - cut)
        await _write(JsonLines(folder, segment=10), _records(1, 2, 3))
        assert _lines(folder) == [1, 2, 3]


@pytest.mark.parametrize("links", [True, False])
async def test_keys_find_the_part_they_are_of(tmp_path: Path, links: bool) -> None:
    """A process that died between naming a part and its keys leaves a part that is known."""
    folder = tmp_path / "out"
    lines, _ = _left(folder, _as_lines(1, 2))
    if links:
        os.link(lines, folder / "part-000004.jsonl")
    else:
        lines.rename(folder / "part-000004.jsonl")
    (folder / "part-000007.jsonl").write_text("x" * (folder / "part-000004.jsonl").stat().st_size)
    (folder / "part-000008.jsonl").write_text("another\n")
    await _write(JsonLines(folder, segment=10), _records(2, 1))
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        ".part-000004.jsonl.keys",
        *(f"part-00000{number}.jsonl" for number in (4, 7, 8)),
    ]


async def test_file_system_without_links_tells_repeats_too(tmp_path: Path) -> None:
    """Where parts are renamed, keys go with them."""

    class NoLinks(Disk):
        def publish(self, source: Path, target: Path) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

    for _ in range(2):
        await _write(JsonLines(tmp_path / "out", segment=2, disk=NoLinks()), _records(1, 2, 3))
    assert _lines(tmp_path / "out") == [1, 2, 3]


@given(st.lists(st.lists(st.tuples(st.text(max_size=2), st.binary(max_size=2)))))
def test_held_is_a_set(batches: list[list[tuple[str, bytes]]]) -> None:
    """What is new is what was not added, each once, except that no key is never known."""
    held, model = Held(), set[tuple[str, bytes]]()
    for batch in batches:
        lines = [Line.of(key, data) for key, data in batch]
        expected: list[tuple[str, bytes]] = []
        for key, data in batch:
            if not key or ((key, data) not in model and (key, data) not in expected):
                expected.append((key, data))
        new = held.new(lines)
        assert new == [Line.of(key, data) for key, data in expected]
        held.add(line.entry for line in new)
        model |= {(key, data) for key, data in expected if key}
        assert len(held) == len(model)


def test_held_grows() -> None:
    """Many lines are all known, and cost no more than 48 bytes each."""
    held = Held()
    lines = [Line.of(f"{number}", b"x") for number in range(20_000)]
    for line in lines:
        held.add([line.entry])
    assert len(held) == 20_000
    assert held.new(lines) == []
    others = [Line.of(f"{number}", b"y") for number in range(20_000)]
    assert held.new(others) == others
    assert len(held._words) * 8 <= 48 * 20_000
