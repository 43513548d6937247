"""Which level answered is known of each record, and in the report."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded
from genai_pipeline.resilience import Degrade
from genai_pipeline.stores import Memory
from genai_pipeline.telemetry import summary
from genai_pipeline.testing import FakeClock, Script

pytestmark = pytest.mark.anyio


def degrading(clock: FakeClock) -> Degrade:
    """Answer a model whose large level is well for the first two calls alone."""
    large = Script("l", "l", then=lambda request: Overloaded("503"))
    small = Script.of(lambda request: "s")
    return Degrade(("large", large), ("small", small), least_calls=1, clock=clock)


def run_of(
    model: gp.Provider, clock: FakeClock, values: str
) -> tuple[gp.Pipeline[str, str], gp.sinks.Collect[str]]:
    """Answer a pipeline that asks about each value, one after the other, until it has an answer."""

    async def ask(value: str) -> list[str]:
        while True:
            try:
                return [(await model(gp.Request(value))).text, value]
            except Overloaded:
                await clock.sleep(1)

    sink: gp.sinks.Collect[str] = gp.sinks.Collect()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(list(values)),
        stage=gp.flat_map(ask),
        sink=sink,
        clock=clock,
        max_in_flight=1,
    )
    return pipeline, sink


async def test_records_tell_the_level_and_the_report_counts(clock: FakeClock) -> None:
    """Each record made with an answer of a lower level bears its name; the others bear none."""
    pipeline, sink = run_of(degrading(clock), clock, "abcd")
    report = await pipeline.run()
    levels = {record.key: record.attributes.get("degraded") for record in sink.records}
    assert list(levels.values()) == [None] * 4 + ["small"] * 4
    assert dict(report.levels) == {"large": 2, "small": 2}
    assert report.to_dict()["levels"] == {"large": 2, "small": 2}
    assert any("large 50 %, small 50 %" in line.text for line in summary(report))


async def test_a_shared_call_marks_the_record_that_began_it(clock: FakeClock) -> None:
    """The level is known also where the call was made in a task of its own, by a cache."""
    model = degrading(clock)
    for _ in range(2):
        await model(gp.Request("warm"))
    cached = gp.wrap(model, gp.Cache(store=Memory(clock=clock), clock=clock))
    pipeline, sink = run_of(cached, clock, "a")
    await pipeline.run()
    assert {record.attributes.get("degraded") for record in sink.records} == {"small"}


async def test_without_levels_nothing_is_told(clock: FakeClock) -> None:
    """A pipeline without levels has no word of them in its report, nor in its summary."""
    pipeline, sink = run_of(Script.of(lambda request: "x"), clock, "a")
    report = await pipeline.run()
    assert report.levels == {}
    assert not any("answered by" in line.text for line in summary(report))
    assert all("degraded" not in record.attributes for record in sink.records)
