"""Sources and the engine: bad input goes among the dead letters, senders hear of the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.sources import JsonLines, Push

pytestmark = pytest.mark.anyio


class _Kept:
    """A sink that keeps records."""

    def __init__(self) -> None:
        self.records: list[gp.Record[Any]] = []

    async def __call__(self, record: gp.Record[Any]) -> None:
        self.records.append(record)


async def test_bad_lines_are_dead_letters_and_the_rest_is_written(tmp_path: Path) -> None:
    """The report adds up, and the dead letter holds the raw line and its place."""
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f"{number}\n" for number in range(1000)) + "{oops\n")
    written, dead = _Kept(), _Kept()
    report = await gp.Pipeline(
        source=JsonLines(file),
        stage=gp.map(lambda number: number + 1),
        sink=written,
        dead_letters=dead,
    ).run()
    assert (report.read, report.written, report.dead) == (1001, 1000, 1)
    assert sorted(record.value for record in written.records) == list(range(1, 1001))
    (letter,) = (record.value for record in dead.records)
    assert (letter.payload, letter.category, letter.stage) == ("{oops", "data", "source")
    assert "line 1001, column 2: no JSON" in letter.message


async def test_a_pipeline_reads_from_disk_only_what_it_has_room_for(tmp_path: Path) -> None:
    """A run that is stopped early closes the file, and a second run reads it again."""
    file = tmp_path / "a.jsonl"
    file.write_text("1\n" * 50_000)
    written = _Kept()

    def stop(number: int) -> int:
        pipeline.stop()
        return number

    pipeline = gp.Pipeline(source=JsonLines(file), stage=gp.map(stop), sink=written)
    report = await pipeline.run()
    assert report.stopped
    assert report.read == report.written + report.handed_back < 5000
    assert report.written == len(written.records) > 0


async def test_senders_hear_how_their_record_ended() -> None:
    """A web hook that submits goes on when its record is written."""
    push: Push[str] = Push()
    written = _Kept()
    pipeline = gp.Pipeline(source=push, stage=gp.map(str.upper), sink=written, dead_letters=_Kept())

    async def hook() -> None:
        await push.submit("hello", key="event-1")
        assert [record.value for record in written.records] == ["HELLO"]
        push.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hook)
        report = await pipeline.run()
    assert (report.written, report.exhausted) == (1, True)


async def test_senders_hear_that_the_pipeline_stopped() -> None:
    """What was put but not finished when the run stops is handed back to its sender."""
    push: Push[int] = Push()
    ended: list[str] = []

    async def sender(number: int) -> None:
        try:
            await push.submit(number)
            ended.append("written")
        except gp.errors.Stopped:
            ended.append("stopped")

    async def stop(number: int) -> int:
        pipeline.stop()
        return number

    pipeline = gp.Pipeline(source=push, stage=gp.map(stop), sink=_Kept(), max_in_flight=1)
    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(sender, number)
        await anyio.wait_all_tasks_blocked()
        report = await pipeline.run()
    assert len(ended) == 20
    assert ended.count("written") == report.written
    assert "stopped" in ended
