"""
The laws of the engine, over random pipelines, inputs, failures, interleavings and stops.

Every delivery is settled exactly once, the counts add up, what is settled as done is in the
sink or among the dead letters, and ordered output has the order of the input.
"""

from __future__ import annotations

from typing import Any

import anyio
import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger


@attrs.frozen
class Step:
    """One stage of a random pipeline, as data so that Hypothesis can shrink it."""

    kind: str
    delays: tuple[int, ...]
    fails_at: frozenset[int]
    rejects_at: frozenset[int]
    size: int

    def build(self, clock: FakeClock) -> gp.Stage[Any, Any]:
        """Make the stage; its delays and faults go by the number of the call."""
        calls = 0

        async def misbehave() -> None:
            nonlocal calls
            calls += 1
            number = calls
            await clock.sleep(self.delays[number % len(self.delays)])
            if number in self.rejects_at:
                raise gp.Rejected("not now", retry_after=3)
            if number in self.fails_at:
                raise ValueError(f"call {number}")

        async def same(value: Any) -> Any:
            await misbehave()
            return value

        async def several(value: Any) -> list[Any]:
            await misbehave()
            return [value] * self.size

        async def some(_: Any) -> bool:
            await misbehave()
            return calls % 3 > 0

        async def many(values: Any) -> Any:
            await misbehave()
            return values

        if self.kind == "gather":
            return gp.gather(self.size + 1, linger=2, clock=clock)
        if self.kind == "batched":
            return gp.map(gp.batched(many, size=self.size + 1, linger=1, clock=clock))
        if self.kind == "flat_map":
            return gp.flat_map(several)
        return gp.filter(some) if self.kind == "filter" else gp.map(same)


calls = st.frozensets(st.integers(1, 25), max_size=4)
steps = st.builds(
    Step,
    kind=st.sampled_from(["map", "map", "flat_map", "filter", "batched", "gather"]),
    delays=st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple),
    fails_at=calls,
    rejects_at=calls,
    size=st.integers(0, 3),
)


@attrs.frozen
class World:
    """A pipeline, its input, and what happens to it."""

    steps: list[Step]
    records: int
    max_in_flight: int
    dead_letters: bool
    end: str
    at: int
    record_timeout: int | None
    sink_fails_at: frozenset[int]
    ordered: bool


worlds = st.builds(
    World,
    steps=st.lists(steps, min_size=1, max_size=4),
    records=st.integers(0, 20),
    max_in_flight=st.integers(1, 8),
    dead_letters=st.booleans(),
    end=st.sampled_from(["exhausted", "exhausted", "stop", "cancel", "timeout", "source"]),
    at=st.integers(0, 12),
    record_timeout=st.none() | st.integers(1, 10),
    sink_fails_at=calls,
    ordered=st.booleans(),
)


async def live(world: World, clock: FakeClock) -> tuple[Ledger, Kept, Kept, gp.Report]:
    """Run the pipeline of *world* to its end, whichever that is."""
    source = Ledger(range(world.records), fails_at=world.at if world.end == "source" else None)
    written = 0

    def refuse(_: object) -> Exception | None:
        nonlocal written
        written += 1
        return ValueError("refused") if written in world.sink_fails_at else None

    kept, dead = Kept(refuse), Kept()
    pipeline = gp.Pipeline(
        source=source,
        stage=gp.chain(*[step.build(clock) for step in world.steps]),
        sink=gp.in_order(kept) if world.ordered else kept,
        dead_letters=dead if world.dead_letters else None,
        max_in_flight=world.max_in_flight,
        max_failures=None,
        grace=2,
        record_timeout=world.record_timeout,
        timeout=world.at + 1 if world.end == "timeout" else None,
        clock=clock,
    )

    async def intervene() -> None:
        await clock.sleep(world.at)
        pipeline.stop()

    async with anyio.create_task_group() as group:
        if world.end == "stop":
            group.start_soon(intervene)
        with clock.cancel_at(clock.now() + world.at if world.end == "cancel" else 10**9) as scope:
            try:
                await pipeline.run()
            except gp.RunFailed:
                assert world.end == "source" or not world.dead_letters
        assert world.end == "cancel" or not scope.cancelled_caught
        group.cancel_scope.cancel()
    return source, kept, dead, pipeline.report()


@settings(max_examples=150, deadline=None)
@given(world=worlds, backend=st.sampled_from(["asyncio", "trio"]))
def test_every_record_has_exactly_one_end(world: World, backend: str) -> None:
    """Property: in any world, each delivery is settled once and the report adds up."""

    async def run() -> None:
        async with FakeClock() as clock:
            source, kept, dead, report = await live(world, clock)
        source.check()
        report.check()
        assert report.pending == 0
        assert report.read == len(source.read)
        assert report.written + report.filtered + report.dead == len(source.done)
        assert report.handed_back == len(source.handed_back)
        assert report.dead == len(dead.records)
        if world.end == "exhausted" and world.dead_letters:
            assert report.handed_back == 0
            assert report.exhausted
        assert kept.entered == kept.left

    anyio.run(run, backend=backend)


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    records=st.integers(0, 30),
    max_in_flight=st.integers(1, 9),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_ordered_output_is_the_inputs_order(
    delays: list[int], sizes: list[int], records: int, max_in_flight: int, backend: str
) -> None:
    """Property: whatever each record takes, `in_order` writes in the order of the source."""

    async def run() -> None:
        async with FakeClock() as clock:

            async def several(value: int) -> list[tuple[int, int]]:
                await clock.sleep(delays[value % len(delays)])
                return [(value, part) for part in range(sizes[value % len(sizes)])]

            async def slow(pair: tuple[int, int]) -> tuple[int, int]:
                await clock.sleep(delays[sum(pair) % len(delays)])
                return pair

            kept = Kept()
            await gp.Pipeline(
                source=Ledger(range(records)),
                stage=gp.chain(gp.flat_map(several), gp.map(slow)),
                sink=gp.in_order(kept),
                max_in_flight=max_in_flight,
                clock=clock,
            ).run()
        expected = [
            (value, part) for value in range(records) for part in range(sizes[value % len(sizes)])
        ]
        assert kept.values == expected

    anyio.run(run, backend=backend)
