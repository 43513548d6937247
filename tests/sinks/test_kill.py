"""A process that is killed while it writes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import pytest

from genai_pipeline.records import Record
from genai_pipeline.sinks import JsonLines

_WRITER = textwrap.dedent(
    """
    import itertools, os, sys
    import anyio
    from genai_pipeline.records import Record
    from genai_pipeline.sinks import JsonLines

    async def main(path, segment, backend):
        numbers = itertools.count()

        async def work():
            for number in numbers:
                await sink(Record({"n": number, "text": "x" * (number % 500)}))
                os.write(1, b"%d\\n" % number)

        async with JsonLines(path, segment=segment) as sink, anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(work)

    path, segment, backend = sys.argv[1:]
    anyio.run(main, path, int(segment) or None, backend, backend=backend)
    """
)


def _kill_after(acknowledged: int, path: Path, segment: int, backend: str) -> set[int]:
    """Kill a writer when it has acknowledged so many; answer all it acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(segment), backend],
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdout is not None
        seen = {int(writer.stdout.readline()) for _ in range(acknowledged)}
        writer.kill()
        # A number whose line break did not make it was acknowledged all the same.
        seen |= {int(line) for line in writer.stdout.read().splitlines() if line}
    assert writer.returncode == -signal.SIGKILL
    return seen


async def _reopen(sink: JsonLines) -> None:
    async with sink:
        await sink(Record({"n": -1}))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("acknowledged", [1, 37, 500])
def test_acknowledged_lines_survive_in_parts(
    tmp_path: Path, backend: str, acknowledged: int
) -> None:
    """After kill -9, the next run has every acknowledged line, and whole lines only."""
    folder = tmp_path / "out"
    seen = _kill_after(acknowledged, folder, 100, backend)
    anyio.run(_reopen, JsonLines(folder, segment=100))
    parts = sorted(folder.glob("part-*.jsonl"))
    found = [json.loads(line)["n"] for part in parts for line in part.read_bytes().splitlines()]
    assert seen <= set(found)
    assert len(found) == len(set(found))
    names = {name for part in parts for name in (part.name, f".{part.name}.keys")}
    assert {path.name for path in folder.iterdir()} == {".lock", *names}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_old_file_survives_whole(tmp_path: Path, backend: str) -> None:
    """After kill -9, the file is the old one, and the next run removes what was left beside it."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    _kill_after(300, path, 0, backend)
    assert path.read_text() == "old\n"
    assert len(list(tmp_path.iterdir())) == 2
    anyio.run(_reopen, JsonLines(path))
    assert path.read_text() == '{"n": -1}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]
