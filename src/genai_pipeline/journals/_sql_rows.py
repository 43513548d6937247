"""Tables of sinks in a journal file: rows that are written in the commit of their end."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from genai_pipeline._identity import RECORD_BYTES
from genai_pipeline._journal_tables import Column, TableRows, TableSchema
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.journals._book_table import shown
from genai_pipeline.journals._faults import is_of_the_data
from genai_pipeline.journals._tables import Tables

__all__ = [
    "EndedRows",
    "count_rows",
    "drop_rows",
    "kept_tables",
    "make",
    "open_table",
    "put_rows",
    "read_rows",
    "size_of",
    "table_names",
    "table_of",
]

_REGISTER = "table "
"""What the names in `meta` begin with under which tables are noted."""

_OWN = "gp_"
"""What names in the file begin with that no table may have."""

_TYPES = {
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "blob": "BLOB",
    "json": "TEXT",
}


def open_table(tables: Tables, table: TableSchema) -> None:
    """Make *table* unless it is there; raises `ConfigurationError` where it cannot be."""
    if tables.vault.sealed:
        raise ConfigurationError(
            f"Sqlite: the table {table.name!r} would hold in the clear what the journal encrypts; "
            "write to gp.sinks.Table(path) in a file that is kept as it should be, or leave out "
            "codec=Encryption(...)"
        )
    noted = table_of(tables, table.name)
    if noted is None:
        if table.name.startswith(_OWN) or tables.all(
            "SELECT 1 FROM main.sqlite_schema WHERE name = ?", table.name
        ):
            raise ConfigurationError(
                f"Sqlite: the name {table.name!r} is the journal's own; give another table="
            )
        make(tables, table)
        told = json.dumps([attrs.astuple(column) for column in table.columns])
        tables.do("INSERT INTO meta (name, value) VALUES (?, ?)", _REGISTER + table.name, told)
    elif (unlike := _unlike(tables, table, noted)) is not None:
        raise ConfigurationError(
            f"Sqlite: the table {table.name!r} {unlike}; give another table=, or the same columns="
        )


def make(tables: Tables, table: TableSchema) -> None:
    """Make *table*, which is noted."""
    columns = ", ".join(
        f'"{name}" {type_}{" NOT NULL" if column is None or not column.nullable else ""}'
        f"{' PRIMARY KEY' if name == 'key' else ''}"
        for name, type_, column in _columns(table)
    )
    tables.do(f'CREATE TABLE main."{table.name}" ({columns}) STRICT')
    tables.do(f'CREATE INDEX main."{_OWN}record_of_{table.name}" ON "{table.name}" ("_record")')


def _columns(table: TableSchema) -> list[tuple[str, str, Column | None]]:
    """Answer name and type of each column, and what it is for if that is the user's choice."""
    own = [(column.name, _TYPES[column.kind], column) for column in table.columns]
    return [("key", "TEXT", None), *own, ("_record", "BLOB", None)]


def _unlike(tables: Tables, table: TableSchema, noted: TableSchema) -> str | None:
    """Answer how a table differs from what is asked for, in what is noted of it and in the file."""
    if noted != table:
        return f"has the columns {_told(noted)}, not {_told(table)}"
    there = {
        name: (type_, bool(must), primary)
        for _, name, type_, must, default, primary in tables.all(
            f'PRAGMA main.table_info("{table.name}")'
        )
        if name in {each[0] for each in _columns(table)} or (must and default is None)
    }
    asked = {
        name: (type_, column is None or not column.nullable, int(name == "key"))
        for name, type_, column in _columns(table)
    }
    if there != asked:
        return "was changed, so that rows of these columns do not fit it any more"
    return None


def _told(table: TableSchema) -> str:
    return ", ".join(
        f"{each.name} ({each.kind}{' or none' if each.nullable else ''})" for each in table.columns
    )


def kept_tables(tables: Tables) -> list[TableSchema]:
    """Answer the tables that were ever opened, by name."""
    found = (table_of(tables, name) for name in table_names(tables))
    return [table for table in found if table is not None]


def table_names(tables: Tables) -> list[str]:
    """Answer the names of the tables that were ever opened, in order."""
    rows = tables.all(
        "SELECT name FROM meta WHERE name BETWEEN ? AND ? ORDER BY name",
        _REGISTER,
        _REGISTER + "\x7f",
    )
    return [row[0].removeprefix(_REGISTER) for row in rows]


def table_of(tables: Tables, name: str) -> TableSchema | None:
    """Answer the table *name* if there is one."""
    row = tables.one("SELECT value FROM meta WHERE name = ?", _REGISTER + name)
    if row is None:
        return None
    return TableSchema(name, tuple(Column(*each) for each in json.loads(row[0])))


@attrs.frozen
class EndedRows:
    """The rows that come with the end of an item."""

    item: bytes
    of_tables: Sequence[TableRows]
    known: bool
    """Whether there may be rows of it."""


def put_rows(tables: Tables, ended: Iterable[EndedRows]) -> None:
    """Write rows in the place of those of their records; raises `DataError` for one refused."""
    written: dict[TableSchema, list[tuple[Any, ...]]] = {}
    for each in ended:
        record = each.item[:RECORD_BYTES]
        if each.known:
            # What came before is there by now, as if each were alone.
            _insert(tables, written)
            written = {}
            _drop_old(tables, record, each.of_tables)
        for of in each.of_tables:
            written.setdefault(of.table, []).extend((*row, record) for row in of.rows)
    _insert(tables, written)


def _drop_old(tables: Tables, record: bytes, of_tables: Sequence[TableRows]) -> None:
    """Drop the rows of *record* whose keys are not written again."""
    for of in of_tables:
        tables.do(
            f'DELETE FROM main."{of.table.name}" WHERE "_record" = ? '  # noqa: S608 - checked
            'AND "key" NOT IN (SELECT value FROM json_each(?))',
            record,
            json.dumps([row[0] for row in of.rows]),
        )


def _insert(tables: Tables, written: Mapping[TableSchema, list[tuple[Any, ...]]]) -> None:
    for table, rows in written.items():
        try:
            if rows:
                tables.do_many(_insertion(table), rows)
        except sqlite3.Error as error:
            if not is_of_the_data(error):
                raise
            raise DataError(f"the table {table.name!r} refuses a row: {error}") from error


@functools.lru_cache(maxsize=100)
def _insertion(table: TableSchema) -> str:
    names = [name for name, _, _ in _columns(table)]
    listed = ", ".join(f'"{name}"' for name in names)
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != "key")
    return (
        f'INSERT INTO main."{table.name}" ({listed}) '  # noqa: S608 - names are checked
        f"VALUES ({', '.join('?' * len(names))}) "
        f'ON CONFLICT ("key") DO UPDATE SET {changes}'
    )


def size_of(rows: Iterable[TableRows]) -> int:
    """Answer about how many bytes *rows* are."""
    return sum(
        len(value) if isinstance(value, str | bytes) else 8
        for each in rows
        for row in each.rows
        for value in row
    )


def count_rows(tables: Tables, items: Collection[bytes]) -> int:
    """Answer how many rows there are of the records and groups that *items* name."""
    return sum(
        tables.one(f'SELECT count(*) FROM main."{table.name}" WHERE "_record" = ?', record)[0]  # noqa: S608
        for table in kept_tables(tables)
        for record in {item[:RECORD_BYTES] for item in items}
    )


def drop_rows(tables: Tables, items: Collection[bytes]) -> None:
    """Drop the rows of the records and groups that *items* name, in all tables."""
    records = sorted({item[:RECORD_BYTES] for item in items})
    for table in kept_tables(tables):
        sql = f'DELETE FROM main."{table.name}" WHERE "_record" = ?'  # noqa: S608
        tables.do_many(sql, ((record,) for record in records))


def read_rows(tables: Tables, name: str, after: str | None, limit: int) -> list[dict[str, Any]]:
    """Answer rows of a table by column, in the order of their keys."""
    table = table_of(tables, name)
    if table is None:
        known = ", ".join(each.name for each in kept_tables(tables)) or "none"
        raise ConfigurationError(f"Sqlite.rows: table={name!r}; in the journal there is {known}")
    names = ", ".join(f'"{each}"' for each in ("key", *(column.name for column in table.columns)))
    where = "" if after is None else 'WHERE "key" > ?'
    rows = tables.all(
        f'SELECT {names} FROM main."{name}" {where} ORDER BY "key" LIMIT ?',  # noqa: S608
        *(() if after is None else (after,)),
        limit,
    )
    return [shown(table, row) for row in rows]
