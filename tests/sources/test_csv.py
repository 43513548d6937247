"""`Csv`: each row a record, and each bad row an error that says where."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sources import Csv
from tests.sources.reading import errors, keys, read, values

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current directory a fresh one, and name a file in it."""
    monkeypatch.chdir(tmp_path)
    return Path("a.csv")


async def test_rows_become_records_that_know_their_place(file: Path) -> None:
    """A quoted newline belongs to its row, whose place is where it begins."""
    file.write_bytes(b'id,text\r\n1,"a\r\nb, ""c"""\r\n\r\n2,\r\n')
    deliveries = await read(Csv(file))
    assert values(deliveries) == [{"id": "1", "text": 'a\r\nb, "c"'}, {"id": "2", "text": ""}]
    assert keys(deliveries) == ["a.csv:2", "a.csv:5"]
    assert [dict(each.record.attributes) for each in deliveries] == [
        {"origin": "a.csv", "line": 2, "offset": 9},
        {"origin": "a.csv", "line": 5, "offset": 28},
    ]


async def test_columns_can_be_named(file: Path) -> None:
    """With fields= the first row is a record, too."""
    file.write_text("1;x\n")
    assert values(await read(Csv(file, fields=["id", "t"], delimiter=";"))) == [
        {"id": "1", "t": "x"}
    ]


async def test_another_quote_and_delimiter(file: Path) -> None:
    """Delimiter and quote are options."""
    file.write_text("id\ttext\n1\t'a\tb'\n")
    assert values(await read(Csv(file, delimiter="\t", quote="'"))) == [{"id": "1", "text": "a\tb"}]


async def test_a_row_of_the_wrong_width_is_an_error(file: Path) -> None:
    """Missing and extra fields are told with the columns there are."""
    file.write_text("a,b\n1\n1,2,3\n1,2\n")
    deliveries = await read(Csv(file))
    assert values(deliveries) == [{"a": "1", "b": "2"}]
    assert [str(error) for error in errors(deliveries)] == [
        "a.csv, line 2: 1 fields, and there are 2 columns: a, b",
        "a.csv, line 3: 3 fields, and there are 2 columns: a, b",
    ]
    assert [error.payload for error in errors(deliveries)] == ["1", "1,2,3"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'1,"open', "a quote is opened and never closed"),
        (b'1,"a"b', "no CSV"),
        (b"1,a\rb", "a carriage return stands in a field without quotes"),
        (b"1,caf\xe9", "byte 6, E9, is not UTF-8"),
        (b"1," + b"x" * 200, "too long: 202 bytes, and max_line_bytes=100"),
    ],
)
async def test_a_bad_row_costs_only_itself(file: Path, bad: bytes, reason: str) -> None:
    """The rows before and after it are read, and its own text is kept."""
    file.write_bytes(b"a,b\n1,x\n" + bad + b"\n2,y\n3,z\n")
    deliveries = await read(Csv(file, max_line_bytes=100))
    assert values(deliveries) == [
        {"a": "1", "b": "x"},
        {"a": "2", "b": "y"},
        {"a": "3", "b": "z"},
    ]
    (error,) = errors(deliveries)
    assert (error.line, reason in str(error)) == (3, True)
    assert str(error.payload).startswith(bad[:60].decode("utf-8", "backslashreplace"))


async def test_an_open_quote_does_not_swallow_the_file(file: Path) -> None:
    """Rows after a stray quote are read, also when it runs into the next quote or the limit."""
    rows = [f"{number},x" for number in range(1000)]
    rows[10] = '10,"x'
    rows[500] = '500,"x'
    rows[700] = '700,"q"'
    file.write_text("a,b\n" + "\n".join(rows))
    deliveries = await read(Csv(file, max_line_bytes=1000))
    assert [int(value["a"]) for value in values(deliveries)] == [
        number for number in range(1000) if number not in {10, 500}
    ]
    assert [error.line for error in errors(deliveries)] == [12, 502]


async def test_many_bad_quotes_do_not_cost_many_readings(file: Path) -> None:
    """Where every row looks unclosed, the work stays in proportion to the file."""
    file.write_text("a,b,c\n" + 'x",y,"z\n' * 12_000)
    deliveries = await read(Csv(file))
    told = sum(str(error.payload).count("\n") + 1 for error in errors(deliveries))
    assert len(deliveries) < 12_000
    assert told <= 12_000


async def test_a_row_that_holds_blanks_alone_is_no_record(file: Path) -> None:
    """Spaces on a line are blank; blanks in quotes are a field, and too few."""
    file.write_text('a,b\n  \n"\n"\n" "\n1,2\n')
    deliveries = await read(Csv(file))
    assert values(deliveries) == [{"a": "1", "b": "2"}]
    assert [(error.line, error.payload) for error in errors(deliveries)] == [
        (3, '"\n"'),
        (5, '" "'),
    ]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("a,b,a", "the name 'a' stands there twice"),
        ("a,,b", "column 2 has no name"),
        ('a,"b"c', "no CSV"),
    ],
)
async def test_a_header_must_name_each_column_once(file: Path, header: str, reason: str) -> None:
    """A bad header spoils its own file, and the next file is read."""
    file.write_text(header + "\n1,2,3\n")
    Path("b.csv").write_text("a\n1\n")
    deliveries = await read(Csv("*.csv"))
    assert values(deliveries) == [{"a": "1"}]
    (error,) = errors(deliveries)
    assert (error.origin, error.line) == ("a.csv", 1)
    assert "its header cannot be used: " + reason in str(error)
    assert error.payload == header


async def test_fields_longer_than_the_csv_module_allows_by_default(file: Path) -> None:
    """A text of a megabyte is a field like another, whatever the process had set."""
    before = csv.field_size_limit(1000)
    try:
        file.write_text("a,b\n1," + "x" * 1_000_000 + "\n")
        (value,) = values(await read(Csv(file)))
        assert len(value["b"]) == 1_000_000
    finally:
        csv.field_size_limit(before)


async def test_utf16_as_spreadsheets_write_it(file: Path) -> None:
    """UTF-16 with a mark and tabs, which Excel calls Unicode text, is read."""
    file.write_bytes("id\tname\r\n1\tÉmile\r\n".encode("utf-16"))
    assert values(await read(Csv(file, delimiter="\t"))) == [{"id": "1", "name": "Émile"}]


async def test_an_empty_file_and_a_header_alone_have_no_records(file: Path) -> None:
    """Neither is an error."""
    for content in ("", "\n\n", "a,b\n", "a,b"):
        file.write_text(content)
        assert await read(Csv(file)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "::"}, "delimiter='::'; give one sign"),
        ({"delimiter": "\n"}, "give one sign that is no newline"),
        ({"quote": ""}, "quote=''"),
        ({"quote": ","}, "quote=','; give not the delimiter"),
        ({"fields": ["a", "a"]}, "fields=('a', 'a'); give the names of the columns"),
        ({"fields": []}, "fields=()"),
        ({"fields": "abc"}, "fields='abc'; give a list of names, not one text"),
    ],
)
def test_options_are_checked_when_built(options: dict[str, Any], message: str) -> None:
    """A wrong option names itself, its value and what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        Csv("a.csv", **options)
    assert message in str(caught.value)
