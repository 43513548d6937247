"""The end of a run in a few lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from genai_pipeline.report import Report
from genai_pipeline.telemetry import _figures as figures
from genai_pipeline.telemetry._mends import LIMITS, WAITS, mend

__all__ = ["Line", "Tone", "summary"]

Tone: TypeAlias = Literal["good", "bad", "plain", "dim"]

_LABEL = 14


@attrs.frozen
class Line:
    """A line of the summary, with the tone that a display may colour it by."""

    text: str
    tone: Tone = "plain"

    def __str__(self) -> str:
        return self.text


def summary(
    report: Report, *, title: str = "", written_to: str = "", dead_letters_to: str = ""
) -> list[Line]:
    r"""
    Answer the lines that tell how a run went.

    Counts that add up, speed, where the time went, stages, money and errors.

    *written_to* and *dead_letters_to* say where the outputs are, if that is to be shown.
    ``print(*summary(report), sep="\n")`` prints them.
    """
    lines = [_headline(report, title), _row("records", _counts(report))]
    lines += [_row("throughput", _throughput(report))]
    lines += _waits(report)
    lines += _paused(report)
    lines += _levels(report)
    lines += _mended(report)
    lines += _money(report)
    lines += _stages(report)
    lines += _errors(report)
    if written_to and report.written:
        lines.append(_row("written to", written_to))
    if dead_letters_to and report.dead:
        lines.append(_row("dead letters", dead_letters_to, "bad"))
    return lines


def _row(label: str, text: str, tone: Tone = "plain") -> Line:
    return Line(f"  {label:<{_LABEL}}{text}", tone)


def _headline(report: Report, title: str) -> Line:
    subject = f"{title}: " if title else ""
    took = figures.seconds(report.elapsed)
    if report.stopped is not None:
        return Line(f"{subject}stopped after {took}: {report.stopped}", "bad")
    if not report.exhausted:
        return Line(f"{subject}ended after {took}, before the source did", "bad")
    failed = report.failed
    if failed:
        noun = "record" if failed == 1 else "records"
        return Line(f"{subject}done in {took}; {figures.count(failed)} {noun} failed", "bad")
    return Line(f"{subject}done in {took}", "good")


def _counts(report: Report) -> str:
    ends = [(report.written, "written"), (report.filtered, "filtered"), (report.dead, "dead")]
    ends += [(report.handed_back, "handed back"), (report.skipped, "skipped")]
    ends += [(report.pending, "pending")]
    told = [f"{figures.count(number)} {end}" for number, end in ends if number or end == "written"]
    return f"{figures.count(report.read)} read = {' + '.join(told)}"


def _throughput(report: Report) -> str:
    text = figures.per_second(report.rate)
    if report.limited_by is not None:
        text += f", limited by {LIMITS[report.limited_by]}"
    return text


def _waits(report: Report) -> Iterator[Line]:
    """Tell where the time of calls went, most of it first."""
    total = sum(report.waits.values())
    if total <= 0:
        return
    waits = sorted(report.waits.items(), key=lambda item: (-item[1], WAITS.get(item[0], item[0])))
    parts = [
        f"{WAITS.get(kind, kind)} {figures.percent(seconds / total)}"
        for kind, seconds in waits
        if seconds > 0
    ]
    yield _row("waited for", f"{', '.join(parts)} ({figures.seconds(total)} of all calls)")


def _paused(report: Report) -> Iterator[Line]:
    """Tell for how long the source was not asked, if it was so."""
    if report.paused > 0:
        yield _row("paused", f"{figures.seconds(report.paused)} for memory, above max_memory")


def _levels(report: Report) -> Iterator[Line]:
    """Tell which levels answered, where there are several."""
    total = sum(report.levels.values())
    if total:
        shares = [
            f"{level} {figures.percent(number / total)}"
            for level, number in sorted(report.levels.items(), key=lambda item: -item[1])
        ]
        yield _row("answered by", ", ".join(shares))


def _mended(report: Report) -> Iterator[Line]:
    """Tell what was done about answers that could not be used as they were."""
    if report.mended:
        told = [f"{how.replace('_', ' ')} {number}" for how, number in report.mended.items()]
        yield _row("mended", ", ".join(told))


def _money(report: Report) -> Iterator[Line]:
    if report.replayed:
        yield _row("replayed", f"{figures.count(report.replayed)} calls, out of the journal")
    if report.calls:
        failed = f", {figures.count(report.failed_calls)} failed" if report.failed_calls else ""
        yield _row("calls", f"{figures.count(report.calls)}{failed}")
        yield _row(
            "tokens",
            f"{figures.tokens(report.input_tokens)} in, {figures.tokens(report.output_tokens)} out",
        )
    if report.cost is not None:
        yield _row("cost", figures.money(report.cost))
    if report.rejections:
        waited = figures.seconds(report.waited)
        yield _row("waits", f"{figures.count(report.rejections)} for a policy, {waited} in all")


def _stages(report: Report) -> Iterator[Line]:
    stages = [stage for stage in report.stages if stage.calls]
    if not stages:
        return
    heads = ("stage", "calls", "p50", "p95", "p99", "longest")
    rows = [
        (
            stage.name,
            figures.count(stage.calls),
            *(figures.seconds(each) for each in (stage.p50, stage.p95, stage.p99, stage.longest)),
        )
        for stage in stages
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    yield Line(_columns(heads, widths), "dim")
    for row in rows:
        yield Line(_columns(row, widths))


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(max(widths[0], _LABEL - 2))
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  " + "  ".join((first, *rest))


def _errors(report: Report) -> Iterator[Line]:
    for name, number in sorted(report.errors.items(), key=lambda item: (-item[1], item[0])):
        advice = mend(name)
        yield _row(
            "errors", f"{figures.count(number)} {name}" + (f": {advice}" if advice else ""), "bad"
        )
