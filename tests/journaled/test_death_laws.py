"""
The laws of a pipeline with a journal, over random chains, faults, stops and deaths of processes.

Whatever happens in earlier lives, the last one ends every record once; no answer that was kept is
ever paid for again; what is billed stays within the cap; and what is finished is left alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.journals import Sqlite
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Disk

from .worlds import (
    PRICES,
    Dead,
    Life,
    MortalJournal,
    MortalSink,
    MortalSource,
    Provider,
    World,
    models_of,
)

pytestmark = pytest.mark.timeout(300)  # of each, hundreds of examples over a file


@attrs.frozen
class Step:
    """One stage of a random pipeline: what it is, and how many calls it makes."""

    kind: str
    calls: int
    rejects_at: frozenset[int]
    size: int

    def build(self, name: str, life: Life, model: Any) -> gp.Stage[Any, Any]:
        """Make the stage."""
        visits = 0

        async def ask(value: list[int]) -> None:
            nonlocal visits
            visits += 1
            number = visits
            for ordinal in range(self.calls):
                prompt = f"{name} {json.dumps(value)} {ordinal}"
                answer = await model(gp.Request(prompt, max_output_tokens=4))
                if answer.text != f"re {prompt}":
                    life.world.provider.wrong.append(f"{answer.text} is no answer to {prompt}")
            if number in self.rejects_at:
                raise gp.Rejected("not now", retry_after=1)

        async def same(value: list[int]) -> list[int]:
            await ask(value)
            return value

        async def several(value: list[int]) -> list[list[int]]:
            await ask(value)
            return [[*value, 100 + part] for part in range(self.size)]

        async def some(value: list[int]) -> bool:
            await ask(value)
            return sum(value) % 3 > 0

        async def joined(values: list[list[int]]) -> list[int]:
            both = [number for value in values for number in value]
            await ask(both)
            return both

        if self.kind == "gather":
            gathered: gp.Stage[Any, Any] = gp.gather(
                self.size + 1, linger=2, clock=life.world.clock, name=f"{name}-gather"
            )
            return gp.chain(gathered, gp.map(joined, name=name))
        if self.kind == "flat_map":
            return gp.flat_map(several, name=name)
        return gp.filter(some, name=name) if self.kind == "filter" else gp.map(same, name=name)


@attrs.frozen
class Plan:
    """One life of the process, and what ends it."""

    end: str
    at: int
    after: bool
    max_in_flight: int


KINDS = ["map", "map", "flat_map", "filter", "gather"]
steps = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    calls=st.integers(0, 3),
    rejects_at=st.frozensets(st.integers(1, 12), max_size=3),
    size=st.integers(0, 3),
)
plans = st.builds(
    Plan,
    end=st.sampled_from(["death", "death", "death", "stop", "cancel", "exhausted"]),
    at=st.integers(1, 40),
    after=st.booleans(),
    max_in_flight=st.integers(1, 6),
)
faults = st.dictionaries(
    st.integers(1, 40), st.sampled_from(["unsent", "limited", "lost", "refused"]), max_size=5
)
latencies = st.lists(st.integers(0, 3), min_size=1, max_size=4)


async def live(
    world: World, plan: Plan, chain: list[Step], records: int, **options: Any
) -> gp.Report | None:
    """Run a process to its end; answer its report unless it died or was cancelled."""
    dies_at = plan.at if plan.end == "death" else None
    life = Life(world, dies_at=dies_at, after=plan.after)
    source, clock = MortalSource(life, records), world.clock
    model = models_of(life, options.pop("retry"))
    pipeline = gp.Pipeline(
        source=source,
        stage=gp.chain(
            *[step.build(f"s{number}", life, model) for number, step in enumerate(chain)]
        ),
        sink=MortalSink(life, options.pop("sink_rejects_at", frozenset())),
        max_in_flight=plan.max_in_flight,
        max_failures=None,
        grace=3,
        clock=clock,
        journal=MortalJournal(life),
        **options,
    )

    async def intervene() -> None:
        await clock.sleep(plan.at % 7)
        pipeline.stop()

    report = None
    try:
        async with anyio.create_task_group() as group:
            if plan.end == "stop":
                group.start_soon(intervene)
            cancel = clock.now() + plan.at % 7 if plan.end == "cancel" else 10**9
            with clock.cancel_at(cancel):
                try:
                    report = await pipeline.run()
                except gp.RunFailed as failed:
                    report = failed.report
            group.cancel_scope.cancel()
    except BaseExceptionGroup as problem:
        died, others = problem.split(Dead)
        if others is not None or died is None or life.alive:
            raise
    except Dead:
        assert not life.alive
    if report is not None:
        report.check()
        assert report.pending == 0
        assert set(source.settled.values()) <= {1}
        assert source.settled.keys() == set(source.read)
    life.die()
    return report


@contextmanager
def journal_in_a_file(clock: FakeClock) -> Iterator[Sqlite]:
    """Answer a journal in a file on a disk in memory, which does everything at once."""
    with tempfile.TemporaryDirectory() as folder:
        yield Sqlite(
            Path(folder) / "run.db",
            ballast=0,
            clock=clock,
            writer="inline",
            connect=Disk().connect,
        )


LAST = Plan(end="exhausted", at=0, after=False, max_in_flight=4)


@settings(max_examples=200, deadline=None)
@given(
    chain=st.lists(steps, min_size=1, max_size=4),
    lives=st.lists(plans, max_size=4),
    records=st.integers(0, 9),
    wrong=faults,
    latency=latencies,
    retry=st.booleans(),
    sink_rejects_at=st.frozensets(st.integers(1, 6), max_size=2),
    in_file=st.booleans(),
    backend=st.sampled_from(["asyncio", "trio"]),
)
@pytest.mark.thorough
def test_nothing_is_lost_and_nothing_kept_is_paid_for_again(
    chain: list[Step],
    lives: list[Plan],
    records: int,
    wrong: dict[int, str],
    latency: list[int],
    retry: bool,
    sink_rejects_at: frozenset[int],
    in_file: bool,
    backend: str,
) -> None:
    """Property: after any lives, every record has ended once, and kept answers cost once."""

    async def run(files: ExitStack) -> None:
        async with FakeClock() as clock:
            world = World(clock, Provider(clock, wrong, latency))
            if in_file:
                world.journal = files.enter_context(journal_in_a_file(clock))
            for plan in (*lives, LAST):
                report = await live(
                    world, plan, chain, records, retry=retry, sink_rejects_at=sink_rejects_at
                )
            assert report is not None
            again = await live(world, LAST, chain, records, retry=retry)
        provider = world.provider
        assert provider.wrong == []
        for prompt, times in provider.billed.items():
            assert times <= 1 + provider.lost[prompt]
        async with world.journal as journal:
            counts = await journal.counts("pipeline")
        assert sum(counts.values()) == records
        assert set(counts) <= {"done", "filtered", "dead"}
        assert world.ends.keys() == {str(ordinal) for ordinal in range(records)}
        assert all(len(ends) == 1 for ends in world.ends.values())
        assert again is not None
        assert again.skipped == records
        assert again.calls == again.replayed == 0
        written = {number for value in world.sink.values() for number in value}
        done = {int(key) for key, (end,) in world.ends.items() if end == "done"}
        assert done <= written
        kinds = [step.kind for step in chain]
        if kinds.count("gather") == 1 and "flat_map" not in kinds:
            gathered = [number for value in world.sink.values() for number in value]
            assert len(gathered) == len(set(gathered))
            # Nobody was gathered anew after a list that he is in had been paid for.
            prefix = f"s{kinds.index('gather')} "
            paid = {
                tuple(json.loads(prompt.removeprefix(prefix).rpartition(" ")[0]))
                for prompt in provider.kept
                if prompt.startswith(prefix)
            }
            members = [number for group in paid for number in group]
            assert len(members) == len(set(members))

    with ExitStack() as files:
        anyio.run(run, files, backend=backend)


@settings(max_examples=100, deadline=None)
@given(
    chain=st.lists(steps, min_size=1, max_size=3),
    lives=st.lists(plans, max_size=4),
    records=st.integers(1, 9),
    wrong=faults,
    latency=latencies,
    cap=st.integers(1, 40),
    retry=st.booleans(),
    in_file=st.booleans(),
    backend=st.sampled_from(["asyncio", "trio"]),
)
@pytest.mark.thorough
def test_the_bill_stays_within_the_cap(
    chain: list[Step],
    lives: list[Plan],
    records: int,
    wrong: dict[int, str],
    latency: list[int],
    cap: int,
    retry: bool,
    in_file: bool,
    backend: str,
) -> None:
    """Property: through any failures the provider's own bill stays within the budget's cap."""

    async def run(files: ExitStack) -> None:
        async with FakeClock() as clock:
            world = World(clock, Provider(clock, wrong, latency))
            if in_file:
                world.journal = files.enter_context(journal_in_a_file(clock))
            budget = gp.Budget(cap=f"0.000{cap:02d}", window="total")
            for plan in (*lives, LAST):
                await live(
                    world, plan, chain, records, retry=retry, budgets=[budget], prices=PRICES
                )
                assert world.provider.money <= budget.cap
            # With money enough, what was held goes on, and nothing is bought again.
            enough = gp.Budget(cap="1", window="total")
            await live(world, LAST, chain, records, retry=retry, budgets=[enough], prices=PRICES)
        assert world.provider.wrong == []
        async with world.journal as journal:
            counts = await journal.counts("pipeline")
        assert set(counts) <= {"done", "filtered", "dead"}
        assert sum(counts.values()) == records

    with ExitStack() as files:
        anyio.run(run, files, backend=backend)
