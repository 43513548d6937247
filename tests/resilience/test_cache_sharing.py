"""Calls that share one: whose deadline, attempts and errors they have, and what is remembered."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded
from genai_pipeline.resilience import Cache
from genai_pipeline.resilience._single_flight import _Sky
from genai_pipeline.stores import Memory
from genai_pipeline.testing import FakeClock, Script
from genai_pipeline.walk import current_deadline, deadline_at
from tests.engine.doubles import Kept, Ledger

from .cycles import no_cycles_of
from .flaky import Flaky, retry

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")


def _cached(model: Any, clock: FakeClock, *inside: Any) -> Any:
    return gp.wrap(model, Cache(store=Memory(clock=clock), clock=clock), *inside)


def _run(clock: FakeClock, stage: Any, *values: int, **options: Any) -> Any:
    pipeline = gp.Pipeline(
        source=Ledger(list(values)), stage=gp.map(stage), sink=Kept(), clock=clock, **options
    )
    return pipeline.run()


async def test_a_shared_failure_counts_its_attempts_for_each_record(clock: FakeClock) -> None:
    """The dead letter of a record that shared a call tells how often that call was made."""
    model = Flaky(clock, *[Overloaded("busy")] * 3, takes=1)
    cached = _cached(model, clock, retry(clock, attempts=3))

    async def ask(value: int) -> Any:
        return await cached(ASK)

    dead = Kept()
    await _run(clock, ask, 1, 2, dead_letters=dead, max_in_flight=2)
    assert model.calls == 3
    assert [letter.attempts for letter in dead.values] == [3, 3]


async def test_a_call_has_the_latest_deadline_of_those_who_wait(clock: FakeClock) -> None:
    """In a run a call has its first caller's deadline, until one with more time joins."""
    seen: list[float] = []

    async def model(request: gp.Request) -> gp.Response:
        seen.append(current_deadline())
        await clock.sleep(5)
        seen.append(current_deadline())
        return gp.Response("x")

    cached = _cached(model, clock)

    async def ask(value: int) -> str:
        await clock.sleep(value)
        with deadline_at({0: 20, 1: 30, 2: 25}[value]):
            return str((await cached(ASK)).text)

    await _run(clock, ask, 0, 1, 2, max_in_flight=3)
    assert seen == [20, 30]


async def test_in_a_run_who_leaves_takes_no_call_with_him(clock: FakeClock) -> None:
    """The call goes on when the record that began it leaves, and is not made again."""
    model = Script("x", latency=5, clock=clock)
    cached = _cached(model, clock)
    ended: list[tuple[int, float]] = []

    async def ask(value: int) -> None:
        with clock.cancel_at(2 if value == 0 else 99):
            await clock.sleep(value)
            await cached(ASK)
        ended.append((value, clock.now()))

    await _run(clock, ask, 0, 1, max_in_flight=2)
    assert ended == [(0, 2), (1, 5)]
    assert model.calls == 1


@pytest.mark.parametrize("first", ["in the run", "outside"])
async def test_calls_in_a_run_and_outside_share(first: str, clock: FakeClock) -> None:
    """A call made in a pipeline and one made beside it share, whichever came first."""
    model = Script("x", latency=5, clock=clock)
    cached = _cached(model, clock)
    answers: list[str] = []

    async def ask(value: int) -> None:
        await clock.sleep(value)
        answers.append((await cached(ASK)).text)

    async with anyio.create_task_group() as group:
        group.start_soon(ask, 1 if first == "in the run" else 0)
        await _run(clock, ask, 0 if first == "in the run" else 1)
    assert answers == ["x", "x"]
    assert model.calls == 1


async def test_a_shared_error_tells_where_it_was_raised(clock: FakeClock) -> None:
    """The traceback of each who waited leads into the code that failed."""

    async def broken(request: gp.Request) -> gp.Response:
        await clock.sleep(1)
        raise Overloaded("busy")

    cached = _cached(broken, clock)
    found: list[str] = []

    async def ask() -> None:
        try:
            await cached(ASK)
        except Overloaded as error:
            found.extend(frame.name for frame in traceback.extract_tb(error.__traceback__))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    assert found.count("broken") == 2


async def test_a_shared_error_leaves_no_cycles() -> None:
    """An error that was handled leaves nothing for the garbage collector."""

    async def broken(request: gp.Request) -> gp.Response:
        raise Overloaded("busy")

    cached = _cached(broken, FakeClock())
    with no_cycles_of(Overloaded):
        for _ in range(10):
            with suppress(Overloaded):
                await cached(ASK)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_call_that_is_cancelled_from_within_is_made_again(anyio_backend: str) -> None:
    """A call that a library under asyncio cancels by itself is made anew for who waits."""
    answers: list[Any] = [asyncio.CancelledError(), gp.Response("x")]

    async def model(request: gp.Request) -> gp.Response:
        answer = answers.pop(0)
        if isinstance(answer, gp.Response):
            return answer
        raise answer

    assert (await _cached(model, FakeClock())(ASK)).text == "x"


def test_few_ended_calls_are_remembered() -> None:
    """However many different calls there were, only the latest are remembered."""
    sky: _Sky = _Sky()
    flight: Any = object()
    sky.land("often", flight)
    for number in range(6000):
        sky.land(str(number), flight)
        if number == 4000:
            sky.land("often", flight)
    assert 1000 < len(sky.landed) < 5000
    assert {"often", "5999", "5000"} <= sky.landed.keys()
    assert "0" not in sky.landed
