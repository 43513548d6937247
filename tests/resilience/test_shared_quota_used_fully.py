"""The criterion for processes that share a quota: 95 % of it is used, and it is kept to."""

from __future__ import annotations

import random
from functools import partial

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.resilience import RateLimit, SharedBuckets
from genai_pipeline.testing import FakeClock
from tests.servers.valkey import Valkey

from .quota_provider import Kind, QuotaProvider, keep_asking
from .virtual_quotas import VirtualQuotas, virtual_quotas

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


def process(server: VirtualQuotas, clock: FakeClock, provider: gp.Provider, seed: int) -> RateLimit:
    """Answer the limit of one more process: nothing in it is shared, but the server."""
    return RateLimit(
        requests=1000,
        tokens=100_000,
        buckets=SharedBuckets(name="gpt", server=server, clock=clock),
        clock=clock,
        random=random.Random(seed).random,
    )


@pytest.mark.parametrize(
    ("anyio_backend", "processes", "kind", "mean", "minutes"),
    [
        ("asyncio", 1, "bucket", 100.0, 10),
        ("asyncio", 4, "bucket", 100.0, 10),
        ("trio", 4, "window", 100.0, 10),
        ("trio", 4, "bucket", 20.0, 3),
    ],
    indirect=["anyio_backend"],
)
@pytest.mark.thorough
async def test_processes_use_their_quota_and_keep_it(
    processes: int, kind: Kind, mean: float, minutes: int, clock: FakeClock, valkey: Valkey
) -> None:
    """
    36: at 1,000 requests and 100,000 tokens a minute, with a fifth of the outputs unlimited.

    Virtual minutes on a real server use 95 % of the tighter limit or more, whatever is tighter and
    however the provider counts, and after the first one less than 1 % of the calls are refused.
    """
    provider = QuotaProvider(clock, requests=1000, tokens=100_000, kind=kind)
    end = minutes * 60.0
    with virtual_quotas(valkey, clock) as server:
        async with anyio.create_task_group() as group:
            for seed in range(processes):
                limit = process(server, clock, provider, seed)
                model, dice = gp.wrap(provider, limit), random.Random(seed)
                for _ in range(40 // processes):
                    group.start_soon(partial(keep_asking, model, clock, dice, until=end, mean=mean))
    burst = 5 / end
    assert 0.95 <= provider.used(end) <= (1 + burst) * 1.02
    assert provider.refused_after(60) < 0.01


async def test_a_process_that_dies_takes_nothing_along(clock: FakeClock, valkey: Valkey) -> None:
    """36: when one of two processes is gone, at once and with calls waiting, the other has all."""
    provider = QuotaProvider(clock, requests=1000, tokens=100_000)
    with virtual_quotas(valkey, clock) as server:
        async with anyio.create_task_group() as both:
            dying = anyio.CancelScope()

            async def work(seed: int, scope: anyio.CancelScope) -> None:
                limit = process(server, clock, provider, seed)
                model, dice = gp.wrap(provider, limit), random.Random(seed)
                with scope:
                    async with anyio.create_task_group() as group:
                        for _ in range(30):
                            asking = partial(
                                keep_asking, model, clock, dice, until=180.0, mean=100.0
                            )
                            group.start_soon(asking)

            both.start_soon(work, 1, dying)
            both.start_soon(work, 2, anyio.CancelScope())
            await clock.sleep(60.0)
            assert provider.used(60.0) >= 0.95
            dying.cancel()
    served = [tokens for at, tokens in provider.served if 60 < at <= 180]
    assert sum(served) / 200_000 >= 0.95
    assert provider.refused_after(0) < 0.01
