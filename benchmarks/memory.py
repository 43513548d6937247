"""Resident memory over a million records: it must not grow with the input."""

from __future__ import annotations

from functools import partial

from benchmarks.harness import Goal, Table, child, take_turns

_CODE = """
import os, sys
import anyio
import genai_pipeline as gp

backend, count, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
page = os.sysconf("SC_PAGE_SIZE")
samples = []

def sample(value):
    if value % first == 0:
        with open("/proc/self/statm") as file:
            samples.append(int(file.read().split()[1]) * page / 2**20)
    return value

async def keep(record):
    pass

pipeline = gp.Pipeline(
    source=gp.sources.Values(range(count)), stage=gp.map(sample), sink=keep
)
anyio.run(pipeline.run, backend=backend)
print(max(samples[1:]) - samples[1])
"""


def _growth(backend: str, count: int) -> float:
    return float(child(_CODE, backend, str(count), str(count // 100)))


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure the growth after the first hundredth of the input, each in a fresh process."""
    count = 10_000 if smoke else 1_000_000
    cases = {backend: partial(_growth, backend, count) for backend in ("asyncio", "trio")}
    return [
        Table(
            title=f"Memory: growth from record {count // 100:,} to record {count:,}",
            unit="MB resident",
            runs=take_turns(cases, 1 if smoke else 3),
            baseline="asyncio",
            goals=(Goal("asyncio", at_most=20), Goal("trio", at_most=20)),
        )
    ]
