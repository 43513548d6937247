"""Measuring by turns, so that a noisy machine is unfair to all alike; medians and ratios."""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Goal", "Table", "child", "machine", "report", "take_turns"]


@attrs.frozen
class Goal:
    """What a case is meant to reach."""

    case: str
    at_least: float | None = None
    at_most: float | None = None
    ratio: bool = False
    """Whether the goal is for the ratio to the baseline, and not for the value itself."""

    def __str__(self) -> str:
        unit = " x" if self.ratio else ""
        if self.at_least is not None:
            return f"goal: {self.case} >= {self.at_least:,g}{unit}"
        return f"goal: {self.case} <= {self.at_most:,g}{unit}"

    def is_met(self, table: Table) -> bool:
        """Tell whether the median of the case is on the right side."""
        value = (table.ratios if self.ratio else table.medians)[self.case]
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


@attrs.frozen(kw_only=True)
class Table:
    """The measured values of several cases, from one run on one machine."""

    title: str
    unit: str
    runs: Mapping[str, list[float]]
    baseline: str
    """The case that the ratios compare with."""

    goals: tuple[Goal, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def medians(self) -> dict[str, float]:
        """The middle of what was measured, for each case."""
        return {case: statistics.median(values) for case, values in self.runs.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """The middle of the ratios to the baseline in the same round, for each case."""
        base = self.runs[self.baseline]
        return {
            case: statistics.median(
                value / other if other else (math.inf if value else 1.0)
                for value, other in zip(values, base, strict=True)
            )
            for case, values in self.runs.items()
        }

    def __str__(self) -> str:
        medians, ratios = self.medians, self.ratios
        width = max(len(case) for case in medians)
        lines = [f"{self.title} ({self.unit}; median of {len(self.runs[self.baseline])})"]
        for case, median in medians.items():
            values = self.runs[case]
            spread = f"{_plain(min(values))} to {_plain(max(values))}"
            lines.append(
                f"  {case:<{width}}  {_plain(median):>11} {ratios[case]:8.2f} x   ({spread})"
            )
        lines += [f"  {goal}: {'met' if goal.is_met(self) else 'MISSED'}" for goal in self.goals]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Answer all as plain JSON types."""
        return {
            "title": self.title,
            "unit": self.unit,
            "baseline": self.baseline,
            "medians": self.medians,
            "ratios": self.ratios,
            "runs": dict(self.runs),
            "goals": {str(goal): goal.is_met(self) for goal in self.goals},
            "notes": list(self.notes),
        }


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def take_turns(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure A B C A B C …, after a first round that does not count."""
    runs: dict[str, list[float]] = {case: [] for case in cases}
    for repeat in range(repeats + 1):
        for case, measure in cases.items():
            gc.collect()
            value = measure()
            if repeat:
                runs[case].append(value)
    return runs


def child(code: str, *arguments: str) -> str:
    """Run *code* in a fresh interpreter; answer what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def machine() -> dict[str, Any]:
    """Answer what the figures depend on."""
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:
        usable = os.cpu_count() or 1
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "processors": usable,
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1] for line in facts.splitlines() if line.startswith("model name"))
    return next(names, platform.processor()).strip()


def report(tables: Iterable[Table], json_path: str | None) -> None:
    """Print the tables, and write them with the facts of the machine when asked to."""
    done = []
    facts = machine()
    print(" · ".join(f"{name} {value}" for name, value in facts.items()))
    for table in tables:
        print(f"\n{table}", flush=True)
        done.append(table.to_dict())
    if json_path is not None:
        text = json.dumps({"machine": facts, "tables": done}, indent=2)
        Path(json_path).write_text(text + "\n", "utf-8")
