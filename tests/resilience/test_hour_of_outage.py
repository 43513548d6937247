"""An hour without the provider, in virtual time: for one process, and for four with one circuit."""

from __future__ import annotations

import itertools
import random
from decimal import Decimal
from typing import Any, Literal

import anyio
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConnectionFailed, Overloaded
from genai_pipeline.events import CallFinished, emit
from genai_pipeline.resilience import CircuitBreaker, CircuitOpened, MemoryCircuits
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio

BEGINS, ENDS = 60.0, 60.0 + 3600.0
RECORDS = 500
PRICE = Decimal("0.01")

Way = Literal["503", "refused", "silent"]


@attrs.define(eq=False)
class Provider:
    """Answers in some seconds, and bills each answer; is down for an hour."""

    clock: FakeClock
    way: Way
    sent: list[float] = attrs.field(factory=list)
    billed: list[float] = attrs.field(factory=list)

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.sent.append(self.clock.now())
        cost = None
        try:
            if BEGINS <= self.clock.now() < ENDS:
                await self._fail()
            await self.clock.sleep(3.0)
            cost = PRICE
        finally:
            told = None if cost else "failed"
            emit(CallFinished(provider="p", model="m", seconds=3.0, cost=cost, error=told))
        self.billed.append(self.clock.now())
        return gp.Response(request.prompt.upper())

    async def _fail(self) -> None:
        if self.way == "refused":
            raise ConnectionFailed("nobody listens", sent=False)
        await self.clock.sleep(0.1 if self.way == "503" else 10**6)
        raise Overloaded("503")


@attrs.define(eq=False)
class Process:
    """One pipeline with the usual policies; what it shares with others is in *breaker*."""

    clock: FakeClock
    provider: Provider
    breaker: CircuitBreaker
    written: gp.sinks.Collect[str] = attrs.field(factory=gp.sinks.Collect)
    dead: gp.sinks.Collect[Any] = attrs.field(factory=gp.sinks.Collect)
    openings: list[float] = attrs.field(factory=list)
    """When the circuit opened."""

    report: gp.Report | None = None

    async def run(self, texts: list[str]) -> None:
        model = gp.resilient(self.provider, breaker=self.breaker, clock=self.clock)

        async def ask(text: str) -> str:
            return (await model(gp.Request(text))).text

        with gp.listen(self._hear):
            await self._run(ask, texts, model)

    async def _run(self, ask: Any, texts: list[str], model: Any) -> None:
        async with model:  # a function hides it from the pipeline
            self.report = await gp.Pipeline(
                source=gp.sources.Values(texts),
                stage=gp.map(ask),
                sink=self.written,
                dead_letters=self.dead,
                max_in_flight=16,
                clock=self.clock,
            ).run()

    def _hear(self, event: object) -> None:
        if isinstance(event, CircuitOpened):
            self.openings.append(self.clock.now())

    def check(self, texts: list[str]) -> None:
        """Nothing is lost, dead or paid for twice, and no money was spent in the outage."""
        assert self.report is not None
        assert (self.report.written, self.report.dead, self.report.handed_back) == (
            len(texts),
            0,
            0,
        )
        assert self.report.errors == {}
        assert not self.dead.values
        assert sorted(self.written.values) == sorted(text.upper() for text in texts)
        assert self.report.cost == len(texts) * PRICE
        # What was answered before and came in after its beginning aside.
        assert [at for at in self.provider.billed if BEGINS + 3 < at <= ENDS] == []

    def check_probes(self) -> None:
        """See that no more is sent than one probe when an interval is over, each longer."""
        first = self.openings[0]
        in_outage = [at for at in self.provider.sent if BEGINS <= at < ENDS]
        assert sum(at <= first for at in in_outage) <= self.breaker.window
        probes = [at for at in in_outage if at > first]
        assert 3 <= len(probes) <= sum(at < ENDS for at in self.openings)
        breaker = self.breaker
        for number, (earlier, later) in enumerate(itertools.pairwise([first, *probes]), 1):
            interval = min(number * breaker.open_for, breaker.open_for_max)
            assert later - earlier >= interval * (1 - breaker.jitter)

    def recovered_after(self) -> float:
        """Answer how long after the outage the first call went out."""
        return min(at for at in self.provider.sent if at >= ENDS) - ENDS


def circuit(clock: FakeClock, seed: int, **options: Any) -> CircuitBreaker:
    return CircuitBreaker(name="p", clock=clock, random=random.Random(seed).random, **options)


def texts_of(seed: int) -> list[str]:
    return [f"text {number} of {seed}" for number in range(RECORDS)]


INTERVAL = 300 * 1.2 + 0.5
"""The longest time between two probes: what a circuit is open at most, and a retry's spread."""


@pytest.mark.parametrize(("way", "takes"), [("503", 0.1), ("refused", 0.0), ("silent", 120.0)])
@pytest.mark.thorough
async def test_it_kills_nothing_costs_nothing_and_is_over_soon(
    way: Way, takes: float, clock: FakeClock
) -> None:
    """
    In an hour of outage all that is sent is one probe for each interval, ever more rarely.

    Nothing is dead, nothing is billed, and one interval after the provider is back the run goes on.
    """
    texts = texts_of(0)
    process = Process(clock, Provider(clock, way), circuit(clock, 5))
    await process.run(texts)
    process.check(texts)
    process.check_probes()
    assert process.recovered_after() <= INTERVAL + takes
    assert clock.now() <= ENDS + INTERVAL + takes + RECORDS * 3 / 5


async def test_four_processes_wait_together(clock: FakeClock) -> None:
    """Four whose breakers share their state send one probe each for an interval at most."""
    shared = MemoryCircuits(clock=clock)
    processes = [
        Process(clock, Provider(clock, "503"), circuit(clock, seed, shared=shared))
        for seed in range(4)
    ]
    async with anyio.create_task_group() as group:
        for seed, process in enumerate(processes):
            group.start_soon(process.run, texts_of(seed))
    for seed, process in enumerate(processes):
        process.check(texts_of(seed))
        process.check_probes()
        assert process.recovered_after() <= INTERVAL
    first = min(each.recovered_after() for each in processes)
    assert max(each.recovered_after() for each in processes) <= first + 10
