"""A record that kills its process is found out, and its neighbours are unharmed."""

from __future__ import annotations

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline._alone import Alone
from genai_pipeline.testing import FakeClock

from .worlds import Dead, Life, MortalJournal, MortalSink, MortalSource, Provider, World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ordered", [False, True])
async def test_poison_is_dead_and_neighbours_are_done(clock: FakeClock, ordered: bool) -> None:
    """The killer is dead at its third crash; those in flight with it are done."""
    world, lives, together = World(clock, Provider(clock, {}, [0])), 0, list[int]()
    running = 0
    while True:
        lives += 1
        life = Life(world)

        async def work(value: list[int], life: Life = life) -> list[int]:
            nonlocal running
            running += 1
            try:
                await clock.sleep(2 if value[0] % 2 else 1)
                if value == [5]:
                    together.append(running)
                    life.die()
                    raise Dead
            finally:
                running -= 1
            life.check()
            return value

        sink = MortalSink(life)
        run = gp.Pipeline(
            source=MortalSource(life, 12),
            stage=gp.map(work),
            sink=gp.in_order(sink) if ordered else sink,
            journal=MortalJournal(life),
            max_in_flight=4,
            clock=clock,
        )
        try:
            report = await run.run()
        except (Dead, BaseExceptionGroup):
            assert not life.alive
            continue
        break
    assert lives == 4
    assert together[-1] == 1, "it was not alone"
    assert report.dead == 1
    assert world.ends.pop("5") == ["dead"]
    assert set(map(tuple, world.ends.values())) == {("done",)}
    assert len(world.ends) == 11


async def test_alone_means_alone(clock: FakeClock) -> None:
    """Whoever asks to be alone waits for those under way, and later ones wait for it."""
    gate, log = Alone(ordered=False), list[str]()

    async def beside(name: str, at: float, ordinal: int) -> None:
        await clock.sleep(at)
        async with gate.beside_others(ordinal):
            log.append(f"{name} in")
            await clock.sleep(4)
            log.append(f"{name} out")

    async def alone() -> None:
        await clock.sleep(1)
        async with gate.alone():
            log.append("alone in")
            await clock.sleep(4)
            log.append("alone out")

    async with anyio.create_task_group() as group:
        group.start_soon(beside, "a", 0.0, 0)
        group.start_soon(alone)
        group.start_soon(beside, "b", 2.0, 1)
    assert log == ["a in", "a out", "alone in", "alone out", "b in", "b out"]
