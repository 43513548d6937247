"""JournalTable by itself: its options, and what becomes of values. Runs are tested elsewhere."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import date
from typing import Any, Optional, cast

import attrs
import pytest

from genai_pipeline._journal_tables import Column, PendingRows, TableSchema
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.records import Record
from genai_pipeline.sinks import JournalTable
from genai_pipeline.walk import Run, Walk, set_walk

pytestmark = pytest.mark.anyio


async def row_of(sink: JournalTable, value: object) -> tuple[Any, ...]:
    """Answer the row that *sink* leaves."""
    record = Record(value, "k")
    walk = Walk(cast("Run", None), record, 0)
    walk.rows = PendingRows([sink.table_schema])
    set_walk(walk)
    await sink(record)
    ((row,),) = (each.rows for each in walk.rows.of_record(()))
    return row


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("table", "", "table=''"),
        ("table", "Answers", "table='Answers'"),
        ("table", "gp_answers", "table='gp_answers'"),
        ("table", "sqlite_answers", "table='sqlite_answers'"),
        ("table", 'x"; DROP TABLE item; --', "table="),
        ("table", "1st", "table='1st'"),
        ("table", "x" * 64, "table="),
        ("table", None, "table=None"),
        ("columns", {}, "columns={}"),
        ("columns", ["n"], "columns=['n']"),
        ("columns", {"key": int}, "columns, name='key'"),
        ("columns", {"_record": int}, "columns, name='_record'"),
        ("columns", {"a b": int}, "columns, name='a b'"),
        ("columns", {1: int}, "columns, name=1"),
        ("columns", {"n": int, "N": int}, "each column once"),
        ("columns", {"n": "int"}, "columns['n']='int'"),
        ("columns", {"n": int | str}, "columns['n']="),
        ("columns", {"n": date}, "columns['n']="),
        ("columns", {"n": None}, "columns['n']=None"),
        ("columns", {"n": []}, "columns['n']=[]"),
        ("columns", {f"c{n}": int for n in range(501)}, "columns="),
    ],
)
def test_wrong_options_are_named(option: str, value: object, named: str) -> None:
    """A wrong option is a ConfigurationError that names it, its value and what is allowed."""
    options: dict[str, Any] = {"table": "out", option: value}
    with pytest.raises(ConfigurationError) as refused:
        JournalTable(**options)
    assert str(refused.value).startswith("JournalTable: ")
    assert named in str(refused.value)


def test_columns_are_told_by_their_types() -> None:
    """Each type has its kind of column, and `| None` is one that may be empty."""
    sink = JournalTable(
        "out",
        columns={
            "a": str,
            "b": int | None,
            "c": Optional[float],  # noqa: UP045 - as older code has it
            "d": bool,
            "e": bytes,
            "f": object,
            "g": dict[str, int] | None,
            "h": list,
        },
    )
    assert sink.table_schema == TableSchema(
        "out",
        (
            Column("a", "text"),
            Column("b", "integer", nullable=True),
            Column("c", "real", nullable=True),
            Column("d", "boolean"),
            Column("e", "blob"),
            Column("f", "json"),
            Column("g", "json", nullable=True),
            Column("h", "json"),
        ),
    )
    assert pickle.loads(pickle.dumps(sink)).table_schema == sink.table_schema
    assert JournalTable("out").table_schema == TableSchema("out", (Column("value", "json"),))


@attrs.frozen
class Point:
    """A value with fields."""

    x: float
    y: int
    _private: int = 0


async def test_fields_become_cells() -> None:
    """Mappings and attrs classes give their fields in the order of the columns."""
    sink = JournalTable("out", columns={"y": int, "x": float})
    assert await row_of(sink, Point(1, 2)) == ("k", 2, 1.0)
    assert await row_of(sink, {"x": 0.5, "y": -(2**63)}) == ("k", -(2**63), 0.5)


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        (str, "a\0é", "a\0é"),
        (int | None, None, None),
        (float, 7, 7.0),
        (bool, True, True),
        (bytes, bytearray(b"x"), b"x"),
        (object, None, "null"),
        (object | None, None, None),
        (object, date(2026, 11, 26), '"2026-11-26"'),
        (list, ["é"], '["é"]'),
    ],
)
async def test_what_fits_is_kept(kind: Any, value: object, cell: object) -> None:
    """A value of its column's type is kept as it is, what is JSON as its text."""
    row = await row_of(JournalTable("out", columns={"n": kind}), {"n": value})
    assert row == ("k", cell)
    assert type(row[1]) is type(cell)


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (str, 1, r"value\['n'\] is 1, which is no str"),
        (str, "\ud800", "which is no str of Unicode"),
        (str, None, "is None, and its column is not `| None`"),
        (int, True, "which is no int"),
        (int, 2**63, "which is no int of 64 bits"),
        (int, 1.0, "which is no int"),
        (float, float("nan"), "which is no finite float"),
        (float, 10**400, "which is no finite float"),
        (bool, 1, "which is no bool"),
        (bytes, "x", "which is no bytes"),
        (object, {1, object()}, "JSON cannot hold"),
    ],
)
async def test_what_does_not_fit_is_named(kind: Any, value: object, told: str) -> None:
    """A value of another type is a DataError that names the field and what would be right."""
    with pytest.raises(DataError, match=told):
        await row_of(JournalTable("out", columns={"n": kind}), {"n": value})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("text", "a str without named fields"),
        ({}, r"value\['n'\] is missing"),
        ({"n": 1, "m": 2}, "has the field 'm', which is no column of 'out'"),
    ],
)
async def test_fields_are_the_columns(value: object, told: str) -> None:
    """A value without fields, with one too many or too few is a DataError that says so."""
    with pytest.raises(DataError, match=told):
        await row_of(JournalTable("out", columns={"n": int}), value)


async def test_a_missing_field_may_be_none() -> None:
    """What a value lacks is empty where its column may be."""
    columns: Mapping[str, Any] = {"n": int | None, "m": object | None}
    assert await row_of(JournalTable("out", columns=columns), {}) == ("k", None, None)
