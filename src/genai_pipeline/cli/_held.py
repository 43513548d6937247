"""The command ``held``: records that wait for money or for a person, and letting them go on."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from genai_pipeline._journal_admin import KeptRecord
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import perform, reader, writer
from genai_pipeline.cli._selection import ALL, counted, key_of, selected
from genai_pipeline.cli._table import iso, minute, print_json, print_table
from genai_pipeline.telemetry import _figures as figures

__all__ = ["held"]

_SHOWN = ("pipeline", "generation", "stage", "error", "category", "message")


def held(options: argparse.Namespace) -> int:
    """Do what is asked with the held records that are selected."""
    actions = {"list": _list, "release": _release}
    return perform(actions[options.action], options)


async def _list(options: argparse.Namespace) -> int:
    which = selected(options, "held", needs_some=False)
    async with reader(options) as journal:
        found = await journal.records(which, limit=options.limit + 1)
    shown = found[: options.limit]
    if options.json:
        print_json([_plain(record) for record in shown])
    else:
        rows = [
            [
                minute(record.at),
                key_of(record),
                record.stage or "-",
                record.error or "-",
                record.message or "",
            ]
            for record in shown
        ]
        print_table(["HELD (UTC)", "KEY", "STAGE", "ERROR", "MESSAGE"], rows)
    if len(found) > len(shown):
        _say(f"only the latest {len(shown)} are shown; --limit shows more")
    return Exit.DONE


async def _release(options: argparse.Namespace) -> int:
    which = selected(options, "held", needs_some=True)
    if options.dry_run:
        async with reader(options) as journal:
            found = await journal.records(which, limit=ALL)
        _say(f"{counted(found)} would be released")
        return Exit.DONE
    async with await writer(options) as journal:
        found = await journal.records(which, limit=ALL)
        _say(f"{counted(found)} to release")
        count = await journal.release(which) if found else 0
    if count:
        _say(
            f"{figures.count(count)} go on with the next run; their calls of unknown outcome are "
            "given up: they count at the most they can cost, and are made again"
        )
    return Exit.DONE


def _plain(record: KeptRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "held_at": iso(record.at),
        **{name: getattr(record, name) for name in _SHOWN},
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr)
