"""The command ``plan``: what a run would reuse, make and cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anyio
import attrs

from genai_pipeline._plan import Plan
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import exit_of, explain
from genai_pipeline.cli._run import check_backend, target_of
from genai_pipeline.cli._session import pipeline_of
from genai_pipeline.cli._table import print_json, print_table
from genai_pipeline.telemetry import _figures as figures

__all__ = ["plan"]


def plan(options: argparse.Namespace) -> int:
    """Print the plan of the pipeline that *options* name; answer the exit code."""
    try:
        check_backend(options.backend)
        found = anyio.run(_made, options, backend=options.backend)
    except Exception as error:  # noqa: BLE001 - explained, and told by the exit code
        explain(error, sys.stderr, verbose=False)
        return exit_of(error)
    if options.json:
        print_json(attrs.asdict(found, value_serializer=_plain))
        return Exit.DONE
    for line in _lines(found):
        print(line)
    if found.lines:
        rows = [
            [line.stage, line.model, figures.count(line.calls), figures.money(line.cost)]
            for line in found.lines
        ]
        print_table(["STAGE", "MODEL", "NEW CALLS", "EXPECTED COST"], rows, right={2, 3})
    return Exit.DONE


async def _made(options: argparse.Namespace) -> Plan:
    pipeline = await pipeline_of(target_of(options), options)
    return await pipeline.plan(sample=options.walk)


def _plain(_: object, __: object, value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _lines(found: Plan) -> Iterator[str]:
    finished, begun = figures.count(found.finished), figures.count(found.begun)
    yield f"records   {figures.count(found.records)}: {finished} finished, {begun} begun"
    yield f"reuse     {figures.count(found.reuse)} answered calls"
    yield f"unknown   {figures.count(found.unknown)} calls that may have been billed unanswered"
    if found.new is None or found.expected_cost is None:
        yield "new       cannot be told before a record has ended"
    else:
        cost = figures.money(found.expected_cost)
        yield f"new       about {figures.count(found.new)} calls, about {cost}"
        if found.untried:
            yield f"untried   {', '.join(found.untried)}: what it calls is not among the new ones"
    if found.sampled:
        likely = "unknown" if found.likely_cost is None else figures.money(found.likely_cost)
        worst = "no bound" if found.worst_cost is None else figures.money(found.worst_cost)
        walked, calls = figures.count(found.sampled), figures.count(found.next_calls)
        yield f"walked    {walked} records to {calls} new calls: likely {likely}, at worst {worst}"
