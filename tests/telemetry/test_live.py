"""The live display fits the terminal, shows what matters, and leaves nothing behind."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from genai_pipeline.telemetry._snapshot import Snapshot
from genai_pipeline.telemetry._summary import Line
from tests.telemetry.reports import report, rich_report

pytest.importorskip("rich", reason="the live display is what the extra cli is for")

from rich.console import Console

from genai_pipeline.telemetry._live import (
    LiveDisplay,
    Panel,
    print_lines,
)

pytestmark = pytest.mark.extras


def drawn(width: int, *, total: int | None = 10_000, **changes: Any) -> list[str]:
    """Answer the lines of the panel on a terminal of that width."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    snapshot = Snapshot(
        name="catalogue", report=rich_report(**changes), total=total, recent_rate=512.0
    )
    console.print(Panel(snapshot))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_everything_is_shown() -> None:
    """On a wide terminal there is all that a person wants to know."""
    text = "\n".join(drawn(100))
    for part in (
        "catalogue",
        "62 %",
        "0:12 · 0:07 left",
        "6,200 of 10,000",
        "512/s, 64 in flight",
        "6,100",
        "1.23 M tokens in, 88.0 k out, $0.421",
        "summarise: half within 100 ms, 95 % within 300 ms",
        "18 DataError, 2 RateLimited",
        "12 for a policy, 33 s",
        "the stages",
    ):
        assert part in text


def test_total_unknown() -> None:
    """Without a total there is neither a share nor a time left, and no error."""
    text = "\n".join(drawn(100, total=None))
    assert "records      6,200\n" in text
    assert "% ·" not in text
    assert "left" not in text


def test_nothing_yet() -> None:
    """A run that has not read anything can be drawn."""
    stream = io.StringIO()
    empty = Snapshot(name="x", report=report(), total=0, recent_rate=0.0)
    Console(file=stream, width=80).print(Panel(empty))
    assert "0 of 0" in stream.getvalue()


def test_stopping() -> None:
    """A run that stops says why."""
    assert "stopping     signal SIGINT" in "\n".join(drawn(100, stopped="signal SIGINT"))


@pytest.mark.parametrize("width", [12, 20, 40, 63, 64, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Nothing wraps, however narrow the terminal, so the display can be wiped exactly."""
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    assert len(lines) <= 12


def test_output_is_redirected_only_while_open() -> None:
    """Standard error is the terminal's own again when the display is closed."""
    before, stream = sys.stderr, io.StringIO()
    display = LiveDisplay(stream, force=True)
    display.open()
    display.show(Snapshot(name="x", report=rich_report(), total=None, recent_rate=1.0))
    assert sys.stderr is not before
    display.close()
    assert sys.stderr is before


def test_slow_terminal() -> None:
    """A terminal that takes long to draw on is drawn on more rarely."""

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            clock[0] += 0.01
            return super().write(text)

    clock = [0.0]
    display = LiveDisplay(Slow(), force=True)
    snapshot = Snapshot(name="x", report=rich_report(), total=None, recent_rate=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genai_pipeline.telemetry._live.perf_counter", lambda: clock[0])
        display.open()
        assert display.show(snapshot) == pytest.approx(0.25)
        clock[0] -= 1000
        display.close()


def test_cursor_stays_visible() -> None:
    """The cursor is never left hidden, not even while the display is drawn."""
    stream = io.StringIO()
    display = LiveDisplay(stream, force=True)
    display.open()
    assert stream.getvalue().endswith("\x1b[?25h")
    display.close()


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the display draws in no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    display = LiveDisplay(stream, force=True)
    display.open()
    display.show(Snapshot(name="x", report=rich_report(), total=10_000, recent_rate=1.0))
    display.close()
    colours = [f"\x1b[{code}" for code in ("3", "4", "9", "1;3", "38")]
    assert "6,200" in stream.getvalue()
    assert not any(code in stream.getvalue() for code in colours)


def test_lines_without_a_terminal_have_no_colour() -> None:
    """Lines printed to a file are the text alone, however long they are."""
    stream = io.StringIO()
    print_lines([Line("done", "good"), Line("x" * 300)], stream)
    assert stream.getvalue() == "done\n" + "x" * 300 + "\n"
