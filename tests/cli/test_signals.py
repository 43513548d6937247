"""Signals stop a run in order the first time, at once the second, and lose nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import start

_PATIENCE = 30.0


def when_begun(process: subprocess.Popen[str], sign: Path) -> None:
    """Wait until the run has made the file *sign*."""
    end = time.monotonic() + _PATIENCE
    while not sign.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the run does not begin"
        time.sleep(0.01)


def told(process: subprocess.Popen[str]) -> str:
    """Wait until the process ends, which no grace lasts; answer what it wrote to stderr."""
    return process.communicate(timeout=_PATIENCE)[1]


def account(folder: Path) -> dict[str, Any]:
    """Answer the report of the run; its counts add up."""
    found: dict[str, Any] = json.loads((folder / "r.json").read_text())
    ends = ("written", "filtered", "dead", "handed_back", "skipped", "pending")
    assert found["read"] == sum(found[end] for end in ends)
    assert found["pending"] == 0
    return found


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal(jobs: Path, backend: str, number: signal.Signals) -> None:
    """A run of 10,000 slow records exits long before its grace with 75, its output whole."""
    process = start("run", "jobs.py:slow", "--report", "r.json", "--backend", backend, cwd=jobs)
    when_begun(process, jobs / "begun")
    process.send_signal(number)
    err = told(process)
    assert process.returncode == 75
    assert f"signal {number.name}: reading no more" in err
    assert "jobs:slow: stopped after" in err
    found = account(jobs)
    assert (found["outcome"], found["stopped"]) == ("stopped", f"signal {number.name}")
    lines = (jobs / "slow.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == found["written"] < 10_000
    assert not (jobs / "slow.txt.part").exists()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_second_signal(jobs: Path, backend: str) -> None:
    """A second signal does not wait for the grace; all that was read is handed back."""
    process = start("run", "jobs.py:stuck", "--report", "r.json", "--backend", backend, cwd=jobs)
    when_begun(process, jobs / "begun")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "signal SIGINT: reading no more; what is in flight has 300 s" in first
    process.send_signal(signal.SIGINT)
    err = told(process)
    assert process.returncode == 130
    assert "once more: ending now" in err
    found = account(jobs)
    assert (found["outcome"], found["written"]) == ("interrupted", 0)
    assert found["handed_back"] == found["read"] == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_the_run(jobs: Path, number: signal.Signals) -> None:
    """A signal while the pipeline is being made ends the process at once, in one line."""
    (jobs / "heavy.py").write_text(_HEAVY)
    process = start("run", "heavy.py", cwd=jobs)
    when_begun(process, jobs / "loading")
    process.send_signal(number)
    assert told(process) == "genai-pipeline: interrupted\n"
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_a_command_in_the_background(jobs: Path, number: signal.Signals) -> None:
    """A command that a script began with ``&``, which ignores Ctrl-C, is ended just so."""
    (jobs / "heavy.py").write_text(_HEAVY)
    process = start(
        "run", "heavy.py", cwd=jobs, before=("sh", "-c", 'trap "" INT; exec "$@"', "sh")
    )
    when_begun(process, jobs / "loading")
    process.send_signal(number)
    assert told(process) == "genai-pipeline: interrupted\n"
    assert process.returncode == 130


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_opening(jobs: Path, number: signal.Signals, backend: str) -> None:
    """A signal while the sink is being opened ends the process too, and closes what is open."""
    (jobs / "opening.py").write_text(_OPENING)
    process = start("run", "opening.py", "--backend", backend, cwd=jobs)
    when_begun(process, jobs / "opening")
    process.send_signal(number)
    assert told(process) == "genai-pipeline: interrupted\n"
    assert process.returncode == 130
    assert (jobs / "closed").exists()


_HEAVY = "import pathlib, time\npathlib.Path('loading').touch()\ntime.sleep(60)\n"

_OPENING = """
import pathlib
import anyio
import genai_pipeline as gp
from jobs import Numbers, slowly


class Sink:
    async def __aenter__(self):
        try:
            pathlib.Path("opening").touch()
            await anyio.sleep(60)
        finally:
            pathlib.Path("closed").touch()

    async def __aexit__(self, *_):
        pass

    async def __call__(self, record):
        pass


pipeline = gp.Pipeline(source=Numbers(3), stage=gp.map(slowly), sink=Sink())
"""
