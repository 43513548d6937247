"""What is lost, and paid twice, by a worker that is killed again and again until it is done."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import attrs

from benchmarks.calls import simulated_server
from benchmarks.harness import Goal, Table
from benchmarks.journal import folder_on_disk
from benchmarks.mortal_worker import IN_FLIGHT, STEPS

_LIFE = 0.3
"""Seconds that a worker lives after its first call, so that nobody's imports count."""

_LIVES = 200
_CASES = {"asyncio + tenacity": "naive", "DBOS over SQLite": "dbos", "genai_pipeline": "ours"}


@attrs.frozen(kw_only=True)
class Damage:
    """What it came to, in calls and records."""

    kills: int
    twice: int
    lost: int
    wrong: int
    over: int


def _live(kind: str, folder: Path, url: str, count: int, cap: int) -> bool:
    """Let one worker live for a moment; tell whether it came to its end."""
    command = [sys.executable, "-m", "benchmarks.mortal_worker"]
    told = (kind, str(folder), url, str(count), str(cap))
    billed = (folder / "bill").stat().st_size
    with subprocess.Popen([*command, *told], stderr=subprocess.DEVNULL) as worker:
        while worker.poll() is None and (folder / "bill").stat().st_size == billed:
            time.sleep(0.005)
        try:
            worker.wait(_LIFE)
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGKILL)
        return worker.wait() != -signal.SIGKILL


def _work(kind: str, count: int, cap: int) -> Damage:
    with folder_on_disk() as folder:
        bill, out = folder / "bill", folder / "out.jsonl"
        with simulated_server(str(bill)) as url:
            kills = next(life for life in range(_LIVES) if _live(kind, folder, url, count, cap))
        lines = [line.split() for line in bill.read_text().splitlines()]
        billed = Counter(prompt for what, prompt in lines if what == "billed")
        answered = Counter(prompt for what, prompt in lines if what == "answered")
        text = out.read_text() if out.exists() else ""
        written = Counter(json.loads(line)[0] for line in text.splitlines())
        return Damage(
            kills=kills,
            twice=billed.total() - len(billed),
            lost=answered.total() - len(answered),
            wrong=sum(abs(written[record] - 1) for record in range(count)),
            over=max(0, billed.total() - cap) if cap else 0,
        )


def measure(*, smoke: bool = False) -> list[Table]:
    """Kill each until it is done; then once more with money for half of it."""
    count, rounds = (10, 1) if smoke else (60, 3)
    half = count * STEPS // 2
    cases = {
        case: kind
        for case, kind in _CASES.items()
        if kind != "dbos" or importlib.util.find_spec("dbos")
    }
    whole: dict[str, list[Damage]] = {case: [] for case in cases}
    short: dict[str, list[Damage]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, kind in cases.items():
            whole[case].append(_work(kind, count, 0))
            short[case].append(_work(kind, count, half))
    missing = () if len(cases) == len(_CASES) else ("dbos: not installed, not measured",)
    return [
        _table(f"{name}, of {count * STEPS:,} calls for {count} records", unit, what, runs, missing)
        for name, unit, what, runs in (
            ("Kill and restart: paid twice", "calls", "twice", whole),
            (
                "Kill and restart: answers that were sent and bought again",
                "calls",
                "lost",
                whole,
            ),
            ("Kill and restart: lost or doubled in the output", "records", "wrong", whole),
            (f"Kill and restart: billed beyond a cap of {half:,} calls", "calls", "over", short),
        )
    ]


def _table(
    title: str, unit: str, what: str, runs: dict[str, list[Damage]], missing: tuple[str, ...]
) -> Table:
    ours = "genai_pipeline"
    kills = ", ".join(f"{case} {[each.kills for each in seen]}" for case, seen in runs.items())
    return Table(
        title=title,
        unit=unit,
        runs={case: [getattr(each, what) for each in seen] for case, seen in runs.items()},
        baseline=next(iter(runs)),
        # What was sent but not yet kept at a kill, nobody can save.
        goals=() if what in {"twice", "lost"} else (Goal(ours, at_most=0),),
        notes=(f"{IN_FLIGHT} in flight; kills in each round: {kills}", *missing),
    )
