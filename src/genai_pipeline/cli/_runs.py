"""The command ``runs``: the runs that a journal knows."""

from __future__ import annotations

import argparse
from typing import Any

from genai_pipeline._journal_admin import RunSummary
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import perform, reader
from genai_pipeline.cli._selection import require_pipeline
from genai_pipeline.cli._table import iso, minute, print_json, print_table
from genai_pipeline.telemetry import _figures as figures

__all__ = ["runs"]

_ENDS = ("written", "filtered", "dead", "handed_back", "skipped")


def runs(options: argparse.Namespace) -> int:
    """Print the latest runs, the newest first."""
    return perform(_runs, options)


async def _runs(options: argparse.Namespace) -> int:
    async with reader(options) as journal:
        await require_pipeline(journal, options)
        found = await journal.runs(pipeline=options.pipeline, limit=options.limit)
    if options.json:
        print_json([_plain(run) for run in found])
        return Exit.DONE
    rows = [
        [str(run.run), run.pipeline, run.state, minute(run.began), _took(run), _counted(run)]
        for run in found
    ]
    print_table(["RUN", "PIPELINE", "STATE", "BEGAN (UTC)", "TOOK", "RECORDS"], rows, right={0, 4})
    return Exit.DONE


def _took(run: RunSummary) -> str:
    return "-" if run.ended is None else figures.span(max(0.0, run.ended - run.began))


def _counted(run: RunSummary) -> str:
    told = [
        f"{figures.count(run.counts[end])} {end.replace('_', ' ')}"
        for end in _ENDS
        if run.counts.get(end)
    ]
    return ", ".join(told) or "-"


def _plain(run: RunSummary) -> dict[str, Any]:
    return {
        "run": run.run,
        "pipeline": run.pipeline,
        "state": run.state,
        "began_at": iso(run.began),
        "ended_at": iso(run.ended),
        "counts": dict(run.counts),
        "fingerprint": run.fingerprint,
        "version": run.version,
        "stages": list(run.stages),
    }
