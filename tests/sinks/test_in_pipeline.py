"""Sinks at the end of a pipeline."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genai_pipeline._stages import map as mapped
from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.pipeline import Pipeline
from genai_pipeline.records import Delivery, Record
from genai_pipeline.sinks import Collect, JsonLines

pytestmark = pytest.mark.anyio


class _Numbers:
    """A source of numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def __aiter__(self) -> AsyncIterator[Delivery[int]]:
        for number in range(self.count):
            yield Delivery(Record(number, str(number)))


def _refuse_thirds(number: int) -> int:
    if number % 3 == 0:
        raise DataError("a third")
    return number


@pytest.mark.parametrize("segment", [None, 50])
async def test_run_writes_values_and_dead_letters(tmp_path: Path, segment: int | None) -> None:
    """A run ends every record in the sink or among the dead letters, both JSON Lines."""
    report = await Pipeline(
        source=_Numbers(300),
        stage=mapped(_refuse_thirds),
        sink=JsonLines(tmp_path / "out", segment=segment),
        dead_letters=JsonLines(tmp_path / "dead.jsonl"),
        max_failures=300,
    ).run()
    assert (report.read, report.written, report.dead) == (300, 200, 100)
    paths = [tmp_path / "out"] if segment is None else sorted((tmp_path / "out").glob("part-*"))
    found = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    assert sorted(found) == [number for number in range(300) if number % 3]
    dead = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_bytes().splitlines()]
    assert sorted(letter["payload"] for letter in dead) == list(range(0, 300, 3))
    assert dead[0]["message"] == "a third"


async def test_wrong_path_costs_nothing(tmp_path: Path) -> None:
    """A sink that cannot be opened fails the run before anything is read or paid."""
    calls: list[int] = []
    pipeline = Pipeline(
        source=_Numbers(3),
        stage=mapped(calls.append),
        sink=JsonLines(tmp_path / "nowhere" / "out.jsonl"),
    )
    with pytest.raises(ConfigurationError, match="does not exist"):
        await pipeline.run()
    assert calls == []


async def test_same_file_for_values_and_dead_letters_is_refused(tmp_path: Path) -> None:
    """Values and dead letters cannot replace one file; that is told before anything is read."""
    path = tmp_path / "out.jsonl"
    pipeline = Pipeline(
        source=_Numbers(3), stage=mapped(str), sink=JsonLines(path), dead_letters=JsonLines(path)
    )
    with pytest.raises(ConfigurationError, match="is being written by another run"):
        await pipeline.run()
    assert list(tmp_path.iterdir()) == []


async def test_collect_needs_no_life_cycle() -> None:
    """Collect has all values when the run is over."""
    sink: Collect[str] = Collect()
    await Pipeline(source=_Numbers(10), stage=mapped(str), sink=sink).run()
    assert sorted(sink.values) == sorted(map(str, range(10)))
