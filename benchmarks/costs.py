"""The processor's time that a call takes, by itself or more than another."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

import genai_pipeline as gp

__all__ = ["ANSWER", "Call", "added", "added_in_pipeline", "model", "spent", "timed"]

Call = Callable[[Any], Awaitable[object]]

ANSWER = gp.Response("yes", usage=gp.Usage(input_tokens=12, output_tokens=1))
_WARM_UP = 50


async def model(request: gp.Request) -> gp.Response:
    """Answer at once."""
    return ANSWER


async def timed(call: Call, values: Sequence[object]) -> float:
    """Answer the microseconds of CPU that *call* takes for one of *values*, on average."""
    for value in values[:_WARM_UP]:  # what is made at the first call, or learned from the first
        await call(value)
    began = time.process_time_ns()
    for value in values:
        await call(value)
    return (time.process_time_ns() - began) / len(values) / 1000


def spent(call: Call, values: Sequence[object], *, backend: str = "asyncio") -> float:
    """Answer the microseconds of CPU that *call* takes for one of *values*, on average."""
    return anyio.run(timed, call, values, backend=backend)


def added(call: Call, values: Sequence[object], *, backend: str = "asyncio") -> float:
    """Answer the microseconds that *call* takes more than `model`, measured right before."""
    base = spent(model, values, backend=backend)
    return spent(call, values, backend=backend) - base


def added_in_pipeline(call: Call, values: Sequence[object]) -> float:
    """Answer the same for calls by a stage: within the walk of a record, with its report."""
    costs: list[float] = []

    async def stage(_: int) -> None:
        base = await timed(model, values)
        costs.append(await timed(call, values) - base)

    async def keep(record: gp.Record[None]) -> None:
        pass

    pipeline = gp.Pipeline(source=gp.sources.Values([0]), stage=gp.map(stage), sink=keep)
    anyio.run(pipeline.run)
    return costs[0]
