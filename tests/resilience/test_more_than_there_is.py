"""Limits that are larger than the quota, and capacities of nothing."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError, RateLimited
from genai_pipeline.resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    MemoryCircuits,
    RateLimit,
    RetryBudget,
    SharedBuckets,
)
from genai_pipeline.stores import RedisQuotas
from genai_pipeline.testing import FakeClock

from .quota_provider import QuotaProvider, keep_asking

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def overrun(clock: FakeClock, provider: gp.Provider, seconds: float) -> RateLimit:
    """Call as fast as a limit of twice the quota allows."""
    limit = RateLimit(requests=2000, tokens=200_000, clock=clock, random=random.Random(7).random)
    model, dice = gp.wrap(provider, limit), random.Random(1)
    async with anyio.create_task_group() as group:
        for _ in range(40):
            work = partial(keep_asking, model, clock, dice, until=seconds, mean=100.0)
            group.start_soon(work)
    return limit


async def test_a_refusal_that_tells_the_quota_corrects_the_limit(clock: FakeClock) -> None:
    """A limit twice the quota is set right by what the first 429 tells, and the quota is kept."""
    provider = QuotaProvider(clock, requests=1000, tokens=100_000)
    told = {"limit-requests": 1000.0, "limit-tokens": 100_000.0}

    async def telling(request: gp.Request) -> gp.Response:
        try:
            return await provider(request)
        except RateLimited as error:
            error.rate_limits = told
            raise

    await overrun(clock, telling, 600.0)
    assert provider.used(600.0) >= 0.95
    assert provider.refused
    assert provider.refused_after(120) < 0.01


async def test_a_silent_provider_bounds_a_limit_that_is_too_large(clock: FakeClock) -> None:
    """Told by 429s alone, calls keep to each Retry-After, and the quota is used all the same."""
    provider = QuotaProvider(clock, requests=1000, tokens=100_000)
    not_before: dict[str, float] = {}

    async def strict(request: gp.Request) -> gp.Response:
        assert clock.now() >= not_before.get(request.prompt, 0.0), "before its Retry-After"
        try:
            return await provider(request)
        except RateLimited as error:
            assert error.retry_after is not None
            not_before[request.prompt] = clock.now() + error.retry_after
            raise

    await overrun(clock, strict, 600.0)
    assert provider.used(600.0) >= 0.95


async def test_a_run_with_a_limit_that_is_too_large_loses_nothing(clock: FakeClock) -> None:
    """With the usual policies around them, refused records wait; none is dead for it."""
    provider = QuotaProvider(clock, requests=60, tokens=6000)
    limit = RateLimit(requests=600, clock=clock)
    model = gp.resilient(provider, rate_limit=limit, clock=clock)
    sink: gp.sinks.Collect[gp.Response] = gp.sinks.Collect()
    dead: gp.sinks.Collect[Any] = gp.sinks.Collect()
    report = await gp.Pipeline(
        source=gp.sources.Values([gp.Request(f"20 20 {number}") for number in range(300)]),
        stage=gp.map(model),
        sink=sink,
        dead_letters=dead,
        max_in_flight=64,
        clock=clock,
    ).run()
    assert (report.written, report.dead) == (300, 0)
    assert provider.refused, "the limit was larger than the quota"


@pytest.mark.parametrize(
    ("build", "option"),
    [
        (lambda: Bulkhead(0), "Bulkhead: size=0"),
        (lambda: AdaptiveLimit(initial=0), "AdaptiveLimit: initial=0"),
        (lambda: AdaptiveLimit(floor=0), "AdaptiveLimit: floor=0"),
        (lambda: AdaptiveLimit(ceiling=0), "AdaptiveLimit: ceiling=0"),
        (lambda: RateLimit(requests=0), "RateLimit: requests=0"),
        (lambda: RateLimit(tokens=0), "RateLimit: tokens=0"),
        (lambda: RateLimit(input_tokens=0), "RateLimit: input_tokens=0"),
        (lambda: RateLimit(output_tokens=0), "RateLimit: output_tokens=0"),
        (lambda: RateLimit(requests_per_day=0), "RateLimit: requests_per_day=0"),
        (lambda: RateLimit(tokens_per_day=0), "RateLimit: tokens_per_day=0"),
        (lambda: RateLimit(requests=1, burst=0), "RateLimit: burst=0"),
        (lambda: RateLimit(requests=1, share=0), "RateLimit: share=0"),
        (lambda: RetryBudget(capacity=0), "RetryBudget: capacity=0"),
        (lambda: CircuitBreaker(window=0), "CircuitBreaker: window=0"),
        (lambda: CircuitBreaker(permits=0), "CircuitBreaker: permits=0"),
        (lambda: MemoryCircuits(max_entries=0), "MemoryCircuits: max_entries=0"),
        (lambda: gp.stores.Memory(max_entries=0), "Memory: max_entries=0"),
        (lambda: gp.sources.Push(capacity=0), "Push: capacity=0"),
        (lambda: gp.providers.OpenAI("m", max_connections=0), "max_connections=0"),
        (
            lambda: SharedBuckets(
                name="x", server=RedisQuotas(url="redis://127.0.0.1:1"), processes=0
            ),
            "SharedBuckets: processes=0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_capacity_of_nothing_is_refused(build: Any, option: str) -> None:
    """What could never let a call through is refused when it is built, with what is allowed."""
    with pytest.raises(ConfigurationError, match=f"{option}; give .*(1|above 0)"):
        build()


async def test_room_for_nobody_to_wait_loses_no_record(clock: FakeClock) -> None:
    """``queue=0`` is fine: whoever would wait is refused at once, and a pipeline tries again."""

    async def work(value: int) -> int:
        await clock.sleep(1)
        return value

    sturdy = gp.wrap(work, RateLimit(requests=600, queue=0, clock=clock), Bulkhead(1, queue=0))
    sink: gp.sinks.Collect[int] = gp.sinks.Collect()
    report = await gp.Pipeline(
        source=gp.sources.Values(range(30)),
        stage=gp.map(sturdy),
        sink=sink,
        max_in_flight=8,
        clock=clock,
    ).run()
    assert sorted(sink.values) == list(range(30))
    assert report.rejections > 0


@pytest.mark.parametrize("told", [0, "0", -1, "-5", float("nan"), "inf", 10**400])
async def test_a_told_limit_of_nothing_is_not_believed(clock: FakeClock, told: Any) -> None:
    """A limit of zero, or of no number at all, means that it is unknown: calls go on."""
    limit = RateLimit(requests=600, clock=clock)

    async def provider(request: gp.Request) -> gp.Response:
        return gp.Response("x", attributes={"rate_limits": {"limit-requests": told}})

    with anyio.fail_after(10):
        for _ in range(60):
            await gp.wrap(provider, limit)(gp.Request("x"))
    assert clock.now() < 2


async def test_nothing_left_is_waited_out(clock: FakeClock) -> None:
    """``remaining: 0`` holds the next call until quota has come in, and no longer."""
    limit = RateLimit(requests=60, clock=clock)

    async def provider(request: gp.Request) -> gp.Response:
        return gp.Response("x", attributes={"rate_limits": {"remaining-requests": 0}})

    for number in range(4):
        await gp.wrap(provider, limit)(gp.Request("x"))
        assert clock.now() == pytest.approx(number)
