"""What ``import genai_pipeline`` costs a process that starts."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial

from benchmarks.harness import Goal, Table, take_turns

_SLOWEST = 8


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _start(code: str) -> float:
    began = _children()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (_children() - began) * 1000


def _slowest() -> list[str]:
    """Answer which modules take longest by themselves, as ``-X importtime`` tells."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import genai_pipeline"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    rows = []
    for line in told.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        rows.append((int(own), name.strip()))
    return [f"{own / 1000:.1f} ms {name}" for own, name in sorted(rows)[: -_SLOWEST - 1 : -1]]


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure whole processes by turns, and answer the difference to one that does nothing."""
    cases = {
        "python -c pass": partial(_start, "pass"),
        "import anyio, attrs": partial(_start, "import anyio, attrs"),
        "import genai_pipeline": partial(_start, "import genai_pipeline"),
        "and use Pipeline, map, sources and sinks": partial(
            _start, "import genai_pipeline as gp; gp.Pipeline, gp.map, gp.sources, gp.sinks"
        ),
        "and build a provider": partial(
            _start, "import genai_pipeline as gp; gp.providers.OpenAI('m', api_key='k')"
        ),
    }
    runs = take_turns(cases, 2 if smoke else 21)
    bare = runs["python -c pass"]
    added = {
        case: [value - base for value, base in zip(values, bare, strict=True)]
        for case, values in runs.items()
        if values is not bare
    }
    return [
        Table(
            title="Import: the time it adds to the start of a process",
            unit="ms of CPU",
            runs=added,
            baseline="import genai_pipeline",
            goals=(
                Goal("import genai_pipeline", at_most=60),
                Goal("and build a provider", at_most=120),
            ),
            notes=("slowest by themselves: " + ", ".join(_slowest()),),
        )
    ]
