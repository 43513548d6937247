"""
The words of tables in a journal: rows that are written in the commit that ends their record.

A `TransactionalSink` writes nothing by itself. It leaves rows with the walk, and the runner hands
them to the journal together with the end of the record, so that a row is there if, and only if,
its record has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import attrs

from genai_pipeline._journal import ItemEnd, Journal
from genai_pipeline._paid import current_recorder
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.records import Record

__all__ = [
    "Column",
    "ColumnKind",
    "PendingRows",
    "TableJournal",
    "TableRows",
    "TableSchema",
    "TransactionalSink",
]

ColumnKind: TypeAlias = Literal["text", "integer", "real", "boolean", "blob", "json"]
"""What a column holds; ``json`` is any value as a text of JSON."""


@attrs.frozen
class Column:
    """A column of a table."""

    name: str
    kind: ColumnKind
    nullable: bool = False


@attrs.frozen
class TableSchema:
    """A table: its name, and its columns beside ``key``, by which there is one row each."""

    name: str
    columns: tuple[Column, ...]


@attrs.frozen
class TableRows:
    """All rows of one record, or gathered group, in one table."""

    table: TableSchema
    rows: tuple[tuple[Any, ...], ...] = ()
    """Each the key, and then a value for each column in its order; ``json`` as text."""


class TransactionalSink(Protocol):
    """
    A sink whose rows a journal writes in the commit that ends their record.

    It is found by its *table_schema*, wherever a pipeline has it: as its sink, in a `tee`, for its
    dead letters, or around or in any of these that tells its parts. Called, it puts a row into the
    ``rows`` of `walk.current_walk`, and raises `DataError` for what cannot be one.
    """

    @property
    def table_schema(self) -> TableSchema:
        """The table that its rows belong to."""
        ...

    async def __call__(self, record: Record[Any], /) -> None:
        """Leave the row of *record* to be written."""
        ...


class TableJournal(Journal, Protocol):
    """A journal that keeps tables too. Proved by `testing.JournalContract`, as all else."""

    async def open_table(self, table: TableSchema, /) -> None:
        """
        Make *table* if it is missing.

        Raises `ConfigurationError` when there is one of that name with other columns, or when the
        journal cannot keep one of that name, or any.
        """
        ...

    async def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> None:
        """
        Do what `Journal.end_item` does, and put *rows* in the place of those of the record.

        In one commit: both, or neither. For each table that is named, what is there of the record,
        in any generation, is replaced; a row of the same key is, whoever it was of. An end that is
        not noted, since the record has one, brings no rows either. Raises `DataError`, having
        written nothing, when the table refuses a row.
        """
        ...

    async def tables(self) -> Sequence[TableSchema]:
        """Answer the tables there are, by name."""
        ...

    async def rows(
        self, table: str, /, *, after: str | None = None, limit: int = 1000
    ) -> Sequence[Mapping[str, Any]]:
        """
        Answer rows of a table by column, in the order of their keys, those behind *after*.

        Raises `ConfigurationError` when there is no such table.
        """
        ...


class PendingRows:
    """
    The rows that are to be written with the end of a walk's record, and of its groups.

    Only those of *tables*, which the journal has open; `None` takes any, for a walk elsewhere.
    """

    __slots__ = ("_made_by", "_rows", "_tables")

    def __init__(self, tables: Collection[TableSchema] | None = None) -> None:
        self._tables = tables
        self._rows: dict[tuple[str, str], tuple[bytes, TableSchema, tuple[Any, ...]]] = {}
        self._made_by: dict[str, bytes] = {}

    def put(self, table: TableSchema, row: tuple[Any, ...]) -> None:
        """Have a row written, which begins with its key; the last of a key counts."""
        if self._tables is not None and table not in self._tables:
            raise ConfigurationError(
                f"the pipeline does not know that it writes the table {table.name!r}: give the "
                "sink as sink=, dead_letters= or in gp.tee, and not inside a function"
            )
        key = row[0]
        recorder = current_recorder()
        item = self._made_by.get(key, b"" if recorder is None else recorder.item)
        self._rows[table.name, key] = (item, table, row)

    def note(self, outputs: Iterable[Record[Any]]) -> None:
        """Note that *outputs* were made here: those of a gathered group are the group's."""
        recorder = current_recorder()
        if recorder is not None:
            for record in outputs:
                self._made_by.setdefault(record.key, recorder.item)

    def all(self) -> list[tuple[TableSchema, tuple[Any, ...]]]:
        """Answer all rows with their tables, each to be `put` elsewhere."""
        return [(table, row) for _, table, row in self._rows.values()]

    def of_group(self, group: bytes) -> tuple[TableRows, ...]:
        """Answer the rows of a gathered *group*, also where there are none."""
        return self._in_tables(row for row in self._rows.values() if row[0] == group)

    def of_record(self, groups: Collection[bytes]) -> tuple[TableRows, ...]:
        """Answer the rows that are of none of *groups*, also where there are none."""
        return self._in_tables(row for row in self._rows.values() if row[0] not in groups)

    def _in_tables(
        self, found: Iterable[tuple[bytes, TableSchema, tuple[Any, ...]]]
    ) -> tuple[TableRows, ...]:
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for _, table, row in found:
            rows.setdefault(table.name, []).append(row)
        return tuple(TableRows(each, tuple(rows.get(each.name, ()))) for each in self._tables or ())
