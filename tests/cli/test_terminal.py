"""The live display on a real (pseudo) terminal, read from its screen."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.cli.command import Terminal


def begun(text: str) -> bool:
    """Tell whether the display shows that records are done."""
    return re.search(r"records +[1-9][\d,]* of", text) is not None


@pytest.mark.extras
def test_display_lives_and_gives_way_to_the_summary(jobs: Path) -> None:
    """The display counts up while the run goes on; at the end only the summary is left."""
    with Terminal("run", "jobs.py:slow", "--sample", "8000", cwd=jobs) as terminal:
        first = terminal.wait_for(lambda text: "of 8,000\n" in text)
        assert "jobs:slow" in first
        for part in ("records", "rate", "in flight", "written", "left", "slowest      slowly"):
            assert part in terminal.wait_for(lambda text, part=part: part in text)  # type: ignore[misc]
        later = terminal.wait_for(lambda text: text.split("done")[0] != first.split("done")[0])
        assert later.count("records") == 1, "the display is drawn over itself"
        assert terminal.finish() == 0
        assert "jobs:slow: done in" in terminal.text
        assert "8,000 read = 8,000 written" in terminal.text
        assert "of 8,000\n" not in terminal.text, "the display is wiped"
        assert terminal.settings == terminal.before
        assert not terminal.screen.cursor.hidden


@pytest.mark.extras
def test_interrupted_display(jobs: Path) -> None:
    """After Ctrl-C the terminal is as it was, with the reason on the screen."""
    with Terminal("run", "jobs.py:slow", cwd=jobs) as terminal:
        terminal.wait_for(begun)
        terminal.send(signal.SIGINT)
        assert terminal.finish() == 75
        assert "signal SIGINT: reading no more" in terminal.text
        assert "jobs:slow: stopped after" in terminal.text
        assert terminal.settings == terminal.before
        assert not terminal.screen.cursor.hidden


@pytest.mark.extras
def test_killed_display(jobs: Path) -> None:
    """Even a kill leaves the terminal's settings and its cursor as they were."""
    with Terminal("run", "jobs.py:slow", cwd=jobs) as terminal:
        terminal.wait_for(begun)
        terminal.send(signal.SIGKILL)
        assert terminal.finish() == -signal.SIGKILL
        assert terminal.settings == terminal.before
        assert not terminal.screen.cursor.hidden


@pytest.mark.extras
def test_narrow_terminal(jobs: Path) -> None:
    """On a narrow terminal the display is shorter, and never wraps."""
    with Terminal("run", "jobs.py:slow", cwd=jobs, columns=30) as terminal:
        text = terminal.wait_for(lambda text: begun(text) and "written" in text)
        assert text.count("records") == 1
        terminal.send(signal.SIGINT)
        assert terminal.finish() == 75


@pytest.mark.extras
def test_low_terminal(jobs: Path) -> None:
    """On a terminal of few rows the display is cut, and does not scroll."""
    with Terminal("run", "jobs.py:slow", cwd=jobs, rows=4) as terminal:
        terminal.wait_for(lambda text: "jobs:slow" in text and begun(text))
        terminal.send(signal.SIGINT)
        assert terminal.finish() == 75


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_terminal_that_cannot(jobs: Path, term: str) -> None:
    """A terminal that can only print gets plain lines, without a single control sequence."""
    with Terminal("run", "jobs.py", cwd=jobs, term=term) as terminal:
        assert terminal.finish() == 0
        assert "10 read = 10 written" in terminal.text
        assert b"\x1b" not in terminal.received


@pytest.mark.extras
def test_what_the_program_prints(jobs: Path) -> None:
    """What the program prints meanwhile stands above the display, and stays."""
    (jobs / "chatty.py").write_text(
        "import sys\nimport genai_pipeline as gp\nfrom jobs import Numbers, Lines, slowly\n"
        "def say(number):\n"
        "    if number % 300 == 299:\n"
        "        print('said', number, file=sys.stderr if number % 2 else sys.stdout)\n"
        "    return number\n"
        "pipeline = gp.Pipeline(source=Numbers(2000), stage=gp.chain(gp.map(slowly), gp.map(say)),"
        " sink=Lines('x'))\n"
    )
    with Terminal("run", "chatty.py", cwd=jobs) as terminal:
        assert terminal.finish() == 0
        for number in (299, 599, 899, 1199, 1499, 1799):
            assert f"said {number}\n" in terminal.text
