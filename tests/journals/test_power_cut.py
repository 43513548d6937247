"""What a power cut leaves, at every write, sync, truncation and deletion there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import anyio
import attrs
import pytest

from genai_pipeline.errors import StorageFailed
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Disk, PowerCuts
from tests.journals.script import SCRIPT, look


@attrs.define
class Sweep:
    """What was found at all the points at which the power went."""

    points: int = 0
    lost: int = 0
    """Points after which something was missing, or there, that must not be."""

    damaged: int = 0


@attrs.frozen
class World:
    """One script, run on a disk in memory, and what must be seen after each of its steps."""

    path: Path
    disk: Disk
    acknowledged: list[int]
    """How much of the disk's log there was when each step had returned; the first is opening."""

    expected: list[Any]


async def _run(path: Path, synchronous: Literal["FULL", "NORMAL"]) -> World:
    disk = Disk()
    journal = _journal(path, disk, synchronous)
    await journal.__aenter__()
    acknowledged = [len(disk.log)]
    for step in SCRIPT:
        await step(journal)
        acknowledged.append(len(disk.log))
    expected = [await _after(count) for count in range(len(SCRIPT) + 1)]
    assert expected[-1] == await _left(journal)
    return World(path, disk, acknowledged, expected)


def _journal(path: Path, disk: Disk, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Sqlite:
    return Sqlite(
        path,
        writer="inline",
        connect=disk.connect,
        ballast=0,
        synchronous=synchronous,
        clock=FakeClock(),
    )


async def _after(steps: int) -> Any:
    memory = Memory()
    await memory.__aenter__()
    for step in SCRIPT[:steps]:
        await step(memory)
    return await _left(memory)


async def _left(journal: Any) -> Any:
    journal.crash()
    async with journal:
        return await look(journal)


async def _sweep(world: World, seed: int) -> Sweep:
    found = Sweep()
    for done, disk in PowerCuts(world.disk.log, seed):
        found.points += 1
        acknowledged = sum(length <= done for length in world.acknowledged)
        allowed = world.expected[max(0, acknowledged - 1) : acknowledged + 1]
        try:
            async with _journal(world.path, disk) as journal:
                seen = await look(journal)
                found.lost += seen not in allowed
                found.damaged += await journal.check() != []
        except StorageFailed:
            found.damaged += 1
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(300)
@pytest.mark.thorough
def test_a_power_cut_loses_nothing_that_was_acknowledged(folder: Path, seed: int) -> None:
    """Wherever the power goes, all that returned is there, what did not is there whole or not."""

    async def check() -> None:
        world = await _run(folder / "run.db", "FULL")
        found = await _sweep(world, seed)
        print(found)
        assert attrs.evolve(found, points=0) == Sweep()
        assert found.points > 400

    anyio.run(check)


@pytest.mark.timeout(300)
@pytest.mark.thorough
def test_the_sweep_finds_what_a_weaker_setting_loses(folder: Path) -> None:
    """Without a sync at each commit, the same sweep finds losses: it can tell."""

    async def check() -> None:
        world = await _run(folder / "run.db", "NORMAL")
        assert (await _sweep(world, 1)).lost > 50

    anyio.run(check)
