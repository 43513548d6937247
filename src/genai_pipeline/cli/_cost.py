"""The command ``cost``: what calls cost, by whatever they are grouped by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import attrs

from genai_pipeline._journal_admin import CostLine
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import perform, reader
from genai_pipeline.cli._selection import ALL, require_pipeline
from genai_pipeline.cli._table import dollars, print_json, print_table, say
from genai_pipeline.cli._target import UsageError
from genai_pipeline.journals import SqliteReader
from genai_pipeline.money import from_nano
from genai_pipeline.telemetry import _figures as figures

__all__ = ["cost"]

_FIGURES = tuple(field.name for field in attrs.fields(CostLine) if field.name != "group")
_MONEY = {"charged": "charged_usd", "failed_charged": "failed_charged_usd"}
_HEADER = ("CALLS", "FAILED", "UNKNOWN", "IN", "OUT", "FAILED $", "COST $")


def cost(options: argparse.Namespace) -> int:
    """Print what calls cost, and the total."""
    return perform(_cost, options)


async def _cost(options: argparse.Namespace) -> int:
    by: Sequence[str] = options.by
    async with reader(options) as journal:
        await require_pipeline(journal, options)
        lines = await journal.costs(by, pipeline=options.pipeline, run=options.run)
        if options.run is not None and not lines:
            await _require_run(journal, options)
    for name in by:
        if lines and not any(line.group[name] for line in lines):
            say(f"no call has the attribute {name!r}; only attributes that are text are kept")
    total = _total(lines)
    if options.json:
        groups = [{"group": dict(line.group), **_plain(line)} for line in lines]
        print_json({"by": list(by), "groups": groups, "total": _plain(total)})
        return Exit.DONE
    rows = [[*(line.group[name] or "-" for name in by), *_row(line)] for line in lines]
    rows.append(["total", *[""] * (len(by) - 1), *_row(total)])
    header = [*(name.upper() for name in by), *_HEADER]
    print_table(header, rows, right=range(len(by), len(header)))
    return Exit.DONE


async def _require_run(journal: SqliteReader, options: argparse.Namespace) -> None:
    runs = await journal.runs(pipeline=options.pipeline, limit=ALL)
    if options.run not in {run.run for run in runs}:
        raise UsageError(f"--run {options.run}: no such run; `runs {options.journal}` lists them")


def _total(lines: Sequence[CostLine]) -> CostLine:
    sums: dict[str, int] = {name: sum(getattr(line, name) for line in lines) for name in _FIGURES}
    return CostLine(group={}, **sums)


def _plain(line: CostLine) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in _FIGURES:
        figure = getattr(line, name)
        if name in _MONEY:
            plain[_MONEY[name]] = dollars(figure)
        else:
            plain[name] = figure
    return plain


def _row(line: CostLine) -> list[str]:
    return [
        figures.count(line.calls),
        figures.count(line.failed),
        figures.count(line.unknown),
        figures.tokens(line.input_tokens),
        figures.tokens(line.output_tokens),
        figures.money(from_nano(line.failed_charged)).removeprefix("$"),
        figures.money(from_nano(line.charged)).removeprefix("$"),
    ]
