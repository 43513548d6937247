"""Which files a path stands for, and which things are never opened."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.sources import Csv, JsonLines, TextFiles
from tests.sources.reading import errors, keys, read, values

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("in/*.txt", ["a.txt", "c.txt"]),
        ("in/**/*.txt", ["a.txt", "c.txt", "d/a.txt", "d/e/f.txt"]),
        ("in/**", ["a.txt", "b.md", "c.txt", "d/a.txt", "d/e/f.txt"]),
        ("in/*/*.txt", ["d/a.txt"]),
        ("in/**/e/*", ["d/e/f.txt"]),
        ("in/[ab].*", ["a.txt", "b.md"]),
        ("in/?.md", ["b.md"]),
        ("in/.*", [".hidden"]),
        ("in/.git/*", ["x.txt"]),
        ("i*/.git/*", ["in/.git/x.txt"]),
        ("*/b.md", ["in/b.md"]),
        ("./in/d/*.txt", ["a.txt"]),
    ],
)
async def test_globs(pattern: str, found: list[str]) -> None:
    """A glob gives what matches, sorted, keyed below its folder; a dot is matched by a dot."""
    _write("in/c.txt", "in/a.txt", "in/b.md", "in/d/a.txt", "in/d/e/f.txt")
    _write("in/.hidden", "in/.git/x.txt")
    assert keys(await read(TextFiles(pattern))) == found


async def test_an_absolute_glob() -> None:
    """A glob that begins at the root of the file system is as good."""
    _write("in/a.txt")
    assert keys(await read(TextFiles(Path.cwd() / "*" / "a.txt"))) == ["in/a.txt"]


async def test_a_folder_is_read_for_its_own_kind_of_files() -> None:
    """JsonLines and Csv take from a folder what their suffixes name, at any depth."""
    for name in ("a.jsonl", "d/b.NDJSON", "c.csv", "t.tsv", "readme.md", ".d.jsonl"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).write_text("1\n2\n")
    assert keys(await read(JsonLines("in"))) == [
        "a.jsonl:1",
        "a.jsonl:2",
        "d/b.NDJSON:1",
        "d/b.NDJSON:2",
    ]
    assert keys(await read(Csv("in"))) == ["c.csv:2"]
    assert keys(await read(Csv("in", delimiter="\t"))) == ["t.tsv:2"]


async def test_several_paths_keep_their_order_and_each_file_comes_once() -> None:
    """Keys then begin with the paths as written, and what is named twice is read once."""
    _write("b/x.txt", "a/x.txt", "a/y.txt")
    source = TextFiles(["b", "./a/y.txt", Path("a/*.txt"), Path.cwd() / "a" / "x.txt"])
    assert keys(await read(source)) == ["b/x.txt", "a/y.txt", "a/x.txt"]


async def test_signs_of_a_glob_in_the_name_of_a_file() -> None:
    """A path that exists is meant literally."""
    _write("a[1].txt", "a1.txt")
    assert values(await read(TextFiles("a[1].txt"))) == ["a[1].txt"]


@pytest.mark.parametrize("given", ["missing.txt", ["here.txt", "missing.txt"]])
async def test_a_missing_path_is_an_error_before_anything_is_read(given: Any) -> None:
    """The error names the path and the current directory."""
    _write("here.txt")
    with pytest.raises(ConfigurationError) as caught:
        await anext(aiter(TextFiles(given)))
    assert "TextFiles: 'missing.txt' does not exist (current directory " in str(caught.value)
    assert os.getcwd() in str(caught.value)


@pytest.mark.parametrize("path", ["*.jsonl", "no/such/*.jsonl", "empty", "empty/**"])
async def test_nothing_found_is_an_error_unless_allowed(path: str) -> None:
    """A glob or folder without a file is probably a mistake; allow_empty= accepts it."""
    _write("empty/readme.md") if path == "empty" else Path("empty").mkdir()
    with pytest.raises(ConfigurationError, match="allow_empty=True accepts that"):
        await read(JsonLines(path))
    assert await read(JsonLines(path, allow_empty=True)) == []


@pytest.mark.parametrize("given", ["", [], 7, None, [""], b"a", [None]])
def test_what_is_no_path_is_refused(given: Any) -> None:
    """An empty path or another type is refused when the source is built."""
    with pytest.raises(ConfigurationError, match="give a path, or a list of paths"):
        TextFiles(given)


async def test_a_path_that_cannot_exist_is_refused() -> None:
    """A zero byte or an endless name is told like any other missing path."""
    for path in ("a\0b", "x" * 5000):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await read(TextFiles(path))


async def test_symbolic_links_in_folders_are_reported_not_followed() -> None:
    """A link to a file or folder is one error each; what it leads to is not read."""
    _write("secret/x.txt", "in/a.txt")
    Path("in/file.txt").symlink_to(Path("secret/x.txt").absolute())
    Path("in/folder").symlink_to(Path("secret").absolute())
    Path("in/unrelated.md").symlink_to("nowhere")
    deliveries = await read(TextFiles("in/**/*.txt"))
    assert values(deliveries) == ["in/a.txt"]
    assert [error.origin for error in errors(deliveries)] == ["in/file.txt", "in/folder"]
    assert all("follow_symlinks=True" in str(error) for error in errors(deliveries))


async def test_symbolic_links_are_followed_on_request_but_not_in_circles() -> None:
    """With follow_symlinks= links are read, and one that leads round ends."""
    _write("other/x.txt", "in/d/a.txt")
    Path("in/d/up").symlink_to(Path("in").absolute())
    Path("in/folder").symlink_to(Path("other").absolute())
    Path("in/gone").symlink_to("nowhere")
    deliveries = await read(TextFiles("in", follow_symlinks=True))
    assert "folder/x.txt" in keys(deliveries)
    assert "d/a.txt" in keys(deliveries)
    assert len(deliveries) < 10
    assert "leads to nothing" in str(errors(deliveries)[-1])


async def test_a_link_that_is_named_is_followed() -> None:
    """The user who writes the path of a link means what it leads to."""
    _write("other/x.txt")
    Path("link.txt").symlink_to("other/x.txt")
    Path("folder").symlink_to("other")
    assert values(await read(TextFiles("link.txt"))) == ["other/x.txt"]
    assert keys(await read(TextFiles("folder"))) == ["x.txt"]
    assert keys(await read(TextFiles("folder/*"))) == ["x.txt"]


async def test_what_is_no_regular_file_is_never_opened() -> None:
    """A FIFO would hold the reader for ever; in a folder it is an error, named it is refused."""
    _write("in/a.jsonl")
    os.mkfifo("in/fifo.jsonl")
    Path("in/folder.jsonl").mkdir()
    deliveries = await read(JsonLines("in/*.jsonl"))
    assert [str(error) for error in errors(deliveries)[1:]] == [
        "in/fifo.jsonl: is not a regular file; nothing else is ever opened",
        "in/folder.jsonl: is a folder, not a file; to read what is in it, name it",
    ]
    with pytest.raises(ConfigurationError, match="neither a regular file nor a folder"):
        await read(JsonLines("in/fifo.jsonl"))
    with pytest.raises(ConfigurationError, match="neither a regular file nor a folder"):
        await read(JsonLines("/dev/null"))


async def test_a_file_exchanged_for_something_else_is_noticed() -> None:
    """Between finding and opening, a file may go, or become a link or a FIFO."""
    _write("in/a", "in/b", "in/c", "in/d")
    deliveries = aiter(TextFiles("in"))
    first = await anext(deliveries)
    Path("in/b").unlink()
    Path("in/c").unlink()
    Path("in/c").symlink_to("d")
    Path("in/d").unlink()
    os.mkfifo("in/d")
    rest = [each async for each in deliveries]
    assert first.record.value == "in/a"
    assert [str(each.error) for each in rest] == [
        "in/b: cannot be opened: No such file or directory",
        "in/c: cannot be opened: Too many levels of symbolic links",
        "in/d: is not a regular file any more; nothing else is ever opened",
    ]


async def test_a_name_that_is_no_utf8_has_a_key_that_can_be_written() -> None:
    """Bytes of a name that are no text are shown as escapes."""
    with open(b"caf\xe9.txt", "wb") as file:
        file.write(b"x")
    (delivery,) = await read(TextFiles("*.txt"))
    assert delivery.record.key == "caf\\xe9.txt"
    assert str(delivery.record.attributes["origin"]).encode() == b"caf\\xe9.txt"


async def test_a_failing_disk_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input/output error is the operator's matter: StorageFailed names the file."""
    Path("a.jsonl").write_text("1\n2\n")

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("genai_pipeline.sources._open.os.open", failing)
    with pytest.raises(StorageFailed, match=r"a\.jsonl: cannot be opened: Input/output error"):
        await read(JsonLines("a.jsonl"))


async def test_files_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forbidden file is refused when it was named, and an error when it was found."""
    _write("in/a", "in/b")
    opened = os.open

    def guarded(path: str, *rest: Any) -> int:
        if path.endswith("a"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr("genai_pipeline.sources._open.os.open", guarded)
    with pytest.raises(ConfigurationError, match="in/a: cannot be opened: Permission denied"):
        await read(TextFiles("in/a"))
    deliveries = await read(TextFiles("in"))
    assert values(deliveries) == ["in/b"]
    assert "Permission denied" in str(errors(deliveries)[0])


async def test_nothing_stays_open_when_reading_is_closed_early() -> None:
    """The file descriptor of a reading that is closed after one record is free again."""
    Path("a.jsonl").write_text("1\n" * 100_000)
    before = len(os.listdir("/dev/fd"))
    deliveries = aiter(JsonLines("a.jsonl"))
    await anext(deliveries)
    during = len(os.listdir("/dev/fd"))
    await deliveries.aclose()
    assert (during - before, len(os.listdir("/dev/fd")) - before) == (1, 0)
