"""A dry run: everything is read and checked, and nothing is called, written or settled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from genai_pipeline.cli._explain import one_line
from genai_pipeline.cli._sample import HandedBack
from genai_pipeline.pipeline import Pipeline
from genai_pipeline.records import DeadLetter, Record
from genai_pipeline.report import Report
from genai_pipeline.telemetry import _figures as figures
from genai_pipeline.telemetry._summary import Line, Tone

__all__ = ["account", "lines", "rehearsal"]

_TOLD = 5


@attrs.define
class _Faults:
    """Keeps the first bad inputs in mind; a sink for dead letters."""

    first: list[DeadLetter] = attrs.field(factory=list)

    async def __call__(self, record: Record[DeadLetter]) -> None:
        if len(self.first) < _TOLD:
            self.first.append(record.value)


async def _nothing(_: Record[Any]) -> Sequence[Record[Any]]:
    return ()


async def _nowhere(_: Record[Any]) -> None:
    raise AssertionError("a dry run writes nothing")


def rehearsal(pipeline: Pipeline[Any, Any]) -> Pipeline[Any, Any]:
    """Answer a pipeline that reads as *pipeline* does, and hands every record back."""
    return attrs.evolve(
        pipeline,
        source=HandedBack(pipeline.source),
        stage=_nothing,
        sink=_nowhere,
        dead_letters=_Faults(),
        max_failures=None,
        journal=None,
        budgets=(),
    )


def account(report: Report) -> Report:
    """Answer *report* as what it was in truth: every record that was read went back."""
    return attrs.evolve(
        report,
        filtered=0,
        dead=0,
        handed_back=report.handed_back + report.filtered + report.dead,
        stages=(),
        limited_by=None,
    )


def lines(report: Report, dead_letters: object, *, title: str) -> Iterator[Line]:
    """Yield what a dry run found: how much there is, and what is wrong with it."""
    bad = report.failed
    took = figures.seconds(report.elapsed)
    sound = report.read - bad
    tone: Tone = "bad" if bad or report.stopped else "good"
    how = f"stopped after {took}" if report.stopped else f"done in {took}"
    yield Line(f"{title}: dry run {how}; nothing was called or written", tone)
    yield Line(f"  {'records':<14}{figures.count(report.read)} read, {figures.count(sound)} sound")
    for name, number in report.errors.items():
        yield Line(f"  {'unsound':<14}{figures.count(number)} {name}", "bad")
    if isinstance(dead_letters, _Faults):
        for letter in dead_letters.first:
            yield Line(f"  {'':<14}{letter.key}: {one_line(letter.message)}", "bad")
