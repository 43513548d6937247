"""A run that waits for space, as whoever started it sees it: its status, and a signal to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from genai_pipeline.journals import read_status
from tests.cli.command import environment, hear_signals
from tests.cli.journal_jobs import bill, say, write_jobs

_FULL = """
import errno
import os


class Full(gp.sinks.Disk):
    def write(self, fd, data, offset):
        if "FULL" in os.environ and b'"fine"' in bytes(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data, offset)


def waiting():
    import attrs

    return attrs.evolve(
        pipeline(), sink=gp.sinks.JsonLines("answers", segment=1000, disk=Full())
    )
"""


def _wait_for_a_wait(folder: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while (said := read_status(folder / "run.db")) is None or not said.waits:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the run does not wait"
        time.sleep(0.02)


def test_a_run_that_waits_for_space_tells_and_stops(tmp_path: Path) -> None:
    """It says so in its status, ends by SIGTERM with 75, and what it had paid for is kept."""
    write_jobs(tmp_path)
    with (tmp_path / "paid.py").open("a") as jobs:
        jobs.write(_FULL)
    run = [sys.executable, "-m", "genai_pipeline", "run", "paid.py:waiting", "-q"]
    hear_signals()
    process = subprocess.Popen(
        run,
        cwd=tmp_path,
        env=environment(FULL="1", MENDED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for_a_wait(tmp_path, process)
    told = say("status", str(tmp_path / "run.db")).out
    plain = json.loads(say("status", str(tmp_path / "run.db"), "--json").out)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert "waits       run 1 for space for" in told
    assert plain["waits"]["1"].endswith("answers/.open.jsonl.tmp")
    assert len(bill(tmp_path)) == 4
    done = subprocess.run(
        run, cwd=tmp_path, env=environment(MENDED="1"), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(bill(tmp_path)) == len(set(bill(tmp_path))) == 24
