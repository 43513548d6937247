"""The command ``journal table``: the rows that sinks keep in a journal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs

from genai_pipeline import sinks
from genai_pipeline._encode import encode_json
from genai_pipeline._journal_tables import Column, TableSchema
from genai_pipeline.cli._edges import sink as sink_of
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import reader
from genai_pipeline.cli._table import print_table
from genai_pipeline.cli._target import UsageError
from genai_pipeline.journals import SqliteReader
from genai_pipeline.records import Record
from genai_pipeline.telemetry import _figures as figures

__all__ = ["table"]

_AT_ONCE = 1000


async def table(options: argparse.Namespace) -> int:
    """Write the rows of a table, or tell which tables there are."""
    async with reader(options) as journal:
        tables = {each.name: each for each in await journal.tables()}
        if options.name is None:
            rows = [[name, _told(each.columns)] for name, each in tables.items()]
            print_table(["TABLE", "COLUMNS"], rows)
            return Exit.DONE
        if options.name not in tables:
            known = ", ".join(tables) or "none"
            raise UsageError(f"there is no table {options.name!r} in it; there is {known}")
        count = await _write(journal, tables[options.name], options.output)
    print(f"{options.name}: {figures.count(count)} rows", file=sys.stderr)
    return Exit.DONE


async def _write(journal: SqliteReader, table: TableSchema, output: str) -> int:
    """Write all rows of *table* to *output*; answer how many."""
    count = 0
    if output == "-":
        async for row in _rows(journal, table.name):
            print(encode_json(row, ascii_only=True))
            count += 1
        return count
    sink = sink_of(output, None)
    if isinstance(sink, sinks.Csv):
        sink = attrs.evolve(sink, fields=("key", *(column.name for column in table.columns)))
    async with sink:
        async for row in _rows(journal, table.name):
            await sink(Record(row, row["key"]))
            count += 1
    return count


async def _rows(journal: SqliteReader, name: str) -> AsyncIterator[Mapping[str, Any]]:
    after = None
    while rows := await journal.rows(name, after=after, limit=_AT_ONCE):
        for row in rows:
            yield row
        after = rows[-1]["key"]


def _told(columns: tuple[Column, ...]) -> str:
    return ", ".join(["key", *(column.name for column in columns)])
