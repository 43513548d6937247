"""``kill -9`` at every transition, on real files, with the model in a process of its own."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from genai_pipeline.journals import Sqlite

from .mortal_points import OUTPUT, POINTS, RECORDS, SHAPES, UNKNOWN, applies

HERE = Path(__file__).parent
COST = 1000
"""What an answer costs, in nano-dollars: one token of input."""


@attrs.frozen
class Place:
    """The model, which keeps a bill, and who forks workers."""

    bill: Path
    port: int
    workers: subprocess.Popen[str]

    def work(self, folder: Path, shape: str, point: str, number: int, backend: str) -> Any:
        """Let a process work; answer its report, or `None` if it was killed."""
        assert self.workers.stdin is not None
        assert self.workers.stdout is not None
        told = [str(folder), self.port, shape, point, number, backend]
        print(json.dumps(told), file=self.workers.stdin, flush=True)
        code, report = json.loads(self.workers.stdout.readline())
        if code == -signal.SIGKILL:
            return None
        assert code == 0, "the worker failed, and tells why on stderr"
        return report


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start the model, and who forks workers."""
    path = tmp_path_factory.mktemp("bill") / "bill"
    model = [sys.executable, str(HERE / "bill_server.py"), str(path)]
    workers = [sys.executable, "-m", "tests.journaled.mortal_worker"]
    with (
        subprocess.Popen(model, stdout=subprocess.PIPE, text=True) as server,
        subprocess.Popen(
            workers,
            cwd=HERE.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as forker,
    ):
        assert server.stdout is not None
        yield Place(path, int(server.stdout.readline()), forker)
        server.kill()


@pytest.mark.parametrize(
    ("point", "shape"),
    [(point, shape) for point in POINTS for shape in SHAPES if applies(point, shape)],
)
@pytest.mark.thorough
def test_killed_anywhere_it_resumes(tmp_path: Path, place: Place, shape: str, point: str) -> None:
    """Killed at a transition, the next run ends every record once and buys no kept answer again."""
    place.bill.write_bytes(b"")
    backend = ("asyncio", "trio")[(list(POINTS).index(point) + SHAPES.index(shape)) % 2]
    assert place.work(tmp_path, shape, point, 2, backend) is None
    done, with_rows = left_in_the_table(tmp_path, shape)
    assert done == with_rows, "rows are there without their end, or an end without its rows"
    report = place.work(tmp_path, shape, "", 0, backend)
    assert report["read"] == RECORDS
    assert report["written"] + report["skipped"] + report["filtered"] == RECORDS
    billed = Counter(place.bill.read_text().splitlines())
    assert billed.total() - len(billed) <= POINTS[point]
    look_at_the_journal(tmp_path, unknown=point in UNKNOWN)
    look_at_the_money(tmp_path, billed)
    look_at_the_output(tmp_path, shape)
    if point != "after T3":
        return
    last = place.work(tmp_path, shape, "", 0, backend)
    assert (last["skipped"], last["calls"], last["replayed"]) == (RECORDS, 0, 0)
    assert billed.total() == len(place.bill.read_text().splitlines())


@pytest.mark.parametrize("shape", SHAPES)
def test_killed_while_it_takes_over_it_resumes(tmp_path: Path, place: Place, shape: str) -> None:
    """Killed again while it puts in order what a killed process left, the third finds the same."""
    place.bill.write_bytes(b"")
    assert place.work(tmp_path, shape, "sent", 2, "asyncio") is None
    assert place.work(tmp_path, shape, "in the take-over", 1, "trio") is None
    assert place.work(tmp_path, shape, "", 0, "asyncio")["read"] == RECORDS
    billed = Counter(place.bill.read_text().splitlines())
    assert billed.total() - len(billed) <= 1
    look_at_the_journal(tmp_path, unknown=True)
    look_at_the_money(tmp_path, billed)
    look_at_the_output(tmp_path, shape)


def left_in_the_table(folder: Path, shape: str) -> tuple[set[bytes], set[bytes]]:
    """Answer what is done in a journal that was left, records or lists, and what has rows."""
    copy = folder / "left"
    copy.mkdir()
    for path in folder.glob("run.db*"):
        shutil.copy(path, copy / path.name)
    what = "item IN (SELECT item FROM gathered)" if shape == "N to 1" else "latest"
    with closing(sqlite3.connect(copy / "run.db")) as connection:
        done = connection.execute(
            f"SELECT substr(item, 1, 14) FROM item WHERE state = 'done' AND {what}"
        ).fetchall()
        with_rows = connection.execute("SELECT _record FROM out").fetchall()
    return set(done), set(with_rows)


def look_at_the_journal(folder: Path, *, unknown: bool) -> None:
    """See that every record is done, and that no more than one call is of unknown outcome."""

    async def look() -> None:
        async with Sqlite(folder / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            assert await journal.counts("pipeline") == {"done": RECORDS}
            assert len(await journal.open_calls()) == unknown
            rows = await journal.rows("out")
            out = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
            assert {row["key"]: row["value"] for row in rows} == dict(out)

    anyio.run(look)


def look_at_the_money(folder: Path, billed: Counter[str]) -> None:
    """See that nothing is held, that a lost call counts at its most, and the others as billed."""

    async def look() -> None:
        async with Sqlite(folder / "run.db", ballast=0) as journal:
            (line,) = await journal.budgets()
            lost = await journal.open_calls()
        assert line.reserved == 0
        assert all(call.charged > OUTPUT * 10_000 for call in lost)
        assert line.spent == len(billed) * COST + sum(call.charged for call in lost)
        assert billed.total() * COST <= line.spent <= line.cap

    anyio.run(look)


def look_at_the_output(folder: Path, shape: str) -> None:
    """See that each output is there once, whole, and that the source was told after that."""
    lines = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
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
    files = [path for path in (folder / "files").iterdir() if path.name != ".lock"]
    assert {path.suffix for path in files} == {".json"}, "something was left half-written"
    told = [value if isinstance(value, str) else f"{json.dumps(value)}\n" for value in out.values()]
    assert sorted(map(_compact, told)) == sorted(_compact(path.read_text()) for path in files)
    settled = [line.split() for line in (folder / "settled").read_text().splitlines()]
    assert {key for key, good in settled if good == "True"} == set(map(str, range(RECORDS)))


def _compact(text: str) -> str:
    return text if text.startswith("re ") else json.dumps(json.loads(text))
