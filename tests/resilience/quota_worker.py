"""
A process that calls as fast as a shared quota lets it.

Says ``ready``, waits for a line, works for so many seconds, and prints what it sent and got, each
as a time, a number of requests and a number of tokens.
"""

from __future__ import annotations

import json
import random
import sys
import time

import anyio

import genai_pipeline as gp
from genai_pipeline.resilience import RateLimit, SharedBuckets
from genai_pipeline.stores import RedisQuotas

from .quota_provider import ask

REQUESTS, TOKENS = 100, 10_000
"""A second: as 1,000 and 100,000 a minute, six times as fast."""

BURST = 0.5


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, seconds: float, mean: float) -> None:
    seen: list[tuple[float, int, int]] = []

    async def provider(request: gp.Request) -> gp.Response:
        read, write = (int(word) for word in request.prompt.split()[:2])
        seen.append((time.time(), 1, read))
        await anyio.sleep(0.05 + write * 0.0005)
        seen.append((time.time(), 0, write))
        return gp.Response("fine", usage=gp.Usage(input_tokens=read, output_tokens=write))

    server = RedisQuotas(url=url)
    limit = RateLimit(
        requests=REQUESTS,
        tokens=TOKENS,
        per=1,
        burst=BURST,
        buckets=SharedBuckets(name="gpt", server=server),
    )
    model = gp.wrap(provider, limit)
    dice = random.Random(int(mean))

    async def work() -> None:
        while True:
            await model(ask(dice, mean=mean))

    async with model:
        await server.run("return 1", [])
        tell("ready")
        await anyio.to_thread.run_sync(sys.stdin.readline)
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(work)
    tell(json.dumps(seen))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], float(sys.argv[2]), float(sys.argv[4]), backend=sys.argv[3])
