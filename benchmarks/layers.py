"""What a middleware costs when it only passes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import anyio

import genai_pipeline as gp
from benchmarks.harness import Goal, Table, take_turns


async def model(request: gp.Request) -> gp.Response:
    """Answer at once."""
    return ANSWER


async def passing(
    request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]
) -> gp.Response:
    """Pass on."""
    return await call_next(request)


class Passing:
    """Pass on, as an object."""

    async def __call__(
        self, request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]
    ) -> gp.Response:
        return await call_next(request)


ANSWER = gp.Response("yes")


def _nanoseconds(
    handler: Callable[[gp.Request], object], layers: int, bare: list[float], count: int
) -> float:
    """Answer the cost of a layer, with a bare call measured right before."""
    request = gp.Request("Is it?")

    async def timed(call: Callable[[gp.Request], object]) -> float:
        began = time.process_time_ns()
        for _ in range(count):
            await call(request)  # type: ignore[misc]
        return (time.process_time_ns() - began) / count

    base = anyio.run(timed, model)
    whole = anyio.run(timed, handler)
    bare.append(base)
    return (whole - base) / layers


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure one and five layers of functions and of objects."""
    count = 1_000 if smoke else 200_000
    bare: list[float] = []
    cases = {
        f"{layers} x {kind}": partial(
            _nanoseconds, gp.wrap(model, *(layer,) * layers), layers, bare, count
        )
        for kind, layer in (("function", passing), ("object", Passing()))
        for layers in (1, 5)
    }
    runs = take_turns(cases, 1 if smoke else 7)
    return [
        Table(
            title="Middleware: what one idle layer adds to a call",
            unit="ns of CPU per layer",
            runs=runs,
            baseline="1 x function",
            goals=(Goal("5 x object", at_most=1000),),
        )
    ]
