"""``kill -9`` at every transition, on real files, with the model in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline.journals import Sqlite

from .mortal_points import POINTS, RECORDS, SHAPES

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Start the model; give the file of its bill, and its port."""
    path = tmp_path_factory.mktemp("bill") / "bill"
    command = [sys.executable, str(HERE / "bill_server.py"), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield path, server.stdout.readline().strip()
        server.kill()


def work(folder: Path, port: str, shape: str, point: str, number: int, backend: str) -> Any:
    """Run the worker; answer its report, or `None` if it was killed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.journaled.mortal_worker"),
            *(str(folder), port, shape, point, str(number), backend),
        ],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_it_resumes(
    tmp_path: Path, bill: tuple[Path, str], shape: str, point: str
) -> None:
    """Killed at a transition, the next run ends every record once and buys no kept answer again."""
    path, port = bill
    path.write_bytes(b"")
    backend = ("asyncio", "trio")[(list(POINTS).index(point) + SHAPES.index(shape)) % 2]
    assert work(tmp_path, port, shape, point, 2, backend) is None
    report = work(tmp_path, port, shape, "", 0, backend)
    assert report["read"] == RECORDS
    assert report["written"] + report["skipped"] + report["filtered"] == RECORDS
    billed = Counter(path.read_text().splitlines())
    again = {prompt: count for prompt, count in billed.items() if count > 1}
    assert sum(count - 1 for count in again.values()) <= POINTS[point]

    async def look() -> None:
        async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            assert await journal.counts("pipeline") == {"done": RECORDS}
            unknown = await journal.open_calls()
            assert len(unknown) <= (point in {"after T1", "before sending", "sent", "before T2"})

    anyio.run(look)
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    out: dict[str, Any] = {}
    for key, value in lines:
        assert out.setdefault(key, value) == value, "a repeat brought something else"
    written = Counter(key for key, _ in lines)
    repeated = {key.partition("/")[0] for key, times in written.items() if times > 1}
    assert len(repeated) <= 1, "the outputs of more than one record were written again"
    if shape == "N to 1":
        values = [part for key in out for part in json.loads(out[key].removeprefix("re "))]
        assert sorted(values) == list(range(RECORDS)), "groups were formed anew"
    else:
        assert len(out) == (2 * RECORDS if shape == "1 to N" else RECORDS)
    settled = [line.split() for line in (tmp_path / "settled").read_text().splitlines()]
    assert {key for key, good in settled if good == "True"} == set(map(str, range(RECORDS)))
    if point != "after T3":
        return
    last = work(tmp_path, port, shape, "", 0, backend)
    assert (last["skipped"], last["calls"], last["replayed"]) == (RECORDS, 0, 0)
    assert sum(billed.values()) == len(path.read_text().splitlines())
