"""A table in the book behind `Memory`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from genai_pipeline._identity import RECORD_BYTES
from genai_pipeline._journal_tables import TableRows, TableSchema

__all__ = ["BookTable", "shown"]


@attrs.define(eq=False)
class BookTable:
    """The rows of a table by key, each with the record or group it is of."""

    schema: TableSchema
    rows: dict[str, tuple[bytes, tuple[Any, ...]]] = attrs.field(factory=dict)
    _keys: dict[bytes, list[str]] = attrs.field(factory=dict)
    """Of the rows that each record, or group, has written last."""

    def put(self, item: bytes, given: TableRows) -> None:
        """Put rows in the place of those of *item*."""
        record = item[:RECORD_BYTES]
        self.drop([record])
        self.rows.update({row[0]: (record, row) for row in given.rows})
        self._keys[record] = [row[0] for row in given.rows]

    def drop(self, records: Iterable[bytes]) -> None:
        """Drop the rows of *records*."""
        for record in records:
            for key in self._keys.pop(record, ()):
                # Another record may have put a row there since, which may be gone too.
                if key in self.rows and self.rows[key][0] == record:
                    del self.rows[key]

    def read(self, after: str | None, limit: int) -> list[dict[str, Any]]:
        """Answer rows by column, in the order of their keys as databases have it."""
        found = sorted((key.encode(), row) for key, (_, row) in self.rows.items())
        behind = [row for key, row in found if after is None or key > after.encode()]
        return [shown(self.schema, row) for row in behind[:limit]]


def shown(table: TableSchema, row: Sequence[Any]) -> dict[str, Any]:
    """Answer a row, which begins with its key, by column, as what was written."""
    found = {"key": row[0]}
    for column, value in zip(table.columns, row[1:], strict=True):
        if value is not None and column.kind == "json":
            found[column.name] = json.loads(value)
        elif value is not None and column.kind == "boolean":
            found[column.name] = bool(value)
        else:
            found[column.name] = value
    return found
