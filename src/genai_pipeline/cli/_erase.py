"""The command ``erase``: nothing of a subject is left, and where else to look for it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from genai_pipeline._journal_admin import Erased
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import one_line
from genai_pipeline.cli._journal_file import perform, reader, writer
from genai_pipeline.cli._table import print_json, say
from genai_pipeline.telemetry import _figures as figures

__all__ = ["erase"]

_SHOWN = 10


def erase(options: argparse.Namespace) -> int:
    """Forget all that the journal keeps of a subject, and tell what it cannot reach."""
    return perform(_erase, options)


async def _erase(options: argparse.Namespace) -> int:
    async with reader(options) as journal:
        found = await journal.erase(options.subject, dry_run=True)
    # Told before, since once it is erased nobody can tell any more.
    if options.json:
        print_json(_plain(options, found))
    else:
        for number, line in enumerate(_elsewhere(found)):
            print(f"  {one_line(line)}" if number else line)
    if options.dry_run:
        say(f"{_counted(found)} would be erased")
        return Exit.DONE
    async with await writer(options) as journal:
        done = await journal.erase(options.subject)
    if not found.records and not done.records:
        say(f"{options.journal}: nothing is kept of this subject")
    else:
        say(f"{_counted(done)} erased; nothing of them is left in {options.journal}")
    return Exit.DONE


def _counted(found: Erased) -> str:
    told = f"{figures.count(found.records)} records with {figures.count(found.calls)} calls"
    if found.groups:
        told += f", and {figures.count(found.groups)} groups that they were in,"
    return told


def _elsewhere(found: Erased) -> Iterator[str]:
    if not found.records:
        return
    yield "what the journal cannot reach:"
    if found.keys:
        yield f"sinks: what was written under the keys {_some(found.keys)}"
    requests = Counter(provider for provider, _ in found.requests)
    for provider, number in sorted(requests.items()):
        ids = [request for name, request in found.requests if name == provider]
        yield f"{provider}: {figures.count(number)} calls, by request id {_some(ids)}"
    yield "sources, logs, and files of dead letters that were exported"
    yield "copies of the journal that were made before, unless it is encrypted"


def _some(names: tuple[str, ...] | list[str]) -> str:
    told = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{told} and {figures.count(more)} more (--json tells all)" if more > 0 else told


def _plain(options: argparse.Namespace, found: Erased) -> dict[str, object]:
    return {
        "subject": options.subject,
        "dry_run": options.dry_run,
        "records": found.records,
        "groups": found.groups,
        "calls": found.calls,
        "rows": found.rows,
        "keys": list(found.keys),
        "requests": [
            {"provider": provider, "request_id": request} for provider, request in found.requests
        ],
    }
