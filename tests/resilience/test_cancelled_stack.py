"""Cancelled at any moment, no policy, and no stack of them, loses, keeps or counts anything."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded, RateLimited
from genai_pipeline.resilience import (
    MemoryBuckets,
    QuotaAsk,
    QuotaReply,
    SharedBuckets,
    resilient,
)
from genai_pipeline.testing import FakeClock, Script

from .calls import state, trip
from .cancelling import Call, cancel_at_every_wait
from .moments import a_moment, run

pytestmark = pytest.mark.anyio

ASK = gp.Request("hello")


def around(make: Callable[[FakeClock], Any]) -> Callable[[FakeClock, gp.Provider], gp.Provider]:
    """Answer what puts the policy that *make* makes around a provider."""
    return lambda clock, provider: gp.wrap(provider, make(clock))


EVERY: dict[str, Callable[[FakeClock, gp.Provider], gp.Provider]] = {
    "AdaptiveLimit": around(lambda clock: gp.AdaptiveLimit(clock=clock)),
    "Bulkhead": around(lambda clock: gp.Bulkhead(1, clock=clock)),
    "Cache": around(lambda clock: gp.Cache(store=gp.stores.Memory(clock=clock), clock=clock)),
    "CircuitBreaker": around(lambda clock: gp.CircuitBreaker(clock=clock)),
    "check_first": around(lambda clock: gp.CircuitBreaker(clock=clock).check_first),
    "Deadline": around(lambda clock: gp.Deadline(60, clock=clock)),
    "Degrade": lambda clock, provider: gp.Degrade(("a", provider), ("b", Script()), clock=clock),
    "Fallback": around(lambda clock: gp.Fallback(Script(), clock=clock)),
    "Hedge": around(lambda clock: gp.Hedge(after=50, clock=clock)),
    "LoadBalance": lambda clock, provider: gp.LoadBalance({"a": provider}, clock=clock),
    "RateLimit": around(lambda clock: gp.RateLimit(requests=60, clock=clock)),
    "Retry": around(lambda clock: gp.Retry(on=Exception, clock=clock)),
    "Throttle": around(lambda clock: gp.Throttle(clock=clock)),
    "Timeout": around(lambda clock: gp.Timeout(60, clock=clock)),
    "resilient": lambda clock, provider: resilient(provider, clock=clock),
}


@pytest.mark.parametrize("name", EVERY)
async def test_each_policy_lets_cancellation_through(clock: FakeClock, name: str) -> None:
    """13: wherever the callee waits, a cancelled call ends there, is not repeated, and is over."""
    calls = 0
    ended = 0

    async def callee(request: gp.Request) -> gp.Response:
        nonlocal calls, ended
        calls += 1
        try:
            await clock.sleep(1)
            await clock.sleep(1)
            return gp.Response("fine")
        finally:
            ended += 1

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        nonlocal calls, ended
        calls = ended = 0
        model = EVERY[name](clock, callee)
        yield lambda: model(ASK)
        await clock.sleep(100)
        assert calls == ended <= 1
        assert (await model(ASK)).text == "fine"

    # A call in a task of its own, as of Cache and Hedge, has one wait for its caller, and may
    # end in the moment of the cancellation.
    apart = name in {"Cache", "Hedge"}
    assert await cancel_at_every_wait(scenario, may_finish=apart) >= (1 if apart else 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("name", EVERY)
async def test_each_policy_obeys_a_task_cancelled_once(clock: FakeClock, name: str) -> None:
    """13: a plain `asyncio.Task.cancel`, which comes but once, is swallowed by no policy."""
    calls = 0

    async def callee(request: gp.Request) -> gp.Response:
        nonlocal calls
        calls += 1
        await clock.sleep(10)
        return gp.Response("fine")

    async def call() -> gp.Response:
        return await EVERY[name](clock, callee)(ASK)

    task = asyncio.ensure_future(call())
    await clock.sleep(5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == 1
    assert clock.now() == 5


async def test_check_first_takes_no_permit(clock: FakeClock) -> None:
    """A call cancelled between the first check and the permit leaves the probe to the next."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        breaker = gp.CircuitBreaker(jitter=0, successes=9, clock=clock)
        trip(breaker)
        await clock.sleep(60)
        slots = gp.Bulkhead(1, clock=clock)
        model = gp.wrap(
            Script("fine", then="repeat", latency=1, clock=clock),
            *(breaker.check_first, slots, breaker),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(run, gp.wrap(clock.sleep, slots), 1)  # the queue before the breaker
            await a_moment()
            yield lambda: model(ASK)
        assert (slots.in_use, slots.waiting, breaker._circuit.probes) == (0, 0, 0)
        assert (await model(ASK)).text == "fine"
        assert state(breaker) == "half-open"

    assert await cancel_at_every_wait(scenario) == 2


async def test_a_held_slot_is_never_lost(clock: FakeClock) -> None:
    """A task cancelled while it waits for `Bulkhead.slot`, or holds one, has none afterwards."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        bulkhead = gp.Bulkhead(1, clock=clock)

        async def hold() -> None:
            async with bulkhead.slot():
                await clock.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await a_moment()
            yield hold
        assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)

    assert await cancel_at_every_wait(scenario) == 2


async def test_the_whole_stack_at_each_of_its_waits(clock: FakeClock) -> None:
    """In line for quota, for a slot, at work and backing off: each leaves all as it should be."""
    plays: list[tuple[int, int, float]] = []
    """Calls that were made, that the breaker counted, and tokens that are left."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        provider = Script(Overloaded("503"), "fine", then="repeat", latency=1, clock=clock)
        limit = gp.RateLimit(requests=60, burst=1, clock=clock)
        slots = gp.AdaptiveLimit(initial=1, ceiling=1, clock=clock)
        breaker = gp.CircuitBreaker(clock=clock)
        budget = gp.RetryBudget(capacity=10, ratio=0, reserve=0, clock=clock)
        model = resilient(
            provider,
            deadline=gp.Deadline(60, clock=clock),
            fallback=gp.Fallback(Script(), on=RateLimited, clock=clock),
            retry=gp.Retry(on=gp.Transient, budget=budget, clock=clock, random=lambda: 0.5),
            rate_limit=limit,
            concurrency=slots,
            breaker=breaker,
            timeout=gp.Timeout(5, clock=clock),
        )
        await gp.wrap(clock.sleep, limit)(0)  # so that it waits for quota
        async with anyio.create_task_group() as group:
            group.start_soon(run, gp.wrap(clock.sleep, slots), 2)  # so that it waits for a slot
            await a_moment()
            yield lambda: model(ASK)
        assert provider.in_flight == 0
        assert (limit.in_flight, limit.waiting) == (0, 0)
        assert (slots.in_use, slots.waiting, slots.limit) == (0, 0, 1)
        known = breaker._circuit.window
        plays.append((provider.calls, len(known), budget.level))
        sent = provider.calls
        await clock.sleep(100)
        assert provider.calls == sent
        assert isinstance(limit.buckets, MemoryBuckets)
        assert limit.buckets.levels() == {"requests": 1}

    # quota, slot, attempt, backoff, attempt
    assert await cancel_at_every_wait(scenario) == 5
    assert plays == [(0, 0, 10), (0, 0, 10), (1, 0, 10), (1, 1, 10), (2, 1, 9), (2, 2, 9)]


@pytest.mark.parametrize("half_seconds", range(1, 16))
async def test_the_whole_stack_at_any_moment(clock: FakeClock, half_seconds: int) -> None:
    """With a cache and a hedge, whose calls run in tasks of their own, nothing goes on either."""
    budget = gp.RetryBudget(capacity=10, ratio=0, reserve=0, clock=clock)
    provider = Script(
        *(Overloaded("503"), "slow", RateLimited("429", retry_after=1), "fine"),
        then="repeat",
        latency=lambda _: 9 if provider.calls == 2 else 1,
        clock=clock,
    )
    limit = gp.RateLimit(requests=60, burst=2, clock=clock)
    slots = gp.Bulkhead(2, clock=clock)
    breaker = gp.CircuitBreaker(jitter=0, successes=9, permits=2, clock=clock)
    store = gp.stores.Memory[str](clock=clock)
    model = resilient(
        provider,
        deadline=gp.Deadline(60, clock=clock),
        cache=gp.Cache(store=store, clock=clock),
        hedge=gp.Hedge(after=2, share=1, clock=clock),
        retry=gp.Retry(on=gp.Transient, budget=budget, clock=clock, random=lambda: 0.9),
        rate_limit=limit,
        concurrency=slots,
        breaker=breaker,
        timeout=gp.Timeout(20, clock=clock),
    )
    with clock.cancel_at(clock.now() + half_seconds / 2) as scope, suppress(Overloaded):
        await model(ASK)
    assert scope.cancelled_caught == (clock.now() >= half_seconds / 2)
    assert provider.in_flight == 0
    assert (limit.in_flight, limit.waiting) == (0, 0)
    assert (slots.in_use, slots.waiting, breaker._circuit.probes) == (0, 0, 0)
    sent = provider.calls
    await clock.sleep(100)
    assert provider.calls == sent
    assert (await model(gp.Request("another"))).text


async def test_a_balancer_forgets_a_call_that_was_cancelled(clock: FakeClock) -> None:
    """A target that rests goes on to rest, and the one that was asked instead bears no mark."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        limited = Script(RateLimited("429", retry_after=30), then="repeat")
        good = Script("fine", then="repeat", latency=1, clock=clock)
        balance = gp.LoadBalance({"a": limited, "b": good}, random=lambda: 0.0, clock=clock)
        began = clock.now()
        yield lambda: balance(ASK)
        first, second = balance.members
        assert first.rests_until == (began + 30 if good.calls else -math.inf)
        assert second.rests_until < began
        assert first.in_flight == second.in_flight == 0
        assert second.latency in (None, 1)

    assert await cancel_at_every_wait(scenario) == 2


class Till:
    """A server of shared quotas that is slow, and counts what it has given."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.left = 10.0

    async def exchange(self, name: str, ask: QuotaAsk, /) -> QuotaReply:
        """Grant what is asked for, twice over, after a second."""
        await self.clock.sleep(1)
        needs = [bucket.need for bucket in ask.buckets]
        self.left += sum(bucket.back for bucket in ask.buckets)
        self.left -= 2 * sum(needs)
        return QuotaReply(
            granted=ask.asks,
            wait=0.0,
            blocked=ask.block,
            members=2,
            levels=(self.left,),
            extras=tuple(needs),
        )


async def test_shared_buckets_lose_nothing(clock: FakeClock) -> None:
    """Cancelled while the server answers or at work: what is left and held is what was not sent."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        till = Till(clock)
        buckets = SharedBuckets(server=till, name="gpt", lease=60, clock=clock)
        limit = gp.RateLimit(requests_per_day=10, buckets=buckets, clock=clock)
        provider = Script("fine", then="repeat", latency=1, clock=clock)
        model = gp.wrap(provider, limit)
        yield lambda: model(ASK)
        assert (limit.in_flight, limit.waiting) == (0, 0)
        held = buckets._held.get("requests_per_day", 0.0)
        assert till.left + held == 10 - provider.calls
        left = till.left
        await model(ASK)
        assert till.left == left, "what was granted is used, not asked for once more"

    assert await cancel_at_every_wait(scenario, may_finish=True) >= 2
