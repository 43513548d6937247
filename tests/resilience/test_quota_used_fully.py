"""The criterion: a provider's quota is used to 95 % or more, and it hardly ever refuses."""

from __future__ import annotations

import random
from functools import partial

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.resilience import RateLimit
from genai_pipeline.testing import FakeClock

from .quota_provider import Kind, QuotaProvider, keep_asking

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("kind", "mean", "minutes"), [("bucket", 100.0, 10), ("window", 100.0, 10), ("bucket", 20.0, 3)]
)
async def test_the_quota_is_used_and_kept(
    kind: Kind, mean: float, minutes: int, clock: FakeClock
) -> None:
    """
    At 1,000 requests and 100,000 tokens a minute, with a fifth of the outputs unlimited.

    Virtual minutes use 95 % of the tighter limit or more, whether the provider counts by a bucket
    or in a sliding window, and after the first one less than 1 % of the calls are refused.
    """
    provider = QuotaProvider(clock, requests=1000, tokens=100_000, kind=kind)
    limit = RateLimit(requests=1000, tokens=100_000, clock=clock, random=random.Random(7).random)
    model, dice = gp.wrap(provider, limit), random.Random(1)
    end = minutes * 60.0
    work = partial(keep_asking, model, clock, dice, until=end, mean=mean)
    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(work)
    assert provider.used(end) >= 0.95
    assert provider.refused_after(60) < 0.01
    assert limit.in_flight == 0
