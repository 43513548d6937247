"""The counts of a run while it runs."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from genai_pipeline._histogram import Histogram
from genai_pipeline._run_journal import RunJournal
from genai_pipeline.clock import Clock
from genai_pipeline.events import (
    AnswerMended,
    CallFinished,
    Event,
    LevelAnswered,
    Outcome,
    PolicyWaited,
    RunEnded,
)
from genai_pipeline.money import from_nano
from genai_pipeline.report import Limit, Report, StageReport

__all__ = ["Tally", "run_ended"]

# Above this many records a second only one record in sixteen is timed, and counts as sixteen.
_FAST = 5000
_ONE_IN = 16
_FOLD_EVERY = 1024
_QUOTA_SHARE = 0.2
_QUOTAS = ("queue", "limiter", "cooldown", "breaker")
_PAUSED_SHARE = 0.2
_CPU_SHARE = 0.8
_BUSY_SHARE = 0.5


@attrs.define(eq=False)
class Tally:
    """Counts what happens, and answers a `Report` of it at any time."""

    clock: Clock
    workers: int
    read: int = 0
    written: int = 0
    filtered: int = 0
    dead: int = 0
    handed_back: int = 0
    skipped: int = 0
    carried: float = 0.0
    """Seconds that workers carried records, added up."""

    rejections: int = 0
    waited: float = 0.0
    paused: float = 0.0
    """Seconds that the source was asked for nothing, for want of memory."""

    calls: int = 0
    failed_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    errors: Counter[str] = attrs.field(factory=Counter)
    levels: Counter[str] = attrs.field(factory=Counter)
    mended: Counter[str] = attrs.field(factory=Counter)
    waits: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    histograms: dict[str, Histogram] = attrs.field(factory=dict)
    _notes: dict[tuple[str, ...], tuple[Callable[[float], None], ...]] = attrs.field(
        factory=dict, init=False
    )
    time_one_in: int = attrs.field(default=1, init=False)
    """Of how many records one is timed."""

    began: float = attrs.field(init=False)
    _adapted: float = attrs.field(init=False)
    _unfolded: int = attrs.field(default=0, init=False)
    _cpu: float = attrs.field(factory=time.process_time, init=False)
    _real: float = attrs.field(factory=time.perf_counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self._adapted = self.clock.now()

    @property
    def ended(self) -> int:
        """Records that reached an end."""
        return self.written + self.filtered + self.dead + self.handed_back

    @property
    def failures(self) -> int:
        """Records that failed."""
        return self.errors.total()

    def notes(self, stages: tuple[str, ...]) -> tuple[Callable[[float], None], ...]:
        """Answer, for each of *stages*, what notes how long it took; the same each time."""
        notes = self._notes.get(stages)
        if notes is None:
            for stage in stages:
                self.histograms.setdefault(stage, Histogram())
            notes = tuple(self.histograms[stage].note for stage in stages)
            self._notes[stages] = notes
        return notes

    def fold(self) -> None:
        """Count what was noted, to free its memory; call it now and then."""
        for histogram in self.histograms.values():
            histogram.fold(self.time_one_in)

    def _adapt(self) -> None:
        """Fold, and time fewer or more records as the run is faster or slower."""
        self.fold()
        now = self.clock.now()
        fast = _FAST * (now - self._adapted) < _FOLD_EVERY
        self.time_one_in = _ONE_IN if fast else 1
        self._adapted = now

    def end(self, outcome: Outcome, seconds: float) -> None:
        """Count a record that came to its end after *seconds*."""
        if outcome == "written":
            self.written += 1
        elif outcome == "filtered":
            self.filtered += 1
        elif outcome == "dead":
            self.dead += 1
        else:
            self.handed_back += 1
        self.carried += seconds
        self._unfolded += 1
        if self._unfolded == _FOLD_EVERY:
            self._unfolded = 0
            self._adapt()

    def park(self, waits_for: str, seconds: float) -> None:
        """Count a rejected record that waited *seconds*, and what for."""
        self.waited += seconds
        self.waits[waits_for] += seconds

    def hear(self, event: Event) -> None:
        """Count the calls of providers and the waits of policies; a listener."""
        if isinstance(event, CallFinished):
            if event.replayed:
                return
            self.calls += 1
            self.failed_calls += event.error is not None
            self.waits["provider"] += event.seconds
            self.input_tokens += event.input_tokens
            self.output_tokens += event.output_tokens
            if event.cost is not None:
                self.cost = event.cost + (self.cost or 0)
        elif isinstance(event, PolicyWaited):
            self.waits[event.kind] += event.seconds
        elif isinstance(event, LevelAnswered):
            self.levels[event.level] += 1
        elif isinstance(event, AnswerMended):
            self.mended[event.how] += 1

    def report(
        self,
        *,
        stages: Sequence[str],
        pending: int,
        in_flight: int,
        exhausted: bool,
        stopped: str | None,
        journal: RunJournal | None = None,
    ) -> Report:
        """Answer the account so far; *journal* knows what calls cost to the nano-dollar."""
        self.fold()
        cost, replayed = self.cost, 0
        if journal is not None:
            cost = from_nano(journal.charged) if journal.priced else None
            replayed = journal.replayed
        return Report(
            read=self.read,
            written=self.written,
            filtered=self.filtered,
            dead=self.dead,
            handed_back=self.handed_back,
            skipped=self.skipped,
            pending=pending,
            elapsed=self.clock.now() - self.began,
            in_flight=in_flight,
            exhausted=exhausted,
            stopped=stopped,
            stages=tuple(
                _stage_report(name, self.histograms[name])
                for name in stages
                if name in self.histograms and self.histograms[name].count
            ),
            errors=dict(self.errors),
            rejections=self.rejections,
            waited=self.waited,
            waits=dict(self.waits),
            paused=self.paused,
            levels=dict(self.levels),
            mended=dict(self.mended),
            calls=self.calls,
            failed_calls=self.failed_calls,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=cost,
            replayed=replayed,
            limited_by=self._limited_by(),
        )

    def _limited_by(self) -> Limit | None:
        elapsed = self.clock.now() - self.began
        if not self.ended or elapsed <= 0:
            return None
        cpu = time.process_time() - self._cpu
        held = sum(self.waits.get(each, 0.0) for each in _QUOTAS)
        if held > _QUOTA_SHARE * max(self.carried, held):
            return "quota"
        if self.paused > _PAUSED_SHARE * elapsed:
            return "memory"
        if cpu > _CPU_SHARE * (time.perf_counter() - self._real):
            return "cpu"
        if self.carried < _BUSY_SHARE * elapsed * self.workers:
            return "source"
        sink = self.histograms.get("sink")
        return "sink" if sink and sink.total > _BUSY_SHARE * self.carried else "workers"


def run_ended(report: Report) -> RunEnded:
    """Answer the event that tells *report*."""
    return RunEnded(
        read=report.read,
        written=report.written,
        filtered=report.filtered,
        dead=report.dead,
        handed_back=report.handed_back,
        skipped=report.skipped,
        seconds=report.elapsed,
    )


def _stage_report(name: str, histogram: Histogram) -> StageReport:
    return StageReport(
        name=name,
        calls=histogram.count,
        total=histogram.total,
        p50=histogram.percentile(0.50),
        p95=histogram.percentile(0.95),
        p99=histogram.percentile(0.99),
        longest=histogram.longest,
    )
