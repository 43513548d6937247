"""The line of those who wait for quota: whom it refuses, when it looks again, what it tells."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import RateLimitExceeded
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import MemoryBuckets, RateLimit
from genai_pipeline.resilience._buckets import Needs
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import deadline_at

from .moments import a_moment, run

pytestmark = pytest.mark.anyio


class Counting(MemoryBuckets):
    """Counts how often it is asked by who waits."""

    asked = 0

    async def reserve(self, need: Needs, /) -> float:
        self.asked += 1
        return await super().reserve(need)


def _waits(heard: list[Any]) -> list[PolicyWaited]:
    return [event for event in heard if isinstance(event, PolicyWaited)]


async def test_who_waits_looks_again_only_when_it_is_worth_it(clock: FakeClock) -> None:
    """What comes back and is too little wakes nobody, so that a server is not asked in vain."""
    buckets = Counting(clock=clock)
    limit = RateLimit(tokens=600, burst=60, cost=lambda need: need, buckets=buckets, clock=clock)
    await limit.reserve(300)
    small, smaller = await limit.reserve(200), await limit.reserve(95)
    async with anyio.create_task_group() as group:
        group.start_soon(run, limit.reserve, 305)  # 5 are there
        await a_moment()
        for reservation in (small, smaller):
            reservation.refund()
            await a_moment()
            assert buckets.asked == 1
        await clock.sleep(0.4)
        buckets.settle({"tokens": 1})
        limit._line.poke()
    assert clock.now() == pytest.approx(0.4)
    assert buckets.asked == 2


async def test_the_first_in_line_is_refused_when_it_learns_that_it_waits_in_vain(
    clock: FakeClock,
) -> None:
    """A cooldown that outlasts its deadline ends its wait, at the latest when it looks."""
    limit = RateLimit(requests=60, burst=1, clock=clock)
    await limit.reserve(0)

    async def impatient() -> None:
        with deadline_at(5), pytest.raises(RateLimitExceeded):
            await limit.reserve(1)

    async with anyio.create_task_group() as group:
        group.start_soon(impatient)
        await clock.sleep(0.5)
        await limit.buckets.block(100)
    assert clock.now() == pytest.approx(1)


async def test_quota_that_is_there_at_the_deadline_is_waited_for(clock: FakeClock) -> None:
    """A call whose quota comes just at its deadline is not refused beforehand."""
    limit = RateLimit(requests=60, burst=1, clock=clock)
    await limit.reserve(0)
    with deadline_at(1):
        await limit.reserve(1)
    assert clock.now() == 1


async def test_a_cooldown_by_another_process_is_told_as_one(clock: FakeClock) -> None:
    """Who waits tells of a cooldown that it only found out about when it looked."""
    limit = RateLimit(requests=60, burst=1, clock=clock)
    await limit.reserve(0)
    heard: list[Any] = []
    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(run, limit.reserve, 1)
            await clock.sleep(0.5)
            await limit.buckets.block(10)
    waits = _waits(heard)
    assert [each.kind for each in waits] == ["cooldown", "limiter"]
    assert [each.seconds for each in waits] == pytest.approx([9.5, 2])


@pytest.mark.parametrize(("leaves", "told"), [(5, 5), (12, 10)])
async def test_a_wait_that_is_given_up_is_told_for_what_it_was(
    leaves: float, told: float, clock: FakeClock
) -> None:
    """Who leaves in a cooldown waited for that alone; who leaves after it waited for quota too."""
    limit = RateLimit(requests=6, burst=1, clock=clock)
    await limit.buckets.block(10)
    heard: list[Any] = []
    with gp.listen(heard.append), clock.cancel_at(leaves):
        await limit.reserve(1)
    expected = [("cooldown", told), ("limiter", leaves - told)]
    waits = [(each.kind, each.seconds) for each in _waits(heard)]
    assert waits == [each for each in expected if each[1]]


async def test_who_left_the_line_is_not_waited_for(clock: FakeClock) -> None:
    """The forecast counts those who are in line, not those who gave up."""
    limit = RateLimit(requests=60, burst=1, queue=2, clock=clock)
    await limit.reserve(0)

    async def gives_up() -> None:
        with clock.cancel_at(0.5):
            await limit.reserve(1)

    async with anyio.create_task_group() as group:
        group.start_soon(run, limit.reserve, 1)
        await a_moment()
        group.start_soon(gives_up)
        await clock.sleep(0.6)
        with deadline_at(1.9), pytest.raises(RateLimitExceeded) as refused:
            await limit.reserve(3)
        assert refused.value.retry_after == pytest.approx(1.4)


@pytest.mark.parametrize("seconds", [0.5, 30])
async def test_a_cooldown_of_up_to_half_a_minute_is_sat_out(
    seconds: float, clock: FakeClock
) -> None:
    """A call behind the limit waits in place, also until just its deadline, and is told of it."""
    limit = RateLimit(clock=clock)
    await limit.buckets.block(seconds)
    heard: list[Any] = []

    async def answer(value: int) -> float:
        return clock.now()

    with gp.listen(heard.append), deadline_at(seconds):
        assert await gp.wrap(answer, limit.check_again)(1) == seconds
    assert [(each.kind, each.seconds) for each in _waits(heard)] == [("cooldown", seconds)]
    await limit.buckets.block(30.1)
    with pytest.raises(RateLimitExceeded):
        await gp.wrap(answer, limit.check_again)(1)
