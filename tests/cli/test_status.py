"""``status``, ``runs`` and ``cost``: what a journal tells, and that looking changes nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import environment, hear_signals
from tests.cli.journal_jobs import END, bill, money, plain, say, shape, write_jobs

LOOKS = (
    ("status", "run.db"),
    ("runs", "run.db"),
    ("cost", "run.db", "--by", "tenant,model"),
    ("dead", "list", "run.db"),
    ("journal", "check", "run.db"),
    ("dead", "redrive", "run.db", "--all", "--dry-run"),
)


def test_looking_changes_nothing(crashed: Path) -> None:
    """After a crash every command that only looks leaves all files as they were."""
    before = shape(crashed)
    assert (crashed / "run.db-wal").stat().st_size > 0
    for look in LOOKS:
        done = say(*look)
        assert (done.code, shape(crashed) == before) == (0, True), (look, done.err)


def told(folder: Path) -> list[Any]:
    """Answer all that a journal tells that does not depend on who had it last."""
    status = plain("status", "run.db")
    return [
        status,
        plain("runs", "run.db"),
        plain("cost", "run.db", "--by", "tenant,stage,run"),
        plain("dead", "list", "run.db"),
    ]


def test_it_tells_what_the_next_run_will_find(crashed: Path) -> None:
    """What is told after a crash is what the journal says once somebody has put it in order."""
    before = told(crashed)
    assert say("journal", "vacuum", "run.db").code == 0
    assert told(crashed) == before


def test_status_after_a_crash(crashed: Path) -> None:
    """It names the process that died, and every record and every call is accounted for."""
    lines = say("status", "run.db").lines
    assert lines[0].startswith("run.db: no run has it; process ")
    assert lines[0].endswith(f"on {socket.gethostname()} died with it")
    assert "run 1 died" in lines[1]
    assert max(map(len, lines)) <= 80
    status = plain("status", "run.db")
    assert (status["source"], status["running"]) == ("file", False)
    (pipeline,) = status["pipelines"]
    assert set(pipeline["records"]) <= {"ready", "done", "dead"}
    assert 1 <= status["unknown_calls"] <= 4, "at most those in flight"
    assert len(status["unknown"]) == status["unknown_calls"]
    assert "13" in {call["key"] for call in status["unknown"]}, "the one it died in is listed"
    total = plain("cost", "run.db")["total"]
    assert total["unknown"] == status["unknown_calls"]
    assert total["calls"] >= len(bill(crashed)), "every call on the bill is in the journal"
    (budget,) = status["budgets"]
    assert budget["spent_usd"] == total["charged_usd"]
    assert float(budget["spent_usd"]) >= money(len(bill(crashed)))


def test_status_of_a_living_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: None
) -> None:
    """While a run has the journal, status tells how it is doing; others are told who has it."""
    write_jobs(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path)
    try:
        _wait_for(tmp_path / "begun", run)
        status = plain("status", "run.db")
        text = say("status", "run.db").out
        refused = [say(*look) for look in (*LOOKS[1:], ("resume", "paid.py:pipeline"))]
        assert run.poll() is None
    finally:
        run.terminate()
        run.communicate(timeout=30)
    assert (status["source"], status["running"]) == ("owner", True)
    assert status["owner"]["pid"] == run.pid
    assert text.startswith(f"run.db: in use by process {run.pid} on {socket.gethostname()}, for ")
    for done in refused:
        assert (done.code, done.out) == (78, "")
        assert f"is in use by process {run.pid} on {socket.gethostname()}" in done.err
        assert f"genai-pipeline status {tmp_path / 'run.db'}" in done.err
    assert run.returncode == 75, "the run was not disturbed, only asked to stop"


def test_what_the_owner_said_last(crashed: Path) -> None:
    """What was said from another machine is told as such; what cannot be read is passed over."""
    path = crashed / "run.db.status"
    said = json.loads(path.read_text())
    said["owner"]["host"] = "elsewhere"
    path.write_text(json.dumps(said))
    first = say("status", "run.db").lines[0]
    assert f"in use by process {said['owner']['pid']} on elsewhere, which cannot be seen" in first
    assert plain("status", "run.db")["running"] is None
    path.write_text(json.dumps({**said, "state": "stopped", "full": True}))
    assert "gave up, since its storage failed" in say("status", "run.db").lines[0]
    path.write_text("{")
    assert say("status", "run.db").lines[0] == "run.db: no run has it"


def test_status_of_a_full_disk(crashed: Path) -> None:
    """A living owner whose disk is full says so."""
    path = crashed / "run.db.status"
    said = json.loads(path.read_text())
    said["owner"]["pid"] = os.getpid()
    path.write_text(json.dumps({**said, "full": True}))
    assert "full: no new call is made until there is room" in say("status", "run.db").out
    assert plain("status", "run.db")["full"] is True


def _run(folder: Path) -> subprocess.Popen[str]:
    hear_signals()
    return subprocess.Popen(
        [sys.executable, "-m", "genai_pipeline", "run", "paid.py:pipeline", "-q", "--grace", "0"],
        cwd=folder,
        env=environment(SLOWLY="600"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(sign: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while not sign.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the run does not begin"
        time.sleep(0.01)


def test_runs(crashed: Path) -> None:
    """Runs are listed with the newest first, with what became of each."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    done = say("runs", "run.db")
    header, second, first = done.lines
    assert header.split()[:3] == ["RUN", "PIPELINE", "STATE"]
    assert second.split()[:3] == ["2", "asked", "ended"]
    assert first.split()[:3] == ["1", "asked", "died"]
    newest, *rest = plain("runs", "run.db", "--limit", "1")
    assert (newest["run"], newest["state"], rest) == (2, "ended", [])
    assert sum(newest["counts"][end] for end in ("written", "dead", "skipped")) == END


def test_costs_add_up(crashed: Path) -> None:
    """However they are grouped, costs are the same in all, and no less than the bill."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    by_tenant = plain("cost", "run.db", "--by", "tenant")
    by_most = plain("cost", "run.db", "--by", "tenant,model,stage,provider,run")
    assert {line["group"]["tenant"] for line in by_tenant["groups"]} == {"acme", "zeta"}
    assert by_tenant["total"] == by_most["total"]
    total = by_tenant["total"]
    for figure in ("calls", "failed", "unknown", "input_tokens", "output_tokens"):
        assert sum(line[figure] for line in by_most["groups"]) == total[figure]
    assert total["calls"] >= len(bill(crashed))
    assert float(total["charged_usd"]) >= money(len(bill(crashed)))
    assert float(total["failed_charged_usd"]) > 0, "the call that was lost counts"
    table = say("cost", "run.db", "--by", "tenant,model").lines
    assert table[0].split()[:3] == ["TENANT", "MODEL", "CALLS"]
    assert table[-1].split()[:2] == ["total", str(total["calls"])]
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize("run", ["1", "2"])
def test_costs_of_one_run(crashed: Path, run: str) -> None:
    """Costs can be told of one run alone."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    lines = plain("cost", "run.db", "--by", "run")["groups"]
    alone = plain("cost", "run.db", "--by", "run", "--run", run)
    assert alone["groups"] == [line for line in lines if line["group"]["run"] == run]
