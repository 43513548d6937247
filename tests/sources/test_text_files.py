"""`TextFiles`: each file a record, and each bad file an error that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_pipeline.sources import TextFiles
from tests.sources.reading import errors, keys, read, values

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_files_become_records_in_the_order_of_their_names() -> None:
    """A folder gives every file below it, keyed by its path in the folder."""
    for name in ("b.txt", "a/z.md", "a/b/c", "c.txt"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).write_text(name)
    deliveries = await read(TextFiles("in"))
    assert keys(deliveries) == ["a/b/c", "a/z.md", "b.txt", "c.txt"]
    assert values(deliveries) == keys(deliveries)
    assert dict(deliveries[0].record.attributes) == {"origin": "in/a/b/c"}


async def test_the_text_is_exactly_what_the_file_holds() -> None:
    """Newlines stay as they are, an empty file is an empty text, a mark is dropped."""
    Path("a").write_bytes(b"one\r\ntwo\rthree\n")
    Path("b").write_bytes(b"")
    Path("c").write_bytes("\ufeffü".encode("utf-16-be"))
    assert values(await read(TextFiles("[abc]"))) == ["one\r\ntwo\rthree\n", "", "ü"]


async def test_a_file_that_is_no_text_says_where() -> None:
    """The line and byte of the first wrong byte are told, and the next file is read."""
    Path("a").write_bytes("ok\nünï ".encode() + b"\xff\nmore")
    Path("b").write_text("fine")
    deliveries = await read(TextFiles("[ab]"))
    assert values(deliveries) == ["fine"]
    (error,) = errors(deliveries)
    assert (error.origin, error.line, error.column) == ("a", 2, 7)
    assert "encoding='cp1252'" in str(error)
    assert error.payload == "ok\nünï \\xff\nmore"


async def test_the_named_encoding_is_used() -> None:
    """With encoding= the bytes mean what the user says."""
    Path("a").write_bytes(b"caf\xe9")
    assert values(await read(TextFiles("a", encoding="latin-1"))) == ["café"]


async def test_a_file_that_is_too_long_is_not_read_to_its_end() -> None:
    """Beyond max_file_bytes a file is one error that names the limit."""
    with Path("a").open("wb") as file:
        file.truncate(2**40)
    Path("b").write_text("12345")
    deliveries = await read(TextFiles("[ab]", max_file_bytes=5))
    assert values(deliveries) == ["12345"]
    assert "too long: more than max_file_bytes=5" in str(errors(deliveries)[0])


async def test_a_text_chooses_its_key() -> None:
    """The key= function sees the text."""
    Path("a").write_text("# Title\nbody")
    deliveries = await read(TextFiles("a", key=lambda text: text.split("\n")[0]))
    assert keys(deliveries) == ["# Title"]
