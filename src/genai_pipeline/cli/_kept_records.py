"""What the commands ``dead`` and ``held`` do alike: listing records, and letting them go on."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from genai_pipeline._journal_admin import KeptRecord, Selector
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import reader, writer
from genai_pipeline.cli._selection import (
    ALL,
    counted,
    key_of,
    require_keys,
    require_pipeline,
    selected,
)
from genai_pipeline.cli._table import minute, print_json, print_table, say
from genai_pipeline.journals import Sqlite
from genai_pipeline.telemetry import _figures as figures

__all__ = ["list_records", "release_records"]

State = Literal["dead", "held"]


async def list_records(
    options: argparse.Namespace,
    state: State,
    plain: Callable[[KeptRecord], dict[str, Any]],
    *,
    moment: str,
) -> int:
    """Show the latest records of *state* as a table, whose first column is *moment*, or as JSON."""
    which = selected(options, state, needs_some=False)
    async with reader(options) as journal:
        await require_pipeline(journal, options)
        found = await journal.records(which, limit=options.limit + 1)
    shown = found[: options.limit]
    if options.json:
        print_json([plain(record) for record in shown])
    else:
        print_table([moment, "KEY", "STAGE", "ERROR", "MESSAGE"], [_row(each) for each in shown])
    if len(found) > len(shown):
        say(f"only the latest {len(shown)} are shown; --limit shows more")
    return Exit.DONE


def _row(record: KeptRecord) -> list[str]:
    return [
        minute(record.at),
        key_of(record),
        record.stage or "-",
        (record.error or "-").rpartition(".")[2],
        record.message or "",
    ]


async def release_records(
    options: argparse.Namespace,
    state: State,
    release: Callable[[Sqlite, Selector], Awaitable[int]],
    *,
    verb: tuple[str, str],
    then: str,
) -> int:
    """
    Let the selected records of *state* go on by *release*, or say which would.

    *verb* is how to say that, as "to release" and as "released"; *then* is what becomes of their
    calls.
    """
    which = selected(options, state, needs_some=True)
    if options.dry_run:
        async with reader(options) as journal:
            await require_pipeline(journal, options)
            found = await journal.records(which, limit=ALL)
        say(f"{counted(found)} would be {verb[1]}")
        require_keys(which.keys, found, state)
        return Exit.DONE
    async with await writer(options) as journal:
        await require_pipeline(journal, options)
        found = await journal.records(which, limit=ALL)
        say(f"{counted(found)} {verb[0]}")
        count = await release(journal, which) if found else 0
    if count:
        say(f"{figures.count(count)} go on with the next run; {then}")
        purged = sum(record.key is None for record in found)
        if purged:
            say(f"{figures.count(purged)} of them were purged: all their calls are made anew")
    require_keys(which.keys, found, state)
    return Exit.DONE
