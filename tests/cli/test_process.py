"""The command as a process: standard streams, exit codes, help, and a quick start."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import command, environment


def test_module_runs_as_the_command(jobs: Path) -> None:
    """``python -m genai_pipeline`` runs a pipeline, its words on standard error alone."""
    done = command("run", "jobs.py", cwd=jobs)
    assert (done.returncode, done.stdout) == (0, "")
    assert "10 read = 10 written" in done.stderr
    assert "\x1b" not in done.stderr


def test_plain_lines_without_a_terminal(jobs: Path) -> None:
    """Into a pipe a long run tells its progress in plain lines."""
    done = command("run", "jobs.py:slow", "--max-in-flight", "32", cwd=jobs)
    first = done.stderr.splitlines()[0]
    assert re.match(r"\d+:\d\d · ", first)
    assert "of 10,000 done" in first


def test_without_rich(jobs: Path) -> None:
    """Without the extra the command works, and forced live display names the extra."""
    (jobs / "rich.py").write_text("raise ImportError('rich is not there')")
    done = command("run", "jobs.py", cwd=jobs)
    assert done.returncode == 0
    forced = command("run", "jobs.py", "--progress", "live", cwd=jobs)
    assert forced.returncode == 78
    assert "pip install 'genai_pipeline[cli]'" in forced.stderr


def test_usage(tmp_path: Path) -> None:
    """Wrong usage is exit code 2 with a short reason."""
    for arguments, reason in (
        ([], "COMMAND"),
        (["run"], "TARGET"),
        (["run", "x.py", "--sample", "0"], "'0' is no whole number of 1 or more"),
        (["run", "x.py", "--grace", "nan"], "'nan' is no number of seconds"),
        (["run", "x.py", "-v", "-q"], "not allowed with"),
        (["dance"], "invalid choice"),
    ):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert reason in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["doctor", "--help"],
        ["plan", "--help"],
        ["dead", "redrive", "--help"],
        ["journal", "--help"],
    ],
)
def test_help(tmp_path: Path, arguments: list[str]) -> None:
    """Help goes to standard output and fits into eighty columns but for its own text."""
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: genai-pipeline")
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_version(tmp_path: Path) -> None:
    """The version is one line on standard output, by option and by command."""
    option, word = command("--version", cwd=tmp_path), command("version", cwd=tmp_path)
    assert option.stdout == word.stdout
    assert option.stdout.startswith("genai_pipeline ")
    assert (option.returncode, word.returncode) == (0, 0)


def test_reader_went_away(tmp_path: Path) -> None:
    """A reader of standard output that goes away is exit code 74, without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHATTER],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 74


_CHATTER = """
import sys
from genai_pipeline.cli import _doctor, main
_doctor._findings = lambda: (_doctor.Finding(section="s", name="n", text="x") for _ in range(10**5))
sys.exit(main(["doctor"]))
"""


def test_start_is_quick(tmp_path: Path) -> None:
    """The version imports nothing heavy, so that it answers at once."""
    code = (
        "import sys\nfrom genai_pipeline.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'rich', 'structlog', 'httpx', 'aiohttp', 'trio', 'numpy', 'tenacity'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
