"""``run``: what it does, what it says and how it exits; in this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.cli import main

Captured = pytest.CaptureFixture[str]


def run(*arguments: str) -> int:
    """Run the command in this process, quietly but for the summary."""
    return main(["run", *arguments])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_default_pipeline(jobs: Path, backend: str, capsys: Captured) -> None:
    """Without a name the object called pipeline is run, on either event loop."""
    assert run("jobs.py", "--backend", backend) == 0
    assert sorted(map(int, (jobs / "out.txt").read_text().split())) == list(range(10))
    out, err = capsys.readouterr()
    assert out == ""
    assert "jobs: done in" in err
    assert "10 read = 10 written" in err
    assert "written to    out.txt" in err


def test_function_with_parameters(jobs: Path) -> None:
    """A function is called with the parameters given, typed as it says."""
    assert run("jobs.py:typed", "-p", "end=3", "-p", "factor=2", "-q") == 0
    assert (jobs / "typed.txt").read_text() == "0.0\n2.0\n4.0\n"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_function(jobs: Path, backend: str) -> None:
    """An async function is awaited in the event loop of the run."""
    assert run("jobs:later", "--backend", backend, "-q") == 0
    assert len((jobs / "later.txt").read_text().split()) == 3


def test_sample(jobs: Path, capsys: Captured) -> None:
    """A sample reads the first records and no more, and is a whole run."""
    assert run("jobs.py", "--sample", "4") == 0
    assert sorted((jobs / "out.txt").read_text().split()) == ["0", "1", "2", "3"]
    assert "4 read = 4 written" in capsys.readouterr().err


def test_sample_larger_than_the_source(jobs: Path) -> None:
    """A sample of more than there is, is all there is."""
    assert run("jobs.py", "--sample", "99", "-q") == 0
    assert len((jobs / "out.txt").read_text().split()) == 10


def test_limits_reach_the_pipeline(jobs: Path) -> None:
    """What the command line says about limits replaces what the pipeline says."""
    assert run("jobs.py", "--max-in-flight", "1", "--grace", "0.5", "-q") == 0
    assert (jobs / "out.txt").read_text().split() == list(map(str, range(10)))


def test_dead_letters_are_no_failure(jobs: Path, capsys: Captured) -> None:
    """A run with dead letters is done, and says how many there are."""
    assert run("jobs.py:half") == 0
    err = capsys.readouterr().err
    assert "done in" in err
    assert "5 records failed" in err
    assert "10 read = 5 written + 5 dead" in err
    assert "5 ValueError" in err


def test_fail_on_dead(jobs: Path) -> None:
    """Whoever wants to hear of dead letters by the exit code gets 65."""
    assert run("jobs.py:half", "--fail-on-dead", "-q") == 65


def test_failed_records_without_dead_letters(jobs: Path, capsys: Captured) -> None:
    """Records that fail with no place to go fail the run; it is told once for each class."""
    assert run("jobs.py:lossy") == 1
    err = capsys.readouterr().err
    assert "5 times ValueError: cannot do 0" in err
    assert "jobs.py, line" in err
    assert "--dead-letters PATH sets records that fail aside" in err
    assert "Traceback" not in err


def test_systemic_failure(jobs: Path, capsys: Captured) -> None:
    """What would fail every record stops the run, and the mend is told."""
    assert run("jobs.py:unauthorised") == 1
    err = capsys.readouterr().err
    assert "AuthenticationFailed: the key was not accepted" in err
    assert "check the API key" in err


def test_storage_failure(jobs: Path, capsys: Captured) -> None:
    """A full disk is exit code 74."""
    assert run("jobs.py:unwritable") == 74
    assert "StorageFailed: /data/out.jsonl: no space left on device" in capsys.readouterr().err


def test_configuration_error(jobs: Path, capsys: Captured) -> None:
    """A wrong option of the pipeline is exit code 78, and is named."""
    assert run("jobs.py:misconfigured") == 78
    assert "grace=-1; give seconds, 0 or more" in capsys.readouterr().err


def test_verbose_shows_the_traceback(jobs: Path, capsys: Captured) -> None:
    """With -v there is a traceback, and what mattered is logged."""
    assert run("jobs.py:lossy", "-v") == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "event=run_started" in err
    assert "event=record_settled" in err


def test_quiet(jobs: Path, capsys: Captured) -> None:
    """With -q a good run says nothing, and a bad one only why."""
    assert run("jobs.py", "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert run("jobs.py:lossy", "-q") == 1
    assert capsys.readouterr().err.startswith("genai-pipeline: error: the run failed\n")


def test_json_progress_and_summary_are_on_standard_error(jobs: Path, capsys: Captured) -> None:
    """Progress never touches standard output, which belongs to the data."""
    assert run("jobs.py", "--progress", "json") == 0
    assert capsys.readouterr().out == ""


def account(path: Path) -> dict[str, Any]:
    """Answer the report in the file *path*."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def test_report(jobs: Path) -> None:
    """The report has the outcome and the whole account; no temporary file is left."""
    assert run("jobs.py", "--report", "r.json", "-q") == 0
    found = account(jobs / "r.json")
    assert (found["outcome"], found["exit_code"], found["failures"]) == ("done", 0, [])
    assert (found["read"], found["written"], found["exhausted"]) == (10, 10, True)
    assert [stage["name"] for stage in found["stages"]] == ["slowly", "sink"]
    assert found["began_at"] <= found["ended_at"]
    assert [path.name for path in jobs.iterdir() if path.name.startswith(".r")] == []


def test_report_of_a_failed_run(jobs: Path) -> None:
    """A run that fails leaves its report too, with what failed and how often."""
    assert run("jobs.py:lossy", "--report", "r.json", "-q") == 1
    found = account(jobs / "r.json")
    assert (found["outcome"], found["exit_code"]) == ("failed", 1)
    assert (found["read"], found["handed_back"], found["errors"]) == (5, 5, {"ValueError": 5})
    (failure,) = found["failures"]
    assert (failure["error"], failure["count"]) == ("ValueError", 5)
    assert "failing" in failure["where"]


def test_report_of_a_run_that_never_began(jobs: Path) -> None:
    """Also when the pipeline cannot be made, the report says why."""
    assert run("jobs.py:misconfigured", "--report", "r.json", "-q") == 78
    assert account(jobs / "r.json")["failures"][0]["error"] == "ConfigurationError"


def test_report_replaces_the_old_one(jobs: Path) -> None:
    """A second report takes the place of the first, and keeps its permissions."""
    (jobs / "r.json").write_text("old")
    (jobs / "r.json").chmod(0o640)
    assert run("jobs.py", "--report", "r.json", "-q") == 0
    assert account(jobs / "r.json")["outcome"] == "done"
    assert (jobs / "r.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing/r.json", "does not exist; make it"), (".", "is a folder; give the name of a file")],
)
def test_report_that_cannot_be_written(
    jobs: Path, capsys: Captured, path: str, reason: str
) -> None:
    """A place where no report can be is refused before the run begins."""
    assert run("jobs.py", "--report", path) == 78
    assert reason in capsys.readouterr().err
    assert not (jobs / "out.txt").exists()


def test_report_that_fails_at_the_end(
    jobs: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at the end is told, the old report stays, the exit code says so."""
    (jobs / "r.json").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genai_pipeline.cli._report_file.os.fsync", full)
    assert run("jobs.py", "--report", "r.json") == 74
    assert "the report r.json cannot be written: No space left on device" in capsys.readouterr().err
    assert (jobs / "r.json").read_text() == "old"
    assert sorted(path.name for path in jobs.iterdir() if "r.json" in path.name) == ["r.json"]


def test_dry_run(jobs: Path, capsys: Captured) -> None:
    """A dry run reads and counts, names what is unsound, and calls and writes nothing."""
    assert run("jobs.py:checked", "--dry-run", "--report", "r.json") == 0
    err = capsys.readouterr().err
    assert "checked: dry run done in" in err
    assert "10 read, 8 sound" in err
    assert "2 DataError" in err
    assert "3: in, line 4: not a number" in err
    assert not (jobs / "never.txt").exists()
    settled = sys.modules["jobs"].checked.source.settled
    assert len(settled) == 10
    assert all(settled), "every record was handed back"
    assert sys.modules["jobs"].dead == []
    found = account(jobs / "r.json")
    assert (found["dry_run"], found["read"], found["handed_back"]) == (True, 10, 10)
    assert (found["written"], found["dead"], found["errors"]) == (0, 0, {"DataError": 2})


def test_dry_run_of_a_sample(jobs: Path, capsys: Captured) -> None:
    """A dry run of a sample reads no more than that."""
    assert run("jobs.py:checked", "--dry-run", "--sample", "3") == 0
    assert "3 read, 3 sound" in capsys.readouterr().err


def test_dry_run_with_unsound_records(jobs: Path) -> None:
    """With --fail-on-dead a dry run says by its exit code that records are unsound."""
    assert run("jobs.py:checked", "--dry-run", "--fail-on-dead", "-q") == 65


def test_messages_are_safe_to_print(jobs: Path, capsys: Captured) -> None:
    """What an error says cannot play with the terminal, whoever wrote it."""
    (jobs / "evil.py").write_text(r"raise RuntimeError('\x1b[2J\x1b]0;owned\x07' + 'x' * 5000)")
    assert run("evil.py") == 1
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "RuntimeError" in err
    assert len(err) < 1000


def test_backend_without_its_package(
    jobs: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that is not installed is named with the command that installs it."""
    monkeypatch.setattr("genai_pipeline.cli._run.find_spec", lambda _: None)
    assert run("jobs.py", "--backend", "trio") == 78
    assert "pip install 'genai_pipeline[trio]'" in capsys.readouterr().err
