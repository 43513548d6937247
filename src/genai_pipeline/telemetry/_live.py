"""
Progress as a display that lives on a terminal; the only module that imports rich.

It needs the extra ``cli``: ``pip install 'genai_pipeline[cli]'``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import TextIO

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.telemetry import _figures as figures
from genai_pipeline.telemetry._lines import spent
from genai_pipeline.telemetry._mends import LIMITS
from genai_pipeline.telemetry._snapshot import Snapshot
from genai_pipeline.telemetry._summary import Line

try:
    from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
    from rich.live import Live
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    raise ConfigurationError(
        "the live display needs rich; install it with: pip install 'genai_pipeline[cli]'"
    ) from error

__all__ = ["LiveDisplay", "Panel", "print_lines"]

_PAUSE = 1 / 8
_LONGEST_PAUSE = 1.0
_SHARE = 0.04
"""The share of the time that drawing may take; on a busy machine it draws more rarely."""

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_NARROW = 64
_LABEL = len("handed back")
_TONES = {"good": "bold green", "bad": "yellow", "plain": "", "dim": "dim"}


@attrs.define
class LiveDisplay:
    """
    Draws a few lines over and over, up to eight times a second, and wipes them at the end.

    What the program prints meanwhile to the same terminal appears above. The state of the
    terminal is never changed, the cursor not even hidden, so nothing is left to restore
    however the process ends.
    """

    stream: TextIO
    force: bool = False
    """Draw even if the stream seems to be no terminal."""

    _live: Live | None = attrs.field(default=None, init=False)

    def open(self) -> float:
        """Begin; answer the seconds until the first drawing."""
        console = _console(self.stream, force=self.force)
        self._live = live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
            vertical_overflow="crop",
        )
        live.start()
        console.show_cursor(True)
        return 0.0

    def show(self, snapshot: Snapshot) -> float:
        """Draw; answer the seconds until the next drawing."""
        began = perf_counter()
        if self._live is not None:
            self._live.update(Panel(snapshot), refresh=True)
        return min(_LONGEST_PAUSE, max(_PAUSE, (perf_counter() - began) / _SHARE))

    def close(self) -> None:
        """Wipe the display and give standard output and error back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


@attrs.frozen
class Panel:
    """A snapshot as rich draws it, in as many columns as the terminal is wide."""

    snapshot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < _NARROW
        yield Group(self._headline(narrow=narrow), self._figures(narrow=narrow))

    def _headline(self, *, narrow: bool) -> RenderableType:
        snapshot, report = self.snapshot, self.snapshot.report
        row = Table.grid(padding=(0, 1), expand=not narrow)
        frame = _FRAMES[int(report.elapsed / _PAUSE) % len(_FRAMES)]
        cells: list[RenderableType] = [
            Text(frame, style="cyan"),
            Text(snapshot.name, style="bold", overflow="ellipsis", no_wrap=True),
        ]
        row.add_column(width=1)
        row.add_column(max_width=32)
        if not narrow:
            row.add_column(ratio=1)
            cells.append(self._bar())
        if snapshot.share is not None:
            row.add_column(justify="right", no_wrap=True)
            cells.append(Text(figures.percent(snapshot.share), style="bold"))
        row.add_column(justify="right", no_wrap=True)
        cells.append(Text(self._time(narrow=narrow), style="dim"))
        row.add_row(*cells)
        return row

    def _bar(self) -> ProgressBar:
        report, share = self.snapshot.report, self.snapshot.share
        return ProgressBar(
            total=None if share is None else 1.0,
            completed=share or 0.0,
            pulse=share is None,
            complete_style="cyan",
            pulse_style="cyan",
            animation_time=report.elapsed,
        )

    def _time(self, *, narrow: bool) -> str:
        passed = figures.span(self.snapshot.report.elapsed)
        if self.snapshot.left is None:
            return passed
        left = f"{figures.span(self.snapshot.left)} left"
        return left if narrow else f"{passed} · {left}"

    def _figures(self, *, narrow: bool) -> RenderableType:
        grid = Table.grid(padding=(0, 2, 0, 0))
        # As wide as the widest label, so that nothing shifts when rows come and go.
        grid.add_column(style="dim", no_wrap=True, min_width=_LABEL)
        grid.add_column(overflow="ellipsis", no_wrap=True)
        for label, text, style in self._rows(narrow=narrow):
            grid.add_row(label, Text(text, style=style))
        return grid if narrow else Padding(grid, (0, 0, 0, 2))

    def _rows(self, *, narrow: bool) -> Iterator[tuple[str, str, str]]:
        snapshot, report = self.snapshot, self.snapshot.report
        yield "records", _share(snapshot), ""
        recent = figures.per_second(snapshot.recent_rate)
        yield "rate", f"{recent}, {figures.count(report.in_flight)} in flight", ""
        yield "written", figures.count(report.written), "green"
        if report.filtered:
            yield "filtered", figures.count(report.filtered), ""
        if report.dead:
            yield "dead", figures.count(report.dead), "yellow"
        if report.handed_back:
            yield "handed back", figures.count(report.handed_back), "yellow"
        if report.skipped:
            yield "skipped", figures.count(report.skipped), ""
        if report.calls:
            yield "spent", spent(snapshot), ""
        if not narrow:
            yield from self._stages()
        yield from self._troubles()

    def _stages(self) -> Iterator[tuple[str, str, str]]:
        stages = self.snapshot.report.stages
        if stages:
            slowest = max(stages, key=lambda stage: stage.total)
            p50, p95 = figures.seconds(slowest.p50), figures.seconds(slowest.p95)
            yield "slowest", f"{slowest.name}: half within {p50}, 95 % within {p95}", ""

    def _troubles(self) -> Iterator[tuple[str, str, str]]:
        report = self.snapshot.report
        if report.errors:
            most = sorted(report.errors.items(), key=lambda item: (-item[1], item[0]))[:3]
            told = ", ".join(f"{figures.count(number)} {name}" for name, number in most)
            yield "errors", told, "yellow"
        if report.rejections:
            waited = figures.seconds(report.waited)
            yield "waits", f"{figures.count(report.rejections)} for a policy, {waited}", "yellow"
        if report.stopped is not None:
            yield "stopping", report.stopped, "bold yellow"
        elif report.limited_by is not None:
            yield "limited by", LIMITS[report.limited_by].partition(":")[0], ""


def _share(snapshot: Snapshot) -> str:
    ended, total = figures.count(snapshot.done), snapshot.total
    return ended if total is None else f"{ended} of {figures.count(total)}"


def print_lines(lines: Iterable[Line], stream: TextIO) -> None:
    """Print *lines* in colour, as far as the terminal and ``NO_COLOR`` allow."""
    console = _console(stream, force=False)
    for line in lines:
        console.print(Text(str(line), style=_TONES[line.tone]), soft_wrap=True)


class _Terminal(Console):
    """A console that lets a broken pipe be an error, rather than end the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("whoever read the display went away")


def _console(stream: TextIO, *, force: bool) -> Console:
    return _Terminal(
        file=stream,
        force_terminal=True if force else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
