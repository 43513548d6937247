"""A process that is stopped, as by ``SIGSTOP`` or a machine that sleeps, while calls are made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import Sqlite
from genai_pipeline.journals._status import read_status

from .mortal_points import OUTPUT
from .stopped_worker import IN_FLIGHT, RECORDS, TIMEOUT

HERE = Path(__file__).parent
COST = 1000
"""What an answer costs, in nano-dollars: one token of input."""

ALL = {str(number) for number in range(RECORDS)}
STUCK = {str(number) for number in range(IN_FLIGHT // 2)}
"""The calls that are answered only when nobody waits for their first attempt any more."""


@attrs.frozen
class Place:
    """The model, and the worker that is stopped."""

    folder: Path
    model: subprocess.Popen[str]
    worker: subprocess.Popen[str]

    def answer(self, prompts: set[str]) -> None:
        """Let the model answer these *prompts* from now on."""
        assert self.model.stdin is not None
        print(json.dumps(sorted(prompts)), file=self.model.stdin, flush=True)

    def wait_for_answers(self, prompts: set[str]) -> None:
        """Return when each of these has been answered."""
        assert self.model.stdout is not None
        waiting = set(prompts)
        while waiting:
            line = self.model.stdout.readline()
            assert line, "the model failed, and tells why on stderr"
            waiting.discard(line.strip())

    def told(self) -> Iterator[str]:
        """Answer the lines that the worker prints."""
        assert self.worker.stdout is not None
        return map(str.strip, iter(self.worker.stdout.readline, ""))

    def billed(self) -> Counter[str]:
        """Answer how often each prompt is on the model's bill."""
        return Counter((self.folder / "bill").read_text().split())


@pytest.fixture(params=["asyncio", "trio"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Start the model and the worker."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, str(HERE / "held_server.py"), str(tmp_path / "bill")]
    with subprocess.Popen(command, **pipes) as model:
        assert model.stdout is not None
        port = model.stdout.readline().strip()
        command = [sys.executable, "-m", "tests.journaled.stopped_worker"]
        with subprocess.Popen(
            [*command, str(tmp_path), port, request.param], cwd=HERE.parents[1], **pipes
        ) as worker:
            yield Place(tmp_path, model, worker)
            worker.kill()
        model.kill()


def test_stopped_with_calls_under_way_it_goes_on(place: Place) -> None:
    """
    A run that is stopped for longer than an attempt may take goes on, and ends all its records.

    What was answered meanwhile is kept and not asked for again. Only an attempt whose time was up
    with no answer there is made again, and counts at the most it can cost.
    """
    told = place.told()
    early = Counter(iter(lambda: next(told), "stopped"))
    os.waitid(os.P_PID, place.worker.pid, os.WSTOPPED | os.WNOWAIT)
    place.answer(ALL - STUCK)
    place.wait_for_answers({str(number) for number in range(IN_FLIGHT)} - STUCK)
    look_at_who_has_it(place)
    time.sleep(TIMEOUT)  # whatever is under way has now had its time
    place.worker.send_signal(signal.SIGCONT)
    late = Counter(next(told) for _ in STUCK)
    place.answer(STUCK)
    *more, last = told
    assert place.worker.wait() == 0
    given_up = early + late + Counter(more)
    answered_meanwhile = {str(number) for number in range(IN_FLIGHT)} - STUCK
    assert set(late) == STUCK
    assert not answered_meanwhile & (late + Counter(more)).keys()
    report = json.loads(last)
    assert (report["read"], report["written"], report["errors"]) == (RECORDS, RECORDS, {})
    lines = (place.folder / "out.jsonl").read_text().splitlines()
    assert sorted(map(json.loads, lines)) == sorted(f"re {prompt}" for prompt in ALL)
    billed = place.billed()
    assert billed.keys() == ALL
    assert billed <= Counter(ALL) + given_up, "an answer that was there was asked for again"
    look_at_the_journal(place.folder, billed, given_up)


def look_at_who_has_it(place: Place) -> None:
    """See that the journal of a process that is stopped is in use, and by whom."""
    path, who = place.folder / "run.db", place.worker.pid

    async def look() -> None:
        with pytest.raises(ConfigurationError, match=f"is in use by process {who} on "):
            async with Sqlite(path, ballast=0):
                pass

    anyio.run(look)
    status = read_status(path)
    assert status is not None
    assert (status.state, status.is_running, status.owner.pid) == ("open", True, who)


def look_at_the_journal(folder: Path, billed: Counter[str], given_up: Counter[str]) -> None:
    """See that each record is done, and each attempt that was given up counts at its most."""

    async def look() -> None:
        async with Sqlite(folder / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            assert await journal.counts("pipeline") == {"done": RECORDS}
            lost = await journal.open_calls()
            (line,) = await journal.budgets()
        assert Counter(call.key for call in lost) == given_up
        assert all(call.charged > OUTPUT * 10_000 for call in lost)
        assert line.reserved == 0
        assert line.spent == RECORDS * COST + sum(call.charged for call in lost)
        assert billed.total() * COST <= line.spent <= line.cap

    anyio.run(look)
