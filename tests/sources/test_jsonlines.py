"""`JsonLines`: each line a record, and each bad line an error that says where."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sources import JsonLines
from tests.sources.reading import errors, keys, read, values

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current directory a fresh one, and name a file in it."""
    monkeypatch.chdir(tmp_path)
    return Path("a.jsonl")


async def test_lines_become_records_that_know_their_place(file: Path) -> None:
    """Key and attributes say file, line and byte offset; blank lines count but are no records."""
    file.write_bytes(b'{"a": 1}\n\n  [1, "\xc3\xa9"] \r\n"x"')
    deliveries = await read(JsonLines(file))
    assert values(deliveries) == [{"a": 1}, [1, "é"], "x"]
    assert keys(deliveries) == ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4"]
    assert [dict(each.record.attributes) for each in deliveries] == [
        {"origin": "a.jsonl", "line": 1, "offset": 0},
        {"origin": "a.jsonl", "line": 3, "offset": 10},
        {"origin": "a.jsonl", "line": 4, "offset": 24},
    ]


async def test_offsets_find_the_line_in_the_file(file: Path) -> None:
    """Reading the file from a record's offset on gives the record's line."""
    lines = [json.dumps("é" * number) for number in range(50)]
    file.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    data = file.read_bytes()
    for delivery in await read(JsonLines(file)):
        line = data[delivery.record.attributes["offset"] :].split(b"\n")[0]
        assert json.loads(line) == delivery.record.value


async def test_key_may_come_from_the_value(file: Path) -> None:
    """The key= function sees the parsed value."""
    file.write_text('{"id": 7}\n{"no": 1}\n')
    deliveries = await read(JsonLines(file, key=lambda row: row["id"]))
    assert keys(deliveries) == ["7", "a.jsonl:2"]
    assert "key= raised KeyError" in str(errors(deliveries)[0])


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        (b'{"a": }', 7, "no JSON: Expecting value"),
        (b"  nope", 3, "no JSON: Expecting value"),
        (b'{"a": 1', 8, "no JSON: Expecting ',' delimiter"),
        (b'{"a": 1} {"b": 2}', 10, "no JSON: Extra data"),
        (b'"a\tb"', 3, "no JSON: Invalid control character at"),
        (b'{"a": 1, "a": 2}', None, "the key 'a' stands twice in one object"),
        (b'{"a": NaN}', None, "NaN is no JSON"),
        (b"[-Infinity]", None, "-Infinity is no JSON"),
        (b"1e999", None, "the number 1e999 is beyond what a double can hold"),
        (b"1" * 5000, None, "Exceeds the limit"),
        (b'{"a": "\\ud800"}', None, "lone surrogate"),
        (b'{"\\uDFFF": 1}', None, "lone surrogate"),
        (b"[" * 201 + b"]" * 201, None, "nested deeper than 200 levels"),
        (b"[" * 100_000, None, "nested deeper than 200 levels"),
        (b'{"a":' * 100_000, None, "nested deeper than 200 levels"),
        (b'{"a": "caf\xe9"}', 11, "byte 11, E9, is not UTF-8; if the file has another encoding"),
        (b'"\xed\xa0\x80"', 2, "byte 2, ED, is not UTF-8"),
    ],
)
async def test_a_bad_line_is_an_error_that_says_where_and_why(
    file: Path, line: bytes, column: int | None, reason: str
) -> None:
    """File, line, column and reason are told, and the lines around it are read."""
    file.write_bytes(b"1\n" + line + b"\n2\n")
    deliveries = await read(JsonLines(file))
    (error,) = errors(deliveries)
    assert values(deliveries) == [1, 2]
    assert keys(deliveries) == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    assert (error.origin, error.line, error.column) == ("a.jsonl", 2, column)
    assert reason in str(error)
    assert str(error).startswith("a.jsonl, line 2")
    shown = line.decode("utf-8", "backslashreplace")
    assert str(error.payload).startswith(shown[:60_000])


async def test_what_is_allowed_stays_exact(file: Path) -> None:
    """Great integers, deep but not too deep values and whole surrogate pairs are read."""
    lines = [str(2**200), "[" * 200 + "]" * 200, '"\\ud83d\\ude00"', '"\\\\ud800"', "1e-999"]
    file.write_text("\n".join(lines))
    number, deep, face, escape, tiny = values(await read(JsonLines(file)))
    assert number == 2**200
    assert json.dumps(deep) == lines[1]
    assert (face, escape, tiny) == ("😀", "\\ud800", 0.0)


async def test_many_flat_brackets_are_not_deep(file: Path) -> None:
    """A line with more than 200 lists side by side is fine."""
    file.write_text(json.dumps([[number] for number in range(500)]))
    assert len(values(await read(JsonLines(file)))[0]) == 500


@pytest.mark.parametrize("most", [10, 100_000, 300_000])
async def test_a_giant_line_is_passed_over(file: Path, most: int) -> None:
    """A line beyond the limit costs one error, whichever side of a block it ends on."""
    giant = b'"' + b"x" * 1_000_000 + b'"'
    file.write_bytes(b"1\n" + giant + b"\n2\n" + giant)
    deliveries = await read(JsonLines(file, max_line_bytes=most))
    assert values(deliveries) == [1, 2]
    for error, line in zip(errors(deliveries), (2, 4), strict=True):
        assert error.line == line
        assert f"too long: 1000002 bytes, and max_line_bytes={most}" in str(error)
        assert len(str(error.payload)) < 70_000
        assert "bytes more)" in str(error.payload)


async def test_a_line_of_exactly_the_limit_is_read(file: Path) -> None:
    """The limit is the greatest length that is allowed."""
    file.write_text('"abc"\n"abcd"\n')
    deliveries = await read(JsonLines(file, max_line_bytes=5))
    assert values(deliveries) == ["abc"]
    assert errors(deliveries)[0].line == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
async def test_encodings_are_detected(file: Path, encoding: str) -> None:
    """Byte order marks and the pattern of UTF-16 tell the encoding; the mark is dropped."""
    lines = ['{"a": "é ਊ \u0a0d"}', '{"b": 2}', ""]  # signs whose bytes look like newlines
    file.write_bytes("\r\n".join(lines).encode(encoding))
    deliveries = await read(JsonLines(file))
    assert values(deliveries) == [{"a": "é ਊ \u0a0d"}, {"b": 2}]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "utf-16", "cp500", "gbk"])
async def test_encodings_can_be_named(file: Path, encoding: str) -> None:
    """Any text encoding of Python can be named, also where newlines are other bytes."""
    text = "é ü" if encoding in {"latin-1", "cp1252", "cp500"} else "表 ソ"
    file.write_bytes(f'{{"a": "{text}"}}\n2\n'.encode(encoding))
    assert values(await read(JsonLines(file, encoding=encoding))) == [{"a": text}, 2]


async def test_a_named_encoding_is_meant_strictly(file: Path) -> None:
    """What cannot be decoded as named is an error, not a wrong text."""
    file.write_bytes(b'1\n"\x81"\n')
    (error,) = errors(await read(JsonLines(file, encoding="cp1252")))
    assert "byte 2, 81, is not CP1252; name the right one with encoding=" in str(error)


async def test_a_mark_that_contradicts_the_name_is_an_error(file: Path) -> None:
    """A file that says UTF-8 by its mark is not read as something else."""
    file.write_text("\ufeff1\n", encoding="utf-8")
    deliveries = await read(JsonLines(file, encoding="latin-1"))
    assert values(deliveries) == []
    assert "begins with the byte order mark of utf-8, but encoding='latin-1'" in str(
        errors(deliveries)[0]
    )


async def test_a_json_document_over_many_lines_gets_advice(file: Path) -> None:
    """The first line of an indented document says what is expected."""
    file.write_text(json.dumps([1, 2], indent=2))
    assert "write one a line" in str(errors(await read(JsonLines(file)))[0])


async def test_an_empty_file_has_no_records(file: Path) -> None:
    """Nothing, or a mark alone, is no record and no error."""
    file.write_bytes(b"")
    assert await read(JsonLines(file)) == []
    file.write_bytes(b"\xef\xbb\xbf")
    assert await read(JsonLines(file)) == []


async def test_a_sparse_gigabyte_line_is_passed_over_in_constant_memory(file: Path) -> None:
    """A line far beyond the limit is never held in memory."""
    size = 300 * 1024 * 1024
    with file.open("wb") as out:
        out.write(b"1\n")
        out.truncate(size)
        out.seek(size)
        out.write(b"\n2\n")
    tracemalloc.start()
    try:
        deliveries = await read(JsonLines(file))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert values(deliveries) == [1, 2]
    assert peak < 40 * 1024 * 1024


async def test_a_reading_without_any_record_can_be_cancelled(file: Path) -> None:
    """A reader that is busy with a line of a terabyte lets go between two blocks."""
    with file.open("wb") as out:
        out.truncate(2**40)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, JsonLines(file))
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-9"}, "encoding='utf-9'; give a text encoding"),
        ({"encoding": "rot13"}, "encoding='rot13'; give a text encoding"),
        ({"encoding": ""}, "encoding=''"),
        ({"max_line_bytes": 0}, "max_line_bytes=0; give a whole number, 1 or more"),
        ({"max_decoded_bytes": -1}, "max_decoded_bytes=-1"),
        ({"max_ratio": 0.5}, "max_ratio=0.5"),
        ({"key": "id"}, "key='id'; give a function of the value"),
        ({"follow_symlinks": "yes"}, "follow_symlinks='yes'"),
        ({"allow_empty": None}, "allow_empty=None"),
    ],
)
def test_options_are_checked_when_built(options: dict[str, Any], message: str) -> None:
    """A wrong option names itself, its value and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        JsonLines("a.jsonl", **options)
    assert "JsonLines: " + message in str(caught.value)
