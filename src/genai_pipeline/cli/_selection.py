"""Which records a command is about, by its options, and how they are told."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from genai_pipeline._journal_admin import KeptRecord, Selector
from genai_pipeline.cli._target import UsageError
from genai_pipeline.journals import Sqlite, SqliteReader
from genai_pipeline.telemetry import _figures as figures

__all__ = ["ALL", "counted", "key_of", "require_keys", "require_pipeline", "selected"]

ALL = 1_000_000_000
"""More records than there are."""

_RUNS = 1000


def selected(
    options: argparse.Namespace, state: Literal["dead", "held"], *, needs_some: bool
) -> Selector:
    """Answer which records of *state* are meant; raises `UsageError` without a choice."""
    which = Selector(
        state=state,
        pipeline=options.pipeline,
        keys=tuple(options.key),
        stage=options.stage,
        error=None if options.error is None else options.error.rpartition(".")[2],
        category=options.category,
        since=options.since,
        until=options.until,
    )
    if which == Selector(state=state) and needs_some and not options.all:
        raise UsageError(
            f"{state} {options.action}: say which records: --key, --stage, --error, --category, "
            "--since, --until or --pipeline; or --all"
        )
    if which != Selector(state=state) and options.all:
        raise UsageError(f"{state} {options.action}: --all goes with no other choice of records")
    return which


async def require_pipeline(journal: Sqlite | SqliteReader, options: argparse.Namespace) -> None:
    """Raise `UsageError` when *options* name a pipeline of which *journal* knows no run."""
    name = options.pipeline
    if name is None or await journal.runs(pipeline=name, limit=1):
        return
    known = sorted({run.pipeline for run in await journal.runs(limit=_RUNS)})
    there = f"there {'is' if len(known) == 1 else 'are'} {', '.join(known) or 'none'}"
    raise UsageError(f"--pipeline {name}: no run of it is in {options.journal}; {there}")


def require_keys(keys: Iterable[str], found: Iterable[KeptRecord], state: str) -> None:
    """Raise `UsageError` when a record of *state* was *found* for not all of the *keys*."""
    missing = sorted(set(keys) - {record.key for record in found})
    if missing:
        raise UsageError(f"no {state} record has the key {missing[0]!r}; `{state} list` shows them")


def counted(records: Sequence[KeptRecord]) -> str:
    """Answer how many *records* there are, and of which errors."""
    errors = Counter((record.error or "-").rpartition(".")[2] for record in records)
    told = ", ".join(f"{figures.count(number)} {name}" for name, number in errors.most_common())
    noun = "record" if len(records) == 1 else "records"
    return f"{figures.count(len(records))} {noun}" + (f" ({told})" if told else "")


def key_of(record: KeptRecord) -> str:
    """Answer the key of *record*, as far as it is known."""
    return "(purged)" if record.key is None else record.key
