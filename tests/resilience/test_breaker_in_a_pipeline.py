"""An outage, seen from a pipeline with a breaker: records wait, and nothing is lost."""

from __future__ import annotations

import itertools

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded
from genai_pipeline.testing import FakeClock

from .calls import breaker_on

pytestmark = pytest.mark.anyio

HOUR = 3600.0


async def test_an_hour_without_the_provider(clock: FakeClock) -> None:
    """Pain 12: all records wait through an outage, with one probe for each opening, and end."""
    begins, ends = 10.0, 10.0 + HOUR
    calls: list[float] = []

    async def model(value: int) -> int:
        calls.append(clock.now())
        if begins <= clock.now() < ends:
            raise Overloaded("down")
        await clock.sleep(1)
        return value

    breaker = breaker_on(clock, consecutive=5, open_for=15, open_for_max=300)

    async def again(value: gp.Record[int], call_next: gp.Handler[gp.Record[int], object]) -> object:
        """Make a failure of the provider a rejection, as a retry that may wait does."""
        try:
            return await call_next(value)
        except Overloaded as error:
            raise gp.Rejected("later", retry_after=1) from error

    sink: gp.sinks.Collect[int] = gp.sinks.Collect()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(400)),
        stage=gp.wrap(gp.map(model), again, breaker),  # type: ignore[arg-type]
        sink=sink,
        max_in_flight=16,
        clock=clock,
    )
    report = await pipeline.run()

    assert (report.written, report.dead, report.handed_back) == (400, 0, 0)
    assert sorted(sink.values) == list(range(400))
    in_outage = [at for at in calls if begins <= at < ends]
    assert 5 <= len(in_outage) <= 5 + HOUR / 300 + 10
    probes = in_outage[5:]
    assert all(later - earlier >= 30 for earlier, later in itertools.pairwise(probes))
    first_after = min(at for at in calls if at >= ends)
    assert first_after - ends <= 300 + 2
