"""`Pipeline`: a source, a stage, a sink, and how to run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from signal import SIGINT, SIGTERM, Signals
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._chain import Chain, every_mark
from genai_pipeline._fan_out import FAN_OUT
from genai_pipeline._isolated_words import importing_main
from genai_pipeline._journal import Journal
from genai_pipeline._options import check
from genai_pipeline._resident_memory import STATM, resident_memory
from genai_pipeline._runner import Runner
from genai_pipeline._subjects import Subject, is_subject
from genai_pipeline._table_sinks import tables_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.money import Budget, Budgets, PriceBook
from genai_pipeline.records import DeadLetter
from genai_pipeline.report import Report
from genai_pipeline.types import Sink, Source, Stage

if TYPE_CHECKING:
    from genai_pipeline._plan import Plan

__all__ = ["Pipeline"]

_LEAST_MEMORY = 1024**2
"""No process has less: a smaller number was meant in megabytes, or gigabytes."""

A = TypeVar("A")
B = TypeVar("B")


def _is_source(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = hasattr(type(value), "__aiter__")
    allowed = "a source; gp.sources.Values(...) makes one of any iterable"
    check(fine, owner, option.name, value, allowed)


def _is_handler(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = callable(value) and not isinstance(value, type)
    kind = "stage; gp.map(fn) makes one of a function" if option.name == "stage" else "sink"
    check(fine, owner, option.name, value, f"a {kind}")


def _is_share_or_count(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = value is None or (
        0 < value <= 1
        if isinstance(value, float)
        else isinstance(value, int) and not isinstance(value, bool) and value >= 0
    )
    allowed = "a count (int, 0 or more), a share (float above 0, up to 1.0) or None"
    check(fine, owner, option.name, value, allowed)


def _is_memory(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= _LEAST_MEMORY
    allowed = f"bytes, a whole number, {_LEAST_MEMORY} or more, such as 2 * 1024**3, or None"
    check(value is None or fine, owner, option.name, value, allowed)


def _is_journal(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    methods = ("begin_run", "claim", "begin_call", "end_call", "end_item")
    fine = all(callable(getattr(value, method, None)) for method in methods)
    fine = fine and not isinstance(value, type)
    check(fine, owner, option.name, value, 'a journal, such as gp.Sqlite("run.db")')


def _is_subject(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    allowed = "the name of an attribute of records, or a function of a record"
    check(is_subject(value), owner, option.name, value, allowed)


def _is_price_book(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    check(isinstance(value, PriceBook), owner, option.name, value, "a gp.PriceBook")


def _to_budgets(budgets: Any) -> tuple[Budget, ...]:
    return Budgets(budgets).budgets


class _Current:
    """The run that goes on, or the last one."""

    runner: Runner | None = None
    running = False


@attrs.frozen(kw_only=True, eq=False)
class Pipeline(Generic[A, B]):
    """
    Records from *source* walk through *stage* and end in *sink*, or among the dead letters.

    Every record that is read has exactly one end: written, filtered, dead-lettered, or handed
    back to the source; the `Report` adds up. The promise is at-least-once: a record is settled
    at its source only when its output is durable in the sink, so after a crash a source that
    remembers delivers again what was not settled. With a *journal*, no answer is lost and none
    is paid for twice.

    All options are validated here: a wrong one raises `ConfigurationError`.
    """

    source: Source[A] = attrs.field(validator=_is_source)
    stage: Stage[A, B] = attrs.field(validator=_is_handler)
    sink: Sink[B] = attrs.field(validator=_is_handler)

    dead_letters: Sink[DeadLetter] | None = attrs.field(
        default=None, validator=_options.optional(_is_handler)
    )
    """
    Where records go that failed for good. Without it they are handed back to the source, and
    the run raises `RunFailed` at the end.
    """

    max_in_flight: int = attrs.field(default=64, validator=_options.at_least(1))
    """Records that are worked on at the same time, and read ahead, together."""

    max_failures: int | float | None = attrs.field(default=0.5, validator=_is_share_or_count)
    """
    Stop the run when more records fail: a count (``10``), or a share (``0.1``) of the records
    that have ended, which counts once 100 have. `None` is no limit. With a *journal*, a share also
    counts among the latest 100 records, for those that die alike: by the same error in the same
    stage; what is left to do waits for the next run.
    """

    grace: float = attrs.field(default=25.0, validator=_options.seconds)
    """Seconds that records in flight may take to end after a stop was asked for."""

    record_timeout: float | None = attrs.field(
        default=None, validator=_options.optional(_options.positive)
    )
    """Seconds one record may take, stages, waits and sink together; then it is dead."""

    timeout: float | None = attrs.field(
        default=None, validator=_options.optional(_options.positive)
    )
    """Seconds the whole run may take; then what is in flight is handed back at once."""

    on_full_disk: Literal["wait", "stop"] | None = attrs.field(
        default=None, validator=_options.optional(_options.one_of("wait", "stop"))
    )
    """
    What to do when the disk of the sink, or of the dead letters, is full: ``wait`` for space, with
    the answers in hand, or ``stop``. `None` waits with a *journal*, and stops without one. A record
    that waits is not limited by *record_timeout* any more.
    """

    max_memory: int | None = attrs.field(default=None, validator=_is_memory)
    """
    Bytes that this process may have resident: while it has more, the source is asked for nothing,
    and what is in flight goes on. The source is asked again when a twentieth of them is free; and
    when nothing is in flight any more, for one record after another, whatever is used. The memory
    is looked at ten times a second while records are read. Processes that stages start are not
    counted.
    """

    memory_used: Callable[[], int] | None = attrs.field(
        default=None, validator=_options.optional(_options.function("nothing, that answers bytes"))
    )
    """
    Answers the bytes that *max_memory* limits, quickly; `None` reads ``/proc/self/statm``, which
    Linux alone has.
    """

    stop_signals: Sequence[Signals] = (SIGINT, SIGTERM)
    """
    Signals that stop a run (in the main thread): the first in order, the second at once.
    """

    name: str = attrs.field(default="pipeline", validator=_options.text)
    """What the journal knows the pipeline by; keys of records belong to it."""

    journal: Journal | None = attrs.field(default=None, validator=_options.optional(_is_journal))
    """
    Where records, paid calls, their answers and what they cost are kept through crashes.

    With it, running again is resuming: records that have ended are passed by, and calls that
    were answered are answered from here. Every record needs a key of its own.
    """

    budgets: Sequence[Budget] = attrs.field(default=(), converter=_to_budgets)
    """Hard caps on what calls may cost, each held before a call is made; they need *journal*."""

    prices: PriceBook | None = attrs.field(
        default=None, validator=_options.optional(_is_price_book)
    )
    """What calls cost; needed by *budgets*, and for costs that the provider does not tell."""

    subject: Subject | None = attrs.field(default=None, validator=_options.optional(_is_subject))
    """
    Whose data a record is, so that it can be erased: the name of an attribute (``"customer"``), or
    a function of the record. It needs a *journal* with ``erase``; a record for which there is
    none is nobody's.
    """

    clock: Clock = attrs.field(factory=SystemClock)

    _current: _Current = attrs.field(factory=_Current, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.budgets and self.journal is None:
            raise ConfigurationError(
                "Pipeline: budgets= needs journal=, where money is held before it is spent; "
                "give gp.Sqlite(path), or gp.journals.Memory() for this process alone"
            )
        for budget in self.budgets:
            self._require_stage_of(budget)
        if self.max_memory is None and self.memory_used is not None:
            raise ConfigurationError(
                "Pipeline: memory_used= is for max_memory=, which is not given; give it bytes, "
                "such as 2 * 1024**3, or leave both out"
            )
        if self.max_memory is not None and self.memory_used is None:
            self._require_resident_memory()
        if self.subject is not None and not callable(getattr(self.journal, "erase", None)):
            raise ConfigurationError(
                f"Pipeline: subject={self.subject!r} needs a journal= that can erase; give "
                "gp.Sqlite(path), or leave it out"
            )
        tables = tables_of(self.stage, self.sink, self.dead_letters)
        if tables and not callable(getattr(self.journal, "open_table", None)):
            raise ConfigurationError(
                f"Pipeline: the table {tables[0].name!r} needs a journal= that keeps tables, since "
                "its rows are written with the ends of records; give gp.Sqlite(path), or write to "
                "gp.sinks.Table(path)"
            )

    def _require_stage_of(self, budget: Budget) -> None:
        """Raise `ConfigurationError` for a budget of a stage that is not there: it caps nothing."""
        stage = self.stage
        whole = stage if isinstance(stage, Chain) else Chain((stage,), fan_out=FAN_OUT)
        names = [mark.stage for mark in every_mark(whole)]
        if not any(map(budget.counts_stage, names)):
            raise ConfigurationError(
                f"Pipeline: budgets= has one for stage={budget.stage!r}, which would cap nothing; "
                f"its stages are {', '.join(filter(None, names))}"
            )

    def _require_resident_memory(self) -> None:
        try:
            resident_memory()
        except OSError as error:
            raise ConfigurationError(
                f"Pipeline: max_memory={self.max_memory} cannot be kept, since this system does "
                f"not tell in {STATM} what is used; give memory_used=, such as "
                "lambda: psutil.Process().memory_info().rss, or leave max_memory= out"
            ) from error

    async def run(self) -> Report:
        """
        Read the source to its end; answer the account.

        A stop that was asked for (`stop`, a signal, ``timeout``) is no failure: the report says
        ``stopped``, and ``exhausted`` whether anything was left to read.

        Raises:
            RunFailed: something went wrong; the group holds the errors, ``report`` the account.
            ConfigurationError: the pipeline runs already, or a part cannot be opened.

        """
        return await self._execute(endless=False)

    async def serve(self) -> Report:
        """
        Read a source that has no end, until a stop is asked for; answer the account.

        As `run`, but when reading fails with a `Transient` error, the source is iterated anew
        after a pause that grows from 1 s to 60 s. Needs ``dead_letters``.
        """
        if self.dead_letters is None:
            raise ConfigurationError(
                "Pipeline: serve() needs dead_letters=, since a run without an end cannot "
                "report failures at its end"
            )
        return await self._execute(endless=True)

    async def plan(self, *, sample: int = 0) -> Plan:
        """
        Answer what a run would do and cost, without claiming, calling or writing anything.

        Reads the source to its end; what is read is handed back to it. Needs ``journal``. With
        *sample*, the stages are run on so many of the unfinished records, each up to its first
        new call, which is priced and not made: only do so if your stages do no harm by running.

        Raises `ConfigurationError` without a journal, or while the pipeline runs.
        """
        fine = isinstance(sample, int) and sample >= 0
        check(fine, self, "sample", sample, "a whole number, 0 or more")
        if self._current.running:
            raise ConfigurationError("Pipeline: it runs; ask for a plan before or after")
        from genai_pipeline._plan import make_plan  # noqa: PLC0415 - few runs are planned

        return await make_plan(self, sample)

    async def _execute(self, *, endless: bool) -> Report:
        current = self._current
        if current.running:
            raise ConfigurationError("Pipeline: it runs already; make another one to run both")
        if importing_main.get():
            raise ConfigurationError(
                "Pipeline: the main module runs it when it is imported; put the run behind "
                'if __name__ == "__main__":'
            )
        current.running = True
        try:
            current.runner = Runner(self, endless=endless)
            return await current.runner.execute()
        finally:
            current.running = False

    def report(self) -> Report:
        """
        Answer the account of the run that goes on, or of the last one; its counts add up.

        Raises `ConfigurationError` before the first run.
        """
        if self._current.runner is None:
            raise ConfigurationError("Pipeline: no report before the first run()")
        report = self._current.runner.report()
        report.check()
        return report

    def stop(self, reason: str = "asked to stop") -> None:
        """
        Ask the run that goes on to stop: read no more, end what is in flight within ``grace``.

        Call it in the event loop of the run; without a run it does nothing.
        """
        if self._current.running and self._current.runner is not None:
            self._current.runner.stop(reason)
