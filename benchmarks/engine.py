"""
Records per second through three trivial async stages: what the engine itself costs.

Nothing here waits, so seconds are those of the processor, which a busy machine does not stretch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import anyio
import anyio.lowlevel

import genai_pipeline as gp
from benchmarks.harness import Goal, Table, take_turns

WORKERS = 64


async def one(value: int) -> int:
    """Add one."""
    return value + 1


async def two(value: int) -> int:
    """Add two."""
    return value + 2


async def three(value: int) -> int:
    """Add three."""
    return value + 3


class Count:
    """A sink that counts."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, record: gp.Record[int]) -> None:
        self.count += 1


def _timed(run: Callable[[int], Awaitable[int]], count: int, backend: str = "asyncio") -> float:
    async def timed() -> float:
        began = time.process_time()
        done = await run(count)
        seconds = time.process_time() - began
        assert done == count, f"{done} of {count} came through"
        return count / seconds

    return anyio.run(timed, backend=backend)


async def ours(count: int, *, listener: Callable[[object], object] | None = None) -> int:
    """Run a pipeline, with its accounting; with a listener, each record is an event too."""
    sink = Count()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(count)),
        stage=gp.chain(gp.map(one), gp.map(two), gp.map(three)),
        sink=sink,
        max_in_flight=WORKERS,
    )
    if listener is None:
        report = await pipeline.run()
    else:
        with gp.listen(listener):
            report = await pipeline.run()
    assert report.written == count
    return sink.count


async def plain_loop(count: int) -> int:
    """Await the three functions for one value after the other."""
    done = 0
    for value in range(count):
        await three(await two(await one(value)))
        done += 1
    return done


async def fixed_workers(count: int) -> int:
    """Let workers take values from one iterator, each walking one value at a time."""
    values: Iterable[int] = iter(range(count))
    done = 0

    async def work() -> None:
        nonlocal done
        for value in values:
            await three(await two(await one(value)))
            done += 1
            if done % WORKERS == 0:
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(work)
    return done


async def memory_streams(count: int) -> int:
    """Let one task a stage send each value on through an anyio memory object stream."""
    send, receive = anyio.create_memory_object_stream[int](WORKERS)
    async with anyio.create_task_group() as group:
        group.start_soon(_send_all, send, count)
        for stage in (one, two, three):
            further, ahead = anyio.create_memory_object_stream[int](WORKERS)
            group.start_soon(_pass_on, receive, stage, further)
            receive = ahead
        done = 0
        async with receive:
            async for _ in receive:
                done += 1
    return done


async def _send_all(send: anyio.abc.ObjectSendStream[int], count: int) -> None:
    async with send:
        for value in range(count):
            await send.send(value)


async def _pass_on(
    receive: anyio.abc.ObjectReceiveStream[int],
    stage: Callable[[int], Awaitable[int]],
    send: anyio.abc.ObjectSendStream[int],
) -> None:
    async with receive, send:
        async for value in receive:
            await send.send(await stage(value))


async def queues(count: int) -> int:
    """Let one task a stage pass each value on through an asyncio.Queue."""
    ends: list[asyncio.Queue[int | None]] = [asyncio.Queue(WORKERS) for _ in range(4)]

    async def read() -> None:
        for value in range(count):
            await ends[0].put(value)
        await ends[0].put(None)

    async def step(position: int, stage: Callable[[int], Awaitable[int]]) -> None:
        while (value := await ends[position].get()) is not None:
            await ends[position + 1].put(await stage(value))
        await ends[position + 1].put(None)

    done = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        for position, stage in enumerate((one, two, three)):
            group.create_task(step(position, stage))
        while await ends[3].get() is not None:
            done += 1
    return done


async def tasks(count: int) -> int:
    """Begin a task for each value, behind a semaphore."""
    free = asyncio.Semaphore(WORKERS)
    done = 0

    async def walk(value: int) -> None:
        nonlocal done
        async with free:
            await three(await two(await one(value)))
            done += 1

    async with asyncio.TaskGroup() as group:
        for value in range(count):
            group.create_task(walk(value))
    return done


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure the engine beside its peers, in one process, by turns."""
    count = 2_000 if smoke else 200_000
    few = count // 10
    heard = partial(ours, listener=lambda event: None)
    cases: dict[str, Callable[[], float]] = {
        "plain loop": partial(_timed, plain_loop, count),
        "fixed workers": partial(_timed, fixed_workers, count),
        "genai_pipeline, asyncio": partial(_timed, ours, count),
        "genai_pipeline, trio": partial(_timed, ours, count, "trio"),
        "genai_pipeline, asyncio, with a listener": partial(_timed, heard, count),
        "asyncio.Queue chain": partial(_timed, queues, few),
        "a task per value": partial(_timed, tasks, few),
        "memory stream chain": partial(_timed, memory_streams, few),
    }
    return [
        Table(
            title=f"Engine: {count:,} records, 3 trivial async stages",
            unit="records per second of CPU",
            runs=take_turns(cases, 1 if smoke else 5),
            baseline="genai_pipeline, asyncio",
            goals=(Goal("genai_pipeline, asyncio", at_least=250_000),),
        )
    ]
