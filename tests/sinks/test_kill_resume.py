"""Pipelines with a journal that are killed again and again, each with one of our sinks."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Sqlite

from .mortal_sinks import IN_FLIGHT, KINDS, RECORDS, expected

_ROOT = Path(__file__).parent.parent.parent
_DEATHS = 5


def _work(folder: Path, kind: str, backend: str, point: str = "", when: float = 0) -> Any:
    """Run the worker; answer its report, or `None` if it was killed."""
    command = [sys.executable, "-m", "tests.sinks.mortal_worker", str(folder), kind, point]
    done = subprocess.run(
        [*command, str(when), backend],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _points(kind: str, chance: random.Random) -> list[tuple[str, float]]:
    """Choose where to die: within the calls to the disk, after a write, or any time."""
    disk = "after the sink" if kind == "a table" else "disk"  # SQLite calls the disk by itself
    return [
        (disk, chance.randint(6, 30)),
        ("after the sink", chance.randint(1, 20)),
        (disk, chance.randint(6, 20)),
        ("time", chance.uniform(0.0, 0.3)),
        ("after the sink", chance.randint(1, 10)),
    ][:_DEATHS]


async def _redrive(folder: Path) -> int:
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        return await journal.redrive(Selector())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thorough
def test_killed_again_and_again_output_is_there_once(tmp_path: Path, kind: str, seed: int) -> None:
    """Whenever a run is killed, resuming leaves each output once, and pays for no answer twice."""
    chance = random.Random(f"{kind} {seed}")
    deaths = 0
    for number, (point, when) in enumerate(_points(kind, chance)):
        backend = ("asyncio", "trio")[number % 2]
        deaths += _work(tmp_path, kind, backend, point, when) is None
    assert deaths, "nothing was killed"
    _work(tmp_path, kind, "asyncio")
    if anyio.run(_redrive, tmp_path):  # who was there at three deaths is taken for their cause
        assert _work(tmp_path, kind, "asyncio")["dead"] == 0
    found = KINDS[kind].read(tmp_path / "sink")
    assert sorted(found, key=lambda value: str(value["key"])) == sorted(
        expected(), key=lambda value: str(value["key"])
    )

    bill = Counter((tmp_path / "bill").read_text().splitlines())
    assert set(bill) == {f"say {number}" for number in range(RECORDS)}
    paid_again = bill.total() - RECORDS
    assert paid_again <= deaths * IN_FLIGHT

    async def look() -> None:
        async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            assert await journal.counts("pipeline") == {"done": RECORDS}
            assert paid_again <= len(await journal.open_calls())

    anyio.run(look)
    again = _work(tmp_path, kind, "trio")
    assert (again["calls"], again["read"]) == (0, RECORDS)
    assert Counter((tmp_path / "bill").read_text().splitlines()) == bill
    assert sorted(map(str, KINDS[kind].read(tmp_path / "sink"))) == sorted(map(str, found))
