"""Every wait has an event and is in the report, so that it says where the time of a run went."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded, RateLimited
from genai_pipeline.events import CallFinished, PolicyWaited, emit
from genai_pipeline.resilience import Bulkhead, CircuitBreaker, RateLimit, Retry
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio


class Provider:
    """Fails by chance in every way that makes policies wait, and tells of each call."""

    def __init__(self, clock: FakeClock, seed: int) -> None:
        self._clock = clock
        self._dice = random.Random(seed)
        self._calls = 0

    async def __call__(self, request: gp.Request) -> gp.Response:
        self._calls += 1
        took = self._dice.uniform(0.1, 3.0)
        await self._clock.sleep(took)
        error = self._failure()
        told = None if error is None else type(error).__name__
        emit(CallFinished(provider="p", model="m", seconds=took, error=told))
        if error is not None:
            raise error
        return gp.Response("fine", usage=gp.Usage(input_tokens=100, output_tokens=100))

    def _failure(self) -> Exception | None:
        if 20 <= self._calls < 30:
            return Overloaded("down")
        chance = self._dice.random()
        if chance < 0.1:
            return RateLimited("slow", retry_after=self._dice.choice([None, 2.0, 90.0]))
        return Overloaded("busy") if chance < 0.2 else None


async def run(model: gp.Provider, clock: FakeClock, records: int, workers: int) -> gp.Report:
    async def ask(text: str) -> gp.Response:
        return await model(gp.Request(text))

    sink: gp.sinks.Collect[Any] = gp.sinks.Collect()
    dead: gp.sinks.Collect[Any] = gp.sinks.Collect()
    return await gp.Pipeline(
        source=gp.sources.Values(["text"] * records),
        stage=gp.map(ask),
        sink=sink,
        dead_letters=dead,
        max_in_flight=workers,
        clock=clock,
    ).run()


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_missing(seed: int, clock: FakeClock) -> None:
    """With one worker, the waits of the report add up to all the time that the run took."""
    dice = random.Random(seed).random
    model = gp.resilient(
        Provider(clock, seed),
        retry=Retry(on=gp.Transient, attempts=9, clock=clock, random=dice),
        rate_limit=RateLimit(requests=20, clock=clock, random=dice),
        breaker=CircuitBreaker(consecutive=4, open_for=100, clock=clock, random=dice),
        clock=clock,
    )
    report = await run(model, clock, 120, 1)
    assert (report.written, report.dead) == (120, 0)
    assert sum(report.waits.values()) == pytest.approx(report.elapsed)
    assert report.waits.keys() == {"provider", "limiter", "cooldown", "breaker", "backoff"}
    assert all(seconds > 0 for seconds in report.waits.values())
    assert report.limited_by == "quota"


async def test_each_kind_is_what_it_says(clock: FakeClock) -> None:
    """What is known beforehand is told to the second: the line, the cooldown and the provider."""
    refusals = iter([RateLimited("slow", retry_after=10)])

    async def provider(request: gp.Request) -> gp.Response:
        for refusal in refusals:
            raise refusal
        await clock.sleep(4)
        emit(CallFinished(provider="p", model="m", seconds=4))
        return gp.Response("fine")

    model = gp.wrap(
        provider,
        Retry(on=gp.Transient, clock=clock, random=lambda: 0.0),
        RateLimit(requests=6000, clock=clock, random=lambda: 0.0),
        Bulkhead(1, clock=clock),
    )
    heard: list[Any] = []
    with gp.listen(heard.append):
        report = await run(model, clock, 3, 3)
    told: defaultdict[str, float] = defaultdict(float)
    for event in heard:
        if isinstance(event, PolicyWaited):
            told[event.kind] += event.seconds
    # All wait for the cooldown, come through it 0.01 s apart, and call one after the other.
    waited = {"cooldown": 30, "limiter": 0.01 + 0.02 + 0.03, "queue": 3.99 + 7.98}
    assert told == pytest.approx(waited)
    assert report.waits == pytest.approx({**waited, "provider": 12})


async def test_a_line_tells_cooldowns_from_quota(clock: FakeClock) -> None:
    """Whoever waits for quota when cooldowns begin has waited for both, each for its time."""
    limit = RateLimit(requests=60, burst=3, clock=clock, random=lambda: 0.0)
    made = [await limit.reserve(None) for _ in range(3)]
    heard: list[Any] = []
    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(limit.reserve, None)
            group.start_soon(limit.reserve, None)
            await clock.sleep(0.5)
            await made[0].failed(RateLimited("slow", retry_after=10))
            await clock.sleep(10.5)
            await made[1].failed(RateLimited("slow", retry_after=5))
    waits = [(each.kind, each.seconds) for each in heard if isinstance(each, PolicyWaited)]
    assert waits == [("cooldown", 15), ("limiter", 2), ("cooldown", 15), ("limiter", 3)]
