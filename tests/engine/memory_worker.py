"""
A process that may have little memory, and whose stage holds much; run by `test_max_memory`.

Prints how many records were written and how many died, and how often intake paused and went on.
"""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator

import anyio

import genai_pipeline as gp
from genai_pipeline._resident_memory import STATM, resident_memory
from genai_pipeline.testing import FakeClock

MB = 1024**2
HELD = 40 * MB
"""Above what the allocator keeps for itself when it is freed."""


async def main() -> None:
    """Run the pipeline, with a limit if that is asked for."""
    addresses = int(STATM.read_bytes().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + 300 * MB,) * 2)
    told: Counter[str] = Counter()
    async with FakeClock() as clock:

        async def numbers() -> AsyncIterator[int]:
            for number in range(20):
                await clock.sleep(0.2)
                yield number

        async def hold(number: int) -> int:
            held = b"x" * HELD
            await clock.sleep(5)
            return number if held else -1

        with gp.listen(lambda event: told.update([type(event).__name__])):
            report = await gp.Pipeline(
                source=gp.sources.Values(numbers()),
                stage=gp.map(hold),
                sink=gp.sinks.Collect[int](),
                dead_letters=gp.sinks.Collect[gp.DeadLetter](),
                max_in_flight=16,
                max_failures=None,
                max_memory=resident_memory() + 150 * MB if "limited" in sys.argv else None,
                clock=clock,
            ).run()
    print(report.written, report.dead, told["IntakePaused"], told["IntakeResumed"])


if __name__ == "__main__":
    anyio.run(main)
