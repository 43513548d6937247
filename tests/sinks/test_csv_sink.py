"""Csv."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.records import Record
from genai_pipeline.sinks import Csv

pytestmark = pytest.mark.anyio


async def _write(sink: Csv, *values: object) -> str:
    async with sink:
        for value in values:
            await sink(Record(value))
    return sink.path.read_text()


@attrs.frozen
class Ticket:
    """A row."""

    number: int
    text: str
    _private: int = 0


async def test_columns_are_the_fields_of_the_first_record(tmp_path: Path) -> None:
    """Header and rows follow the first record, whatever the order of the others."""
    text = await _write(Csv(tmp_path / "out.csv"), {"a": 1, "b": "x"}, {"b": "y", "a": 2})
    assert text == "a,b\n1,x\n2,y\n"


async def test_columns_can_be_given(tmp_path: Path) -> None:
    """fields= sets the columns and their order, also for an empty table."""
    rows = [Ticket(1, "broken")]
    assert await _write(Csv(tmp_path / "a.csv", fields=["text", "number"]), *rows) == (
        "text,number\nbroken,1\n"
    )
    assert await _write(Csv(tmp_path / "b.csv", fields=("a", "b"))) == "a,b\n"


async def test_next_run_has_columns_of_its_own(tmp_path: Path) -> None:
    """A sink that is used again takes the columns from the first record of that run."""
    sink = Csv(tmp_path / "out.csv")
    await _write(sink, {"a": 1})
    assert await _write(sink, {"b": 2}) == "b\n2\n"


async def test_each_part_has_the_header(tmp_path: Path) -> None:
    """Every part is a table of its own."""
    async with Csv(tmp_path / "out", segment=1) as sink:
        for number in (1, 2):
            await sink(Record({"n": number}))
    parts = sorted((tmp_path / "out").glob("part-*.csv"))
    assert [part.read_text() for part in parts] == ["n\n1\n", "n\n2\n"]


async def test_cells_by_type(tmp_path: Path) -> None:
    """Each type has the form that the documentation says."""
    row = {
        "nothing": None, "yes": True, "number": 1.5, "money": Decimal("1.20"), "text": 'say "hi"',
        "day": date(2026, 1, 2), "list": [1, "x"], "map": {"a": None}, "bytes": b"ab",
    }  # fmt: skip
    text = await _write(Csv(tmp_path / "out.csv"), row)
    assert text.splitlines()[1] == (
        ',true,1.5,1.20,"say ""hi""",2026-01-02,"[1, ""x""]","{""a"": null}",YWI='
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": 1}, "lacks the field 'b'"),
        ({"a": 1, "b": 2, "c": 3}, "has the field 'c'"),
        ({"a": 1, "c": 3}, "has the field 'c' and lacks the field 'b'; the columns are 'a', 'b'"),
        ("text", "str without named fields"),
        ({}, "dict without named fields"),
        ({"a": object(), "b": 1}, "is of type object"),
        ({"a": "x\0y", "b": 1}, r"value\['a'\] holds a NUL"),
        ({"a": "\ud800", "b": 1}, "no Unicode"),
    ],
)
async def test_row_that_does_not_fit_fails_alone(tmp_path: Path, value: object, told: str) -> None:
    """A record that is no row of this table is a DataError that names the field; others stay."""
    async with Csv(tmp_path / "out.csv") as sink:
        await sink(Record({"a": 1, "b": 2}))
        with pytest.raises(DataError, match=told):
            await sink(Record(value))
        await sink(Record({"a": 3, "b": 4}))
    assert (tmp_path / "out.csv").read_text() == "a,b\n1,2\n3,4\n"


async def test_first_record_that_fails_sets_no_columns(tmp_path: Path) -> None:
    """The columns come from the first record that could be written."""
    async with Csv(tmp_path / "out.csv") as sink:
        for bad in ({"x": object()}, {3: "x"}):
            with pytest.raises(DataError):
                await sink(Record(bad))
        await sink(Record({"a": 1}))
    assert (tmp_path / "out.csv").read_text() == "a\n1\n"


async def test_formulas_are_escaped_when_asked(tmp_path: Path) -> None:
    """Text that spreadsheets run is written as it is, or behind an apostrophe; numbers never."""
    row = {"a": "=1+1", "b": "-x", "c": -1, "d": "a=b"}
    assert await _write(Csv(tmp_path / "a.csv"), row) == "a,b,c,d\n=1+1,-x,-1,a=b\n"
    escaped = await _write(Csv(tmp_path / "b.csv", escape_formulas=True), row)
    assert escaped == "a,b,c,d\n'=1+1,'-x,-1,a=b\n"


@pytest.mark.parametrize("fields", ["abc", [], ["a", "a"], ["a", 3], [""]])
def test_columns_that_are_none_are_refused_when_built(fields: object) -> None:
    """fields= must be names, each once; one text is no list of names."""
    with pytest.raises(ConfigurationError, match="fields="):
        Csv("out.csv", fields=fields)  # type: ignore[arg-type]


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(_TEXT | st.sampled_from(['"', "\r", "\n", ",", "a\r\nb"]), _TEXT)),
    segment=st.none() | st.integers(1, 3),
)
def test_any_text_comes_back(rows: list[tuple[str, str]], segment: int | None) -> None:
    """Whatever text the cells hold, the csv module reads the same rows back."""

    async def write(path: Path) -> None:
        async with Csv(path, segment=segment, fields=("a", "b")) as sink:
            for a, b in rows:
                await sink(Record({"a": a, "b": b}))

    with TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        anyio.run(write, path)
        parts = [path] if segment is None else sorted(path.glob("part-*.csv"))
        found = []
        for part in parts:
            with part.open(newline="", encoding="utf-8") as file:
                found += list(csv.reader(file))[1:]
    assert [tuple(row) for row in found] == rows
