"""
A process that calls as fast as a shared quota lets it.

Says ``ready``, waits for a line, works for so many seconds, and prints when its calls were made.
"""

from __future__ import annotations

import json
import sys
import time

import anyio

import genai_pipeline as gp
from genai_pipeline.resilience import RateLimit, SharedBuckets
from genai_pipeline.stores import RedisQuotas

RATE, BURST = 100, 1.0
TOKENS = 10


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, seconds: float, tasks: int) -> None:
    made: list[float] = []

    async def note(value: int) -> None:
        made.append(time.time())

    server = RedisQuotas(url=url)
    limit = RateLimit(
        requests=RATE * 60,
        tokens=RATE * TOKENS * 120,
        burst=BURST,
        cost=lambda _: TOKENS,
        buckets=SharedBuckets(name="gpt", server=server),
    )
    handler = gp.wrap(note, limit)

    async def work() -> None:
        while True:
            await handler(0)

    async with handler:
        await server.run("return 1", [])
        tell("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for _ in range(tasks):
                    group.start_soon(work)
    tell(json.dumps(made))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), 5, backend=sys.argv[3])
