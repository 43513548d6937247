"""`Csv`: each value a row of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, cast

import attrs

from genai_pipeline._encode import encode_json, fields_of, plain
from genai_pipeline._options import check
from genai_pipeline.errors import DataError
from genai_pipeline.records import Record
from genai_pipeline.sinks._file_writer import FileWriter
from genai_pipeline.sinks._keys import Line
from genai_pipeline.sinks._replacement import Replacement
from genai_pipeline.sinks._segments import Segments
from genai_pipeline.sinks._writer import Place

__all__ = ["Csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _to_fields(fields: Iterable[str] | None) -> tuple[str, ...] | None:
    if fields is None or isinstance(fields, str):
        return cast("tuple[str, ...] | None", fields)  # for the validator to refuse
    return tuple(fields)


def _is_fields(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = value is None or (
        isinstance(value, tuple)
        and len(value) > 0
        and len(set(value)) == len(value)
        and all(isinstance(name, str) and name and "\0" not in name for name in value)
    )
    check(fine, owner, option.name, value, "the names of the columns, each once")


@attrs.define(eq=False)
class Csv(FileWriter):
    """
    Writes each record as a row of a CSV table with a header, in UTF-8, as RFC 4180 quotes it.

    Values must have named fields: mappings, attrs or data classes. The columns are *fields*, or
    those of the first record; a record that lacks one or has another raises `DataError` that
    names it.
    `None` is an empty cell, text stands as it is, true and false as in JSON, lists
    and mappings as JSON; all else as `JsonLines` writes it, without the quotes. Reading
    gives text back, since CSV knows no types.

    One file that is replaced at the end of the run, or a folder of parts with ``segment=``: what
    holds of both, their durability and their errors is written at `JsonLines`. Each part has the
    header.

    Text that a spreadsheet would run as a formula is written as it is, lest data be changed, unless
    *escape_formulas*.
    """

    fields: tuple[str, ...] | None = attrs.field(
        default=None, kw_only=True, converter=_to_fields, validator=_is_fields
    )
    """The columns, in their order; `None` for the fields of the first record."""

    escape_formulas: bool = attrs.field(default=False, kw_only=True)
    """Put ``'`` before text beginning with one of ``= + - @``, tab or return."""

    _columns: tuple[str, ...] | None = attrs.field(default=None, init=False, repr=False)
    _table: Replacement | Segments | None = attrs.field(default=None, init=False, repr=False)

    def _place(self) -> Place[Line]:
        table = self._table = self._files(".csv", quoted=True)
        self._columns = self.fields
        if self.fields is not None:
            table.header = _row(self.fields)
        return table

    async def __call__(self, record: Record[object], /) -> None:
        """Write the record's value as a row."""
        await self._write(Line.of(record.key, self._encode(record.value)))

    def _encode(self, value: object) -> bytes:
        fields = fields_of(value)
        if not fields:
            raise DataError(
                f"value is a {type(value).__qualname__} without named fields; a CSV row needs a "
                "mapping, an attrs or a data class: convert it in a stage before the sink"
            )
        columns = self._columns
        if columns is None:
            columns = tuple(_check_name(name) for name in fields)
        if fields.keys() != set(columns):
            raise DataError(_difference(fields, columns))
        row = _row([self._cell(name, fields[name]) for name in columns])
        if self._columns is None and self._table is not None:
            self._columns, self._table.header = columns, _row(columns)
        return row

    def _cell(self, name: str, value: object) -> str:
        text = _text(value)
        if "\0" in text:
            raise DataError(f"value[{name!r}] holds a NUL character, which a CSV cell cannot")
        if self.escape_formulas and isinstance(value, str) and text.startswith(_FORMULA):
            return f"'{text}"
        return text


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError(f"value has the field {name!r:.100}; the name of a column is text")
    return name


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str.__str__(value)
    text = encode_json(value)
    if text.startswith('"'):
        unquoted = plain(value)
        return unquoted if isinstance(unquoted, str) else str(unquoted)
    return text


def _difference(fields: Iterable[object], columns: Sequence[str]) -> str:
    extra = [repr(name) for name in fields if name not in columns]
    missing = [repr(name) for name in columns if name not in set(fields)]
    told = [
        *([f"has the field {', '.join(extra)}"] if extra else []),
        *([f"lacks the field {', '.join(missing)}"] if missing else []),
    ]
    return (
        f"value {' and '.join(told)}; the columns are {', '.join(map(repr, columns))}: "
        "give every record the same fields, or name them all in fields="
    )


def _row(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    # With \r\n as the end, a lone \r or \n in a cell is quoted on every version of Python.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    try:
        return (text.getvalue()[:-2] + "\n").encode()
    except UnicodeEncodeError as error:
        raise DataError(f"value holds text that is no Unicode: {error.reason}") from error
