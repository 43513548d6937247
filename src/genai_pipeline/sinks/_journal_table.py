"""`JournalTable`: rows in the journal of the pipeline, in the commit that ends their record."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin

import attrs

from genai_pipeline._encode import encode_json, fields_of
from genai_pipeline._journal_tables import Column, ColumnKind, TableSchema
from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.records import Record
from genai_pipeline.sinks._cells import cell_of
from genai_pipeline.sinks._row_keys import row_key
from genai_pipeline.walk import current_walk

__all__ = ["JournalTable"]

_TABLE = re.compile(r"(?!sqlite_|gp_)[a-z_][a-z0-9_]{0,62}")
_COLUMN = re.compile(r"(?!key$)[A-Za-z][A-Za-z0-9_]{0,62}", re.IGNORECASE)
_MOST_COLUMNS = 500

_KINDS: Mapping[object, ColumnKind] = {
    str: "text",
    int: "integer",
    float: "real",
    bool: "boolean",
    bytes: "blob",
    dict: "json",
    list: "json",
    object: "json",
}

_ONE_VALUE = (Column("value", "json"),)


def _is_table(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, str) and _TABLE.fullmatch(value) is not None
    allowed = "a-z, 0-9 and _ (63 at most, no digit first, not sqlite_ or gp_ first)"
    check(fine, owner, option.name, value, allowed)


def _are_columns(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    fine = isinstance(value, Mapping) and 0 < len(value) <= _MOST_COLUMNS
    check(fine, owner, option.name, value, "the columns and their types, one at least")
    assert isinstance(value, Mapping)
    for name, kind in value.items():
        fine = isinstance(name, str) and _COLUMN.fullmatch(name) is not None
        allowed = "ASCII letters, digits and _ (63 at most, a letter first), and not key"
        check(fine, owner, f"{option.name}, name", name, allowed)
        allowed = "str, int, float, bool, bytes, or object for any JSON; each may be `| None`"
        check(_kind_of(kind)[0] is not None, owner, f"{option.name}[{name!r}]", kind, allowed)
    folded = {name.lower() for name in value}
    check(len(folded) == len(value), owner, option.name, value, "each column once, in any case")


def _kind_of(told: object) -> tuple[ColumnKind | None, bool]:
    """Answer what a column of the type *told* holds, and whether it may hold nothing."""
    if get_origin(told) not in (Union, types.UnionType):
        return _kind_of_one(told), False
    kinds = [each for each in get_args(told) if each is not types.NoneType]
    kind = _kind_of_one(kinds[0]) if len(kinds) == 1 else None
    return kind, len(kinds) < len(get_args(told))


def _kind_of_one(told: object) -> ColumnKind | None:
    try:
        return _KINDS.get(get_origin(told) or told)
    except TypeError:  # it cannot be looked up, and is no type
        return None


@attrs.frozen(eq=False)
class JournalTable:
    """
    Writes each value as a row of *table* in the pipeline's journal, in the commit of its end.

    The row and the journal's word that its record is done are one commit: neither is ever there
    without the other, and no disk is waited for twice. So what a record leaves, be it many rows or
    none, is there exactly once. When it is made anew, redriven or by a changed version of a
    stage, its rows in the tables of that pipeline are replaced; if it fails or is filtered
    then, they are dropped. Erasing a subject drops its rows too; purging leaves them.

    Without *columns*, a row is ``key``, the primary key, and ``value``, the value as JSON. With
    them, values have named fields: mappings, attrs or data classes with exactly these.
    A key that is there already has its row replaced, whoever wrote it.

    Read them by ``await journal.rows(table)``, also while a run goes on; after it, the journal is a
    SQLite file that any program may read. **Durable when the record has ended**, which is before
    its source is told, and not yet when the call returns.

    Raises `ConfigurationError` when a pipeline is made without a journal that keeps tables, before
    a run when the journal is encrypted or its table has other columns, and when it is called
    where the pipeline does not see it; `DataError` for a record without a key, and for a value that
    does not fit the columns, for that record alone. So does a constraint that others put on the
    table: the record is dead then, and those it shares a commit with are not.
    """

    table: str = attrs.field(validator=_is_table)
    """The table's name; made if it is missing."""

    columns: Mapping[str, Any] | None = attrs.field(
        default=None, kw_only=True, validator=_are_columns
    )
    """
    The columns beside ``key`` with their types: ``{"city": str, "score": float | None}``.

    `str`, `int`, `float`, `bool`, `bytes`, and `object` for any value as JSON; what may be missing
    is ``| None``.
    """

    table_schema: TableSchema = attrs.field(init=False, repr=False)
    """What the journal is asked to keep."""

    def __attrs_post_init__(self) -> None:
        schema = TableSchema(self.table, _columns_of(self.columns))
        object.__setattr__(self, "table_schema", schema)  # once, and for good

    async def __call__(self, record: Record[object], /) -> None:
        """Have the record's value written as the row of its key, when its record ends."""
        walk = current_walk()
        if walk is None or walk.rows is None:
            raise ConfigurationError(
                f"JournalTable: the table {self.table!r} is written in pipelines with a journal "
                "alone; give it to a Pipeline as sink=, dead_letters= or in gp.tee"
            )
        walk.rows.put(self.table_schema, (row_key(record), *self._cells(record.value)))

    def _cells(self, value: object) -> tuple[Any, ...]:
        if self.columns is None:
            return (encode_json(value),)
        fields = fields_of(value)
        if fields is None:
            raise DataError(
                f"value is a {type(value).__qualname__} without named fields; a row needs a "
                "mapping, an attrs or a data class: convert it in a stage before the sink"
            )
        extra = [repr(name) for name in fields if name not in self.columns]
        if extra:
            raise DataError(
                f"value has the field {', '.join(extra)[:200]}, which is no column of "
                f"{self.table!r}; name it in columns=, or drop it in a stage before the sink"
            )
        return tuple(cell_of(column, fields) for column in self.table_schema.columns)


def _columns_of(columns: Mapping[str, Any] | None) -> tuple[Column, ...]:
    if columns is None:
        return _ONE_VALUE
    found = []
    for name, told in columns.items():
        kind, nullable = _kind_of(told)
        assert kind is not None, "was validated"
        found.append(Column(name, kind, nullable))
    return tuple(found)
