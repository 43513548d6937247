"""JsonLines into one file that is replaced."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks import JsonLines

pytestmark = pytest.mark.anyio


async def _write(sink: JsonLines, *values: object) -> None:
    async with sink:
        for value in values:
            await sink(Record(value))


async def test_second_run_replaces_the_lines(tmp_path: Path) -> None:
    """A second run with the same output has its own lines only, not both."""
    path = tmp_path / "out.jsonl"
    await _write(JsonLines(path), 1, 2, 3)
    await _write(JsonLines(path), 4)
    assert path.read_text() == "4\n"


async def test_readers_see_the_old_lines_until_the_end(tmp_path: Path) -> None:
    """While a run writes, the file has what it had before."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    async with JsonLines(path) as sink:
        await sink(Record("new"))
        assert path.read_text() == "old\n"
    assert path.read_text() == '"new"\n'


async def test_run_that_fails_before_it_writes_leaves_the_old_file(tmp_path: Path) -> None:
    """Nothing written and an error: the old file stays, and no temporary one."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with pytest.raises(ZeroDivisionError):
        async with JsonLines(path):
            raise ZeroDivisionError
    assert path.read_text() == "old\n"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


async def test_empty_run_makes_an_empty_file(tmp_path: Path) -> None:
    """A run over an empty input replaces the file by an empty one."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    await _write(JsonLines(path))
    assert path.read_bytes() == b""


async def test_new_file_is_private_until_it_is_published(tmp_path: Path) -> None:
    """The temporary file is for its owner alone; the published one has what the umask allows."""
    path = tmp_path / "out.jsonl"
    before = os.umask(0o027)
    try:
        async with JsonLines(path) as sink:
            await sink(Record(1))
            (temporary,) = tmp_path.iterdir()
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_permissions_of_the_old_file_are_kept(tmp_path: Path) -> None:
    """A file that was made private or group-writable is so after it was replaced."""
    path = tmp_path / "out.jsonl"
    path.touch()
    for mode in (0o600, 0o664):
        path.chmod(mode)
        await _write(JsonLines(path), 1)
        assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_link_keeps_pointing_to_the_new_file(tmp_path: Path) -> None:
    """A symbolic link stays one; the file it points to is replaced."""
    (tmp_path / "data").mkdir()
    link = tmp_path / "latest.jsonl"
    link.symlink_to(tmp_path / "data" / "out.jsonl")
    await _write(JsonLines(link), 1)
    assert link.is_symlink()
    assert (tmp_path / "data" / "out.jsonl").read_text() == "1\n"


async def test_leftovers_of_killed_runs_are_removed(tmp_path: Path) -> None:
    """A temporary file of the same name that nobody holds goes at the next run; no other file."""
    stale = tmp_path / f".out.jsonl.{'0' * 16}.tmp"
    others = [tmp_path / f".other.jsonl.{'0' * 16}.tmp", tmp_path / ".out.jsonl.mine.tmp"]
    for each in (stale, *others):
        each.write_text("half a li")
    await _write(JsonLines(tmp_path / "out.jsonl"), 1)
    assert not stale.exists()
    assert all(each.exists() for each in others)


async def test_two_runs_into_one_file_are_refused(tmp_path: Path) -> None:
    """While one run writes a file, a second is refused before it starts, and harms nothing."""
    path = tmp_path / "out.jsonl"
    async with JsonLines(path) as sink:
        await sink(Record("first"))
        with pytest.raises(ConfigurationError, match=r"out\.jsonl is being written by another"):
            await _write(JsonLines(path), "second")
    assert path.read_text() == '"first"\n'
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


async def test_temporary_file_swept_up_before_it_was_locked_is_made_again(tmp_path: Path) -> None:
    """A run whose fresh file another one takes for a leftover makes itself a new one."""
    path = tmp_path / "out.jsonl"
    lock = fcntl.flock
    swept: list[Path] = []

    def sweep_first(fd: int, operation: int) -> None:
        if not swept and operation & fcntl.LOCK_EX:
            (temporary,) = tmp_path.iterdir()
            temporary.unlink()
            swept.append(temporary)
        lock(fd, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", sweep_first)
        await _write(JsonLines(path), 1)
    assert swept
    assert path.read_text() == "1\n"


async def test_missing_directory_is_told_before_the_run(tmp_path: Path) -> None:
    """A path in a directory that is not there fails at entering, with both ways to mend it."""
    with pytest.raises(ConfigurationError, match=r"nowhere does not exist; .*make_dirs=True"):
        await _write(JsonLines(tmp_path / "nowhere" / "out.jsonl"))


async def test_missing_directories_are_made_when_asked(tmp_path: Path) -> None:
    """make_dirs=True makes all directories above the file."""
    path = tmp_path / "a" / "b" / "out.jsonl"
    await _write(JsonLines(path, make_dirs=True), 1)
    assert path.read_text() == "1\n"


@pytest.mark.parametrize("kind", ["directory", "pipe", "file above"])
async def test_what_cannot_be_replaced_is_told_before_the_run(tmp_path: Path, kind: str) -> None:
    """A directory, a named pipe, or a path below a file is refused at entering, by its name."""
    path = tmp_path / "out"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.touch()
        path = path / "below.jsonl"
    with pytest.raises(ConfigurationError, match=str(tmp_path / "out")):
        await _write(JsonLines(path), 1)


async def test_write_protected_file_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that its owner protected is refused at entering, though a rename would go through."""
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anything
    with pytest.raises(ConfigurationError, match="write-protected"):
        await _write(JsonLines(path), 1)
    assert path.read_text() == "precious\n"


async def test_name_that_is_too_long_is_told_before_the_run(tmp_path: Path) -> None:
    """What the file system refuses is a StorageFailed that names the reason."""
    with pytest.raises(StorageFailed, match="ENAMETOOLONG"):
        await _write(JsonLines(tmp_path / ("x" * 300)))


@pytest.mark.parametrize("path", ["", "a\0b", 3, None, b"bytes"])
def test_path_that_is_none_is_refused_when_built(path: object) -> None:
    """A path that can name no file is a ConfigurationError when the sink is built."""
    with pytest.raises(ConfigurationError, match="path="):
        JsonLines(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"), [("segment", 0), ("segment", "many"), ("timeout", 0), ("timeout", "x")]
)
def test_option_out_of_range_is_refused_when_built(option: str, value: object) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=f"{option}="):
        JsonLines("out.jsonl", **{option: value})  # type: ignore[arg-type]


async def test_publication_finishes_although_cancelled(tmp_path: Path) -> None:
    """A sink that is left in a cancelled scope publishes its lines all the same."""
    path = tmp_path / "out.jsonl"
    with anyio.CancelScope() as scope:
        async with JsonLines(path) as sink:
            await sink(Record(2))
            scope.cancel()
    assert path.read_text() == "2\n"
