"""Which tables of its journal a pipeline writes, by the sinks that it is made of."""

from __future__ import annotations

from genai_pipeline._journal_tables import TableSchema
from genai_pipeline._lifespan import every_part
from genai_pipeline.errors import ConfigurationError

__all__ = ["tables_of"]


def tables_of(*things: object) -> tuple[TableSchema, ...]:
    """
    Answer the tables of all sinks in *things* that write with the end of a record.

    Raises `ConfigurationError` when two of them have one name and not the same columns.
    """
    found: dict[str, TableSchema] = {}
    for thing in things:
        for part in every_part(thing):
            table = getattr(part, "table_schema", None)
            if isinstance(table, TableSchema) and found.setdefault(table.name, table) != table:
                raise ConfigurationError(
                    f"Pipeline: two sinks write the table {table.name!r}, with other columns; give "
                    "each a table of its own, or the same columns"
                )
    return tuple(found.values())
