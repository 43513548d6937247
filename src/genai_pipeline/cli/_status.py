"""The command ``status``: how a journal is doing, also while a run has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from genai_pipeline._journal import ItemState
from genai_pipeline._journal_admin import BudgetLine, OpenCall, RunSummary
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import one_line
from genai_pipeline.cli._journal_file import perform, reader
from genai_pipeline.cli._table import dollars, iso, minute, print_json
from genai_pipeline.clock import SystemClock
from genai_pipeline.journals import JournalStatus, read_status
from genai_pipeline.money import from_nano
from genai_pipeline.telemetry import _figures as figures

__all__ = ["status"]

_MOST = 1_000_000
_LISTED = 1000


@attrs.frozen(kw_only=True)
class _Known:
    """What the file of a journal says of one pipeline."""

    name: str
    counts: Mapping[ItemState, int]
    last: RunSummary


def status(options: argparse.Namespace) -> int:
    """Print how the journal is doing: by its owner's word, else by its file."""
    said = read_status(options.journal)
    if said is not None and said.is_running is not False:
        _tell_live(options, said)
        return Exit.DONE
    return perform(partial(_read, said=said), options)


def _tell_live(options: argparse.Namespace, said: JournalStatus) -> None:
    if options.json:
        budgets = [{"budget": name, **_amounts(*use)} for name, use in said.budgets.items()]
        print_json(
            {
                "journal": str(Path(options.journal).absolute()),
                "source": "owner",
                "running": said.is_running,
                "owner": {**attrs.asdict(said.owner), "since": iso(said.owner.since)},
                "said_at": iso(said.at),
                "commits": said.commits,
                "full": said.full,
                "waits": dict(said.waits),
                "counts": dict(said.counts),
                "charged_usd": dollars(said.charged),
                "budgets": budgets,
            }
        )
        return
    for line in _live(options.journal, said):
        print(line)


def _live(path: str, said: JournalStatus) -> Iterator[str]:
    now = SystemClock().wall()
    owner = f"process {said.owner.pid} on {said.owner.host}"
    if said.is_running is None:
        owner += ", which cannot be seen from here"
    since = figures.span(max(0.0, now - said.owner.since))
    ago = figures.seconds(max(0.01, now - said.at))
    yield f"{path}: in use by {owner}, for {since}; said {ago} ago"
    yield _line("records", f"{_since(said.counts, 'records.', 'claimed', 'at work')} since then")
    yield _line("calls", f"{_since(said.counts, 'calls.', 'inflight', 'in flight')} since then")
    if said.charged:
        yield _line("charged", f"{figures.money(from_nano(said.charged))} since then")
    for name, (spent, reserved, cap) in said.budgets.items():
        yield _line("budget", f"{name}: {_used(spent, reserved, cap)}")
    for run, what in said.waits.items():
        yield _line("waits", f"run {run} for {what}")
    if said.full:
        yield _line("disk", "full: no new call is made until there is room")


def _since(counts: Mapping[str, int], kind: str, begun: str, going_on: str) -> str:
    """Tell how many have ended how, and how many go on: those begun that have no end yet."""
    ends = {
        name.removeprefix(kind): number
        for name, number in counts.items()
        if name.startswith(kind) and name != kind + begun
    }
    left = counts.get(kind + begun, 0) - sum(ends.values())
    return _counted({going_on: max(0, left), **ends})


async def _read(options: argparse.Namespace, *, said: JournalStatus | None) -> int:
    async with reader(options) as journal:
        pipelines = [
            _Known(
                name=name,
                counts=await journal.counts(name),
                last=(await journal.runs(pipeline=name, limit=1))[0],
            )
            for name in await journal.pipelines()
        ]
        unknown = await journal.open_calls(limit=_MOST)
        budgets = await journal.budgets()
    if options.json:
        print_json(_plain(options.journal, pipelines, unknown, budgets))
    else:
        for line in _lines(options.journal, said, pipelines, unknown, budgets):
            print(line)
    return Exit.DONE


def _plain(
    path: str,
    pipelines: Sequence[_Known],
    unknown: Sequence[OpenCall],
    budgets: Sequence[BudgetLine],
) -> dict[str, Any]:
    return {
        "journal": str(Path(path).absolute()),
        "source": "file",
        "running": False,
        "pipelines": [
            {
                "pipeline": each.name,
                "records": dict(each.counts),
                "last_run": {
                    "run": each.last.run,
                    "state": each.last.state,
                    "began_at": iso(each.last.began),
                    "ended_at": iso(each.last.ended),
                },
            }
            for each in pipelines
        ],
        "unknown_calls": len(unknown),
        "unknown": [_call(call) for call in unknown[:_LISTED]],
        "unknown_usd": dollars(sum(call.charged for call in unknown)),
        "budgets": [
            {
                "budget": each.budget,
                "window": each.window,
                **_amounts(each.spent, each.reserved, each.cap),
            }
            for each in budgets
        ],
    }


def _call(call: OpenCall) -> dict[str, Any]:
    return {
        "call": call.call,
        "key": call.key,
        "run": call.run,
        "stage": call.stage,
        "provider": call.provider,
        "model": call.model,
        "begun_at": iso(call.at),
        "charged_usd": dollars(call.charged),
    }


def _amounts(spent: int, reserved: int, cap: int) -> dict[str, str]:
    return {
        "spent_usd": dollars(spent),
        "reserved_usd": dollars(reserved),
        "cap_usd": dollars(cap),
    }


def _lines(
    path: str,
    said: JournalStatus | None,
    pipelines: Sequence[_Known],
    unknown: Sequence[OpenCall],
    budgets: Sequence[BudgetLine],
) -> Iterator[str]:
    yield f"{path}: no run has it{_parting(said)}"
    for each in pipelines:
        last = each.last
        yield _line(
            one_line(each.name), f"run {last.run} {last.state}, begun {minute(last.began)} UTC"
        )
        yield _line("  records", _counted(each.counts))
    if unknown:
        charged = from_nano(sum(call.charged for call in unknown))
        yield _line(
            "unknown",
            f"{figures.count(len(unknown))} calls may have been billed unanswered; they count "
            f"{figures.money(charged)}",
        )
    for line in budgets:
        used = _used(line.spent, line.reserved, line.cap)
        yield _line("budget", f"{' '.join(filter(None, (line.budget, line.window)))}: {used}")


def _parting(said: JournalStatus | None) -> str:
    if said is None or said.state == "closed":
        return ""
    if said.state == "stopped":
        return f"; process {said.owner.pid} gave up, since its storage failed"
    return f"; process {said.owner.pid} on {said.owner.host} died with it"


def _line(name: str, text: str) -> str:
    return f"  {name:<10}  {one_line(text)}"


def _counted(counts: Mapping[Any, int]) -> str:
    told = (f"{figures.count(number)} {state}" for state, number in counts.items() if number)
    return ", ".join(told) or "none"


def _used(spent: int, reserved: int, cap: int) -> str:
    told = f"{figures.money(from_nano(spent))} of {figures.money(from_nano(cap))} spent"
    return f"{told}, {figures.money(from_nano(reserved))} held" if reserved else told
