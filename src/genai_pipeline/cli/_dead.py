"""The command ``dead``: records that failed for good, and what to do with them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from genai_pipeline._journal_admin import KeptRecord, Selector
from genai_pipeline.cli._edges import dead_letters
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import one_line
from genai_pipeline.cli._journal_file import perform, reader
from genai_pipeline.cli._kept_records import list_records, release_records
from genai_pipeline.cli._selection import (
    ALL,
    key_of,
    require_keys,
    require_pipeline,
    selected,
)
from genai_pipeline.cli._table import iso, minute, print_json, say
from genai_pipeline.journals import SqliteReader
from genai_pipeline.records import Record
from genai_pipeline.telemetry import _figures as figures

__all__ = ["dead"]

_SHOWN = ("pipeline", "generation", "stage", "error", "category", "message", "attempts")


def dead(options: argparse.Namespace) -> int:
    """Do what is asked with the dead records that are selected."""
    actions = {"list": _list, "show": _show, "redrive": _redrive, "export": _export}
    return perform(actions[options.action], options)


async def _list(options: argparse.Namespace) -> int:
    return await list_records(options, "dead", _plain, moment="DIED (UTC)")


async def _show(options: argparse.Namespace) -> int:
    which = Selector(pipeline=options.pipeline, keys=tuple(options.keys))
    async with reader(options) as journal:
        await require_pipeline(journal, options)
        found = await journal.records(which, limit=ALL)
        letters = [await _letter(journal, record) for record in found]
    if options.json:
        pairs = zip(found, letters, strict=True)
        print_json([{**_plain(record), "letter": letter} for record, letter in pairs])
    else:
        for record, letter in zip(found, letters, strict=True):
            _print_record(record, letter)
    require_keys(options.keys, found, "dead")
    return Exit.DONE


def _print_record(record: KeptRecord, letter: dict[str, Any] | None) -> None:
    print(f"{one_line(key_of(record))}")
    print(f"  {'died':<12}{minute(record.at)} UTC")
    for name in _SHOWN:
        value = getattr(record, name)
        if value not in (None, ""):
            print(f"  {name:<12}{one_line(str(value))}")
    for name in ("payload", "attributes", "trace"):
        if letter and (letter.get(name) or name == "payload"):  # which may be 0, "" or null
            print(f"  {name}")
            value = letter[name]
            text = value if name == "trace" else json.dumps(value, indent=2)
            for line in str(text).splitlines():
                print(f"    {_safe(line)}")


def _safe(line: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)


async def _redrive(options: argparse.Namespace) -> int:
    calls = "all calls are made anew" if options.fresh else "answered calls are used again"
    return await release_records(
        options,
        "dead",
        lambda journal, which: journal.redrive(which, reuse=not options.fresh),
        verb=("to redrive", "redriven"),
        then=calls,
    )


async def _export(options: argparse.Namespace) -> int:
    which = selected(options, "dead", needs_some=True)
    count = purged = 0
    async with reader(options) as journal:
        await require_pipeline(journal, options)
        found = await journal.records(which, limit=ALL)
        if options.output == "-":
            for record in found:
                letter = await _letter(journal, record)
                purged += letter is None
                if letter is not None:
                    print(json.dumps(letter))
        else:
            async with dead_letters(options.output, None, "--output") as sink:
                for record in found:
                    letter = await _letter(journal, record)
                    purged += letter is None
                    if letter is not None:
                        await sink(Record(letter, key_of(record)))
        count = len(found) - purged
    gone = f"; {figures.count(purged)} were purged before" if purged else ""
    say(f"dead letters exported: {figures.count(count)}{gone}")
    require_keys(which.keys, found, "dead")
    return Exit.DONE


async def _letter(journal: SqliteReader, record: KeptRecord) -> dict[str, Any] | None:
    kept = await journal.letter(record.item)
    if kept is None:
        return None
    letter: dict[str, Any] = json.loads(kept)
    return letter


def _plain(record: KeptRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "died_at": iso(record.at),
        **{name: getattr(record, name) for name in _SHOWN},
        "environment": record.environment,
        "crashes": record.crashes,
    }
