"""Files."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genai_pipeline.errors import ConfigurationError, DataError, StorageFailed
from genai_pipeline.records import DeadLetter, Record
from genai_pipeline.sinks import Disk, Files
from genai_pipeline.sinks._file_name import file_name

pytestmark = pytest.mark.anyio


async def _write(sink: Files, *records: Record[Any]) -> None:
    async with sink:
        for record in records:
            await sink(record)


def _content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != ".lock"}


async def test_each_value_in_the_file_of_its_key(tmp_path: Path) -> None:
    """Bytes and text stand as they are, all else as JSON, each under its key."""
    records = [Record(b"\x00\xff", "a"), Record("é\n", "b-1"), Record({"n": 1}, "c_2")]
    await _write(Files(tmp_path / "out", suffix=".txt"), *records)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    del found[".lock"]
    assert found == {"a.txt": b"\x00\xff", "b-1.txt": "é\n".encode(), "c_2.txt": b'{"n": 1}\n'}


_HOSTILE = [
    "..", ".", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "nul", "CON", "com1",
    "\0", "a\0b", "", " ", "-rf", "~", "a~b", ".hidden", "x" * 5000, "é" * 300, "\ud800",
    "\u202egnp.exe", "a.json", "a\nb", ".lock", "A", "a", "İ", "ß", "ẞ",
]  # fmt: skip


@given(st.lists(st.text(st.characters(), max_size=300) | st.sampled_from(_HOSTILE), unique=True))
@example(_HOSTILE)
def test_names_are_safe_short_and_no_two_alike(keys: list[str]) -> None:
    """Whatever a key holds, its name is one plain name, and differs from that of any other."""
    names = [file_name(key, ".jsonl.abcdefghijklmno.abcdefghijklmno") for key in keys]
    for name in names:
        assert 0 < len(name.encode()) <= 200
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-~.")
        assert name[0] not in ".-"
        assert Path(name).name == name
        assert name.partition(".")[0] not in {"con", "prn", "aux", "nul", "com1", "lpt1"}
    assert len({name.casefold() for name in names}) == len(set(keys))


@given(st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,99}", fullmatch=True))
def test_plain_keys_are_names_as_they_are(key: str) -> None:
    """A key of small letters and digits can be found by its name."""
    name = file_name(key, ".json")
    reserved = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}
    assert (name == f"{key}.json") is (key not in reserved)
    assert name == file_name(key, ".json")


async def test_hostile_keys_stay_in_the_folder(tmp_path: Path) -> None:
    """Each hostile key has a file of its own, all of them in the folder."""
    keys = [key for key in _HOSTILE if key]
    await _write(Files(tmp_path / "out"), *(Record([key], key) for key in keys))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    found = [json.loads(text)[0] for text in _content(tmp_path / "out").values()]
    assert sorted(found) == sorted(keys)


async def test_name_is_chosen_by_a_function_and_made_safe(tmp_path: Path) -> None:
    """name= gives the text of the name; what a model wrote there names no other place."""
    sink = Files(tmp_path / "out", name=lambda record: record.value["title"])
    await _write(sink, Record({"title": "ok"}, "1"), Record({"title": "../../up"}, "2"))
    first, second = sorted(_content(tmp_path / "out"))
    assert first == "ok.json"
    assert second.startswith("up~")
    assert sink.name_of(Record({"title": "ok"})) == "ok.json"


async def test_record_without_a_name_is_refused_alone(tmp_path: Path) -> None:
    """A record without a key, or a name, is a DataError; others are written."""
    async with Files(tmp_path / "a") as sink:
        with pytest.raises(DataError, match="has no key"):
            await sink(Record(1))
        await sink(Record(2, "b"))
    assert list(_content(tmp_path / "a")) == ["b.json"]
    nameless: Any = lambda record: record.value  # noqa: E731
    async with Files(tmp_path / "b", name=nameless) as sink:
        for value in (None, ""):
            with pytest.raises(DataError, match=f"name= gives {value!r}"):
                await sink(Record(value, "k"))
        with pytest.raises(DataError, match="no Unicode"):
            await sink(Record("\ud800", "k"))


async def test_what_is_there_is_replaced_kept_or_refused(tmp_path: Path) -> None:
    """on_existing= decides about another file of that name; the same bytes are always fine."""
    folder = tmp_path / "out"
    await _write(Files(folder), Record("old", "k"))
    await _write(Files(folder, on_existing="keep"), Record("new", "k"))
    assert _content(folder) == {"k.json": "old"}
    async with Files(folder, on_existing="refuse") as sink, anyio.create_task_group() as group:
        group.start_soon(sink, Record("old", "k"))
        group.start_soon(sink, Record("beside", "other"))
        for different in ("new", "older", "ol", ""):
            with pytest.raises(DataError, match=r"k\.json is there already.*on_existing="):
                await sink(Record(different, "k"))
    assert _content(folder) == {"k.json": "old", "other.json": "beside"}
    await _write(Files(folder), Record("new", "k"))
    assert _content(folder) == {"k.json": "new", "other.json": "beside"}


@pytest.mark.parametrize("links", [True, False])
async def test_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path, links: bool) -> None:
    """A file that another program makes while ours is written stays, with hard links or without."""
    folder = tmp_path / "out"

    class Raced(Disk):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            (folder / "k.json").write_text("theirs")

        def publish(self, source: Path, target: Path) -> None:
            if not links:
                raise OSError(errno.EPERM, "Operation not permitted")
            super().publish(source, target)

    await _write(Files(folder, on_existing="keep", disk=Raced()), Record("ours", "k"))
    assert _content(folder) == {"k.json": "theirs"}


async def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A symbolic link in the place of a file is replaced, kept or refused; its target is safe."""
    folder, precious = tmp_path / "out", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("precious")
    (folder / "k.json").symlink_to(precious)
    await _write(Files(folder, on_existing="keep"), Record("new", "k"))
    async with Files(folder, on_existing="refuse") as sink:
        with pytest.raises(StorageFailed, match="ELOOP"):
            await sink(Record("new", "k"))
    assert (folder / "k.json").is_symlink()
    await _write(Files(folder), Record("new", "k"))
    assert not (folder / "k.json").is_symlink()
    assert precious.read_text() == "precious"


async def test_file_is_private_until_it_is_whole(tmp_path: Path) -> None:
    """While it is written, a file has another name and is the owner's; then the umask decides."""
    modes: list[int] = []

    class Watched(Disk):
        def write(self, fd: int, data: memoryview, offset: int) -> int:
            modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
            return super().write(fd, data, offset)

    before = os.umask(0o022)
    try:
        await _write(Files(tmp_path / "out", disk=Watched()), Record("x", "k"))
    finally:
        os.umask(before)
    assert modes[-1] == 0o600
    assert stat.S_IMODE((tmp_path / "out" / "k.json").stat().st_mode) == 0o644


async def test_folder_is_synced_once_for_many(tmp_path: Path) -> None:
    """What concurrent calls write shares the sync of the folder; each file is synced before."""
    calls: list[str] = []

    class Counting(Disk):
        def sync(self, fd: int) -> None:
            super().sync(fd)
            calls.append("file")

        def sync_folder(self, folder: Path) -> None:
            super().sync_folder(folder)
            calls.append("folder")

    sink = Files(tmp_path / "out", disk=Counting())
    async with sink, anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(sink, Record(number, f"{number}"))
    assert calls.count("file") == 50
    assert calls.count("folder") <= 3
    assert calls[-1] == "folder"


async def test_half_written_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    """The next run removes temporary files, and nothing else."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".0123456789abcdef.tmp").write_text("half")
    (folder / "mine.tmp").write_text("mine")
    await _write(Files(folder))
    assert _content(folder) == {"mine.tmp": "mine"}


async def test_folder_has_one_writer(tmp_path: Path) -> None:
    """A second run on the folder is refused, and so is a file in its place."""
    async with Files(tmp_path / "out"):
        with pytest.raises(ConfigurationError, match=f"written by process {os.getpid()}"):
            await _write(Files(tmp_path / "out"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is a file; files are written into a folder"):
        await _write(Files(tmp_path / "file"))


async def test_dead_letters_are_replaced(tmp_path: Path) -> None:
    """A dead letter that is written again, with another time, leaves the one file."""
    from datetime import UTC, datetime

    def letter(minute: int) -> DeadLetter:
        at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
        return DeadLetter(
            key="k", payload=object(), error="E", category="data", message="m", stage="s",
            attempts=1, read_at=at, failed_at=at, trace="",
        )  # fmt: skip

    for minute in (1, 2):
        await _write(Files(tmp_path / "out"), Record(letter(minute), "k"))
    assert list(_content(tmp_path / "out")) == ["k.json"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("suffix", "json"),
        ("suffix", ".JSON"),
        ("suffix", "/x"),
        ("suffix", ".."),
        ("suffix", None),
        ("name", "title"),
        ("on_existing", "ask"),
        ("folder", "a\0b"),
        ("folder", 3),
    ],
)
def test_option_out_of_range_is_refused_when_built(option: str, value: object) -> None:
    """A wrong option is a ConfigurationError that names it."""
    options: Any = {"folder": "out", option: value}
    with pytest.raises(ConfigurationError, match=f"Files: {option}="):
        Files(**options)
