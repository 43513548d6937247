"""What ``resume`` tells before it runs: what the journal knows of the pipeline."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

from genai_pipeline._journal_admin import RunSummary
from genai_pipeline._lifespan import Lifespan
from genai_pipeline._plan import finished_for
from genai_pipeline._run_journal import publishes_at_end
from genai_pipeline.cli._table import minute
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.pipeline import Pipeline
from genai_pipeline.telemetry import _figures as figures

__all__ = ["tell_known"]

_GO_ON = ("ready", "claimed", "held")


async def tell_known(pipeline: Pipeline[Any, Any], *, quiet: bool) -> None:
    """
    Print what is passed by and what goes on; it is read from the journal alone.

    Raises `ConfigurationError` when *pipeline* has no journal.
    """
    journal = pipeline.journal
    if journal is None:
        raise ConfigurationError(
            f"resume: the pipeline {pipeline.name!r} has no journal, so nothing is known of "
            'earlier runs; give it journal=gp.Sqlite("run.db"), or use `run`'
        )
    if quiet:
        return
    async with Lifespan() as lifespan:
        await lifespan.enter(journal)
        runs = getattr(journal, "runs", None)
        last: Sequence[RunSummary] = (
            () if runs is None else await runs(pipeline=pipeline.name, limit=1)
        )
        finished = await finished_for(pipeline, journal)
        counts = await journal.counts(pipeline.name)
    # Those that were erased are passed by, and counted nowhere else.
    erased = len(getattr(finished, "erased", ()))
    passed = len(finished) - erased if isinstance(finished, Sized) else None
    for line in _lines(pipeline, last, counts, passed):
        print(line, file=sys.stderr)


def _lines(
    pipeline: Pipeline[Any, Any],
    last: Sequence[RunSummary],
    counts: Mapping[Any, int],
    passed: int | None,
) -> Iterator[str]:
    if not any(counts.values()):
        yield f"{pipeline.name}: the journal knows no record of it; this is its first run"
        return
    for run in last:
        yield f"{pipeline.name}: run {run.run} {run.state}, begun {minute(run.began)} UTC"
    unfinished = sum(counts.get(state, 0) for state in _GO_ON)
    if passed is not None:
        yield f"  {figures.count(passed)} records are passed by"
    if unfinished:
        yield f"  {figures.count(unfinished)} records go on; their answered calls are replayed"
    again = 0 if passed is None else sum(counts.values()) - unfinished - passed
    if again > 0:
        why = (
            "the sink publishes only when a run ends"
            if publishes_at_end(pipeline.sink)
            else "a stage has changed"
        )
        yield f"  {figures.count(again)} that have ended go through again, since {why}"
