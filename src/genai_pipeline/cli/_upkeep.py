"""The commands ``journal`` and ``purge``: whether a journal is whole, copies of it, its size."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import anyio.to_thread

from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import one_line
from genai_pipeline.cli._journal_file import existing, perform, reader, writer
from genai_pipeline.cli._rows import table
from genai_pipeline.cli._selection import require_pipeline
from genai_pipeline.cli._table import print_json, say
from genai_pipeline.clock import SystemClock
from genai_pipeline.journals import salvage
from genai_pipeline.telemetry import _figures as figures

__all__ = ["journal", "purge"]


def journal(options: argparse.Namespace) -> int:
    """Check, salvage, back up, vacuum or rotate, or read a table."""
    actions = {"check": _check, "salvage": _salvage, "backup": _backup, "table": table}
    actions |= {"vacuum": _vacuum, "rotate": _rotate}
    return perform(actions[options.action], options)


def purge(options: argparse.Namespace) -> int:
    """Forget what records were that ended long ago."""
    return perform(_purge, options)


async def _check(options: argparse.Namespace) -> int:
    async with reader(options) as kept:
        found = await kept.check()
    if options.json:
        print_json({"fine": not found, "problems": list(found)})
    else:
        for problem in found:
            print(one_line(problem))
    if not found:
        say(f"{options.journal}: all is well")
        return Exit.DONE
    say(
        f"{options.journal}: problems found: {len(found)}; `genai-pipeline journal salvage "
        f"{options.journal} NEW` brings what can be read into a new journal"
    )
    return Exit.FAILED


async def _salvage(options: argparse.Namespace) -> int:
    found = await anyio.to_thread.run_sync(salvage, existing(options.journal), options.to)
    rows = ", ".join(f"{figures.count(number)} {table}" for table, number in found.rows.items())
    say(f"{options.to}: {rows}")
    if found.damaged:
        say(f"parts could not be read of: {', '.join(found.damaged)}")
    if found.lost_answers:
        say(
            f"answers that are not whole: {figures.count(len(found.lost_answers))}; their calls "
            "count at what they cost, and are made again"
        )
    return Exit.DONE


async def _backup(options: argparse.Namespace) -> int:
    async with reader(options) as kept:
        await kept.backup(Path(options.to))
    say(f"{options.to}: {_size(options.to)}")
    keys = f"{options.journal}.keys"
    if os.access(keys, os.F_OK):
        say(f"the keys of subjects are not in it: {keys} has to be kept apart, and not for long")
    return Exit.DONE


async def _rotate(options: argparse.Namespace) -> int:
    async with await writer(options) as kept:
        key_id = await kept.rotate()
    say(f"{options.journal}: its data key is under the key {key_id} now")
    return Exit.DONE


async def _vacuum(options: argparse.Namespace) -> int:
    async with await writer(options) as kept:
        before = _size(options.journal)
        await kept.vacuum()
    say(f"{options.journal}: {before} before, {_size(options.journal)} now")
    return Exit.DONE


async def _purge(options: argparse.Namespace) -> int:
    before = SystemClock().wall() - options.older_than
    if options.dry_run:
        async with reader(options) as kept:
            await require_pipeline(kept, options)
            found = await kept.purge(before, pipeline=options.pipeline, dry_run=True)
        say(
            f"{figures.count(found.records)} records and {figures.count(found.calls)} calls would "
            "be forgotten"
        )
        return Exit.DONE
    async with await writer(options) as kept:
        await require_pipeline(kept, options)
        found = await kept.purge(before, pipeline=options.pipeline)
    say(
        f"{figures.count(found.records)} records and {figures.count(found.calls)} calls forgotten; "
        "`journal vacuum` makes the file smaller"
    )
    return Exit.DONE


def _size(path: str) -> str:
    return figures.size(Path(path).stat().st_size)
