"""`Csv`: one row a record, as a mapping from the header's names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.records import Delivery
from genai_pipeline.sources._compression import blocks
from genai_pipeline.sources._encoding import Encoding, peeked, resolve
from genai_pipeline.sources._faults import Unreadable, broken, excerpt
from genai_pipeline.sources._files import LineFiles, Weighed, place
from genai_pipeline.sources._keys import keyed
from genai_pipeline.sources._lines import lines
from genai_pipeline.sources._open import OpenFile
from genai_pipeline.sources._rows import BadRow, Row, Rows

__all__ = ["Csv"]


def _one_sign(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and len(value) == 1 and value not in "\r\n\0"
    check(fine, owner, option.name, value, "one sign that is no newline")


def _to_fields(given: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(given, str):
        raise ConfigurationError(f"Csv: fields={given!r}; give a list of names, not one text")
    return None if given is None else tuple(given)


def _names(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = value is None or (
        isinstance(value, tuple)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and _trouble(value) is None
    )
    check(fine, owner, option.name, value, "the names of the columns, each one once")


@attrs.frozen(kw_only=True, eq=False)
class Csv(LineFiles[dict[str, str]]):
    """
    Reads files of rows, plain or packed with gzip or zstd; a value is a `dict` of texts.

    *path* is a file, a folder (its ``.csv`` files, ``.tsv`` with a tab as the delimiter, also
    ``.gz`` and ``.zst``), a glob, or a list of them. The first row of each file names the
    columns, unless ``fields=`` does. Quoted fields may hold delimiters, newlines and doubled
    quotes. Files are read lazily, in memory that does not depend on their size, in the order of
    their names; ``.`` files and symbolic links in folders are not read.

    The key is ``name:line``, the line on which the row begins; name, attributes and errors are
    as with `JsonLines`. Blank lines are no records. A row that cannot be used is delivered with
    a `DataError`, and the reading goes on with the next line: too few or too many fields, a
    quote that is never closed or stands in the wrong place, too long, or no text in the file's
    encoding. A file whose header has an empty name, or a name twice, is one such error.

    Raises `csv.field_size_limit`, which the whole process shares, to *max_line_bytes*: a
    field may be that long.
    """

    delimiter: str = attrs.field(default=",", validator=_one_sign)
    """What stands between the fields."""

    quote: str = attrs.field(default='"', validator=_one_sign)
    """What stands around fields; doubled inside one, it is itself."""

    fields: tuple[str, ...] | None = attrs.field(
        default=None, converter=_to_fields, validator=_names
    )
    """The names of the columns of files that have no header."""

    def __attrs_post_init__(self) -> None:
        check(self.quote != self.delimiter, self, "quote", self.quote, "not the delimiter")

    def _endings(self) -> tuple[str, ...]:
        ending = ".tsv" if self.delimiter == "\t" else ".csv"
        return (ending, f"{ending}.gz", f"{ending}.zst")

    def _read(self, file: OpenFile) -> Iterator[Weighed[dict[str, str]]]:
        sample, content = peeked(blocks(file.read, self._limits()))
        encoding = resolve(sample, self.encoding)
        rows = Rows(
            lines(content, encoding, self.max_line_bytes),
            encoding,
            self.max_line_bytes,
            self._parser,
        )
        found = iter(rows)
        fields = self.fields or _header(next(found, None), encoding)
        width, name, origin, key = len(fields), file.found.name, file.found.origin, self.key
        for row in found:
            if isinstance(row, BadRow):
                yield _broken(file, row, encoding), len(row.taken[0].raw)
                continue
            first = row.taken[0]
            if len(row.fields) == width:
                value = dict(zip(fields, row.fields, strict=False))
                attributes = {"origin": origin, "line": first.number, "offset": first.offset}
                yield keyed(value, f"{name}:{first.number}", attributes, key), row.size
            elif len(row.fields) > 1 or first.raw.decode(encoding.codec).strip():
                bad = BadRow(_miscounted(row.fields, fields), row.taken)
                yield _broken(file, bad, encoding), row.size

    def _parser(self, texts: Iterator[str]) -> Iterator[list[str]]:
        # A limit of the process, 128 KiB by default: too little for texts.
        csv.field_size_limit(max(csv.field_size_limit(), self.max_line_bytes))
        return csv.reader(texts, delimiter=self.delimiter, quotechar=self.quote, strict=True)


def _header(row: Row | BadRow | None, encoding: Encoding) -> tuple[str, ...]:
    """Answer the names that the first row gives; raises `Unreadable`."""
    if row is None:
        return ()
    trouble = row.reason if isinstance(row, BadRow) else _trouble(tuple(row.fields))
    if trouble is None and isinstance(row, Row):
        return tuple(row.fields)
    fault = Unreadable(f"its header cannot be used: {trouble}; fields= can name the columns")
    fault.line, fault.offset = row.taken[0].number, row.taken[0].offset
    fault.partial = encoding.newline.join(line.raw for line in row.taken)
    raise fault


def _trouble(names: tuple[str, ...]) -> str | None:
    for index, name in enumerate(names):
        if not name.strip():
            return f"column {index + 1} has no name"
        if name in names[:index]:
            return f"the name {name!r} stands there twice"
    return None


def _miscounted(found: list[str], fields: tuple[str, ...]) -> str:
    shown = ", ".join(fields[:10]) + (", …" if len(fields) > 10 else "")  # noqa: PLR2004
    return f"{len(found)} fields, and there are {len(fields)} columns: {shown}"


def _broken(file: OpenFile, row: BadRow, encoding: Encoding) -> Delivery[Any]:
    first = row.taken[0]
    raw = encoding.newline.join(line.raw for line in row.taken)
    size = sum((line.excess or len(line.raw)) + len(encoding.newline) for line in row.taken)
    return broken(
        row.reason,
        value=excerpt(raw, size - len(encoding.newline), encoding.codec),
        key=f"{file.found.name}:{first.number}",
        attributes=place(file, first.number, first.offset),
        column=row.column,
        cause=row.cause,
    )
