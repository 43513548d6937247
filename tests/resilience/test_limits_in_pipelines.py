"""In a pipeline limits hold calls back, and no record is lost or dead for it."""

from __future__ import annotations

import random
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import RateLimited
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import AdaptiveLimit, Bulkhead, RateLimit, Retry
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio


def pipeline(stage: Any, clock: FakeClock, values: int, **options: Any) -> gp.Pipeline[int, Any]:
    return gp.Pipeline(
        source=gp.sources.Values(range(values)),
        stage=stage,
        sink=gp.sinks.Collect(),
        clock=clock,
        **options,
    )


async def test_429s_are_flow_control(clock: FakeClock) -> None:
    """Pain 9: a provider that refuses a third of the calls costs time, and no record."""
    dice = random.Random(3)
    last = -1.0

    async def model(value: int) -> int:
        nonlocal last
        assert clock.now() >= last, "nobody calls before the Retry-After"
        if dice.random() < 0.3:
            last = clock.now() + 2
            raise RateLimited("slow down", retry_after=2)
        return value

    sturdy = gp.wrap(
        model,
        Retry(on=gp.Transient, clock=clock),
        RateLimit(requests=600, clock=clock),
        AdaptiveLimit(clock=clock),
    )
    report = await pipeline(gp.map(sturdy), clock, 60, max_in_flight=1).run()
    assert (report.written, report.dead) == (60, 0)


async def test_a_whole_stage_can_be_limited(clock: FakeClock) -> None:
    """Around a stage the limits count records; the run takes as long as the quota says."""
    heard: list[Any] = []
    stage = gp.wrap(
        gp.map(str), RateLimit(requests=60, burst=1, clock=clock), Bulkhead(2, clock=clock)
    )
    with gp.listen(heard.append):
        report = await pipeline(stage, clock, 31, max_in_flight=8).run()
    assert report.written == 31
    assert clock.now() == pytest.approx(30)
    waited = [each.seconds for each in heard if isinstance(each, PolicyWaited)]
    assert sum(waited) == pytest.approx(sum([1, 2, 3, 4, 5, 6, 7] + [8] * 17 + [7] * 6), rel=0.15)


async def test_a_full_line_parks_records_and_loses_none(clock: FakeClock) -> None:
    """Records refused by a full bulkhead or rate limit wait and are called again."""

    async def work(value: int) -> int:
        await clock.sleep(1)
        return value

    stage = gp.map(
        gp.wrap(work, RateLimit(requests=60, queue=1, clock=clock), Bulkhead(1, queue=0))
    )
    report = await pipeline(stage, clock, 20, max_in_flight=10).run()
    assert (report.written, report.dead) == (20, 0)


async def test_a_record_whose_time_is_up_is_told_so(clock: FakeClock) -> None:
    """A record that cannot get quota before its own deadline is dead for it, at once."""
    dead: gp.sinks.Collect[Any] = gp.sinks.Collect()
    stage = gp.map(gp.wrap(_same, RateLimit(requests=1, clock=clock)))
    report = await pipeline(
        stage, clock, 2, max_in_flight=2, record_timeout=5, dead_letters=dead
    ).run()
    assert (report.written, report.dead) == (1, 1)
    assert clock.now() < 6


async def _same(value: int) -> int:
    return value
