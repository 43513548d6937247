"""The account of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Self, TypeAlias

import attrs

from genai_pipeline.errors import AccountingError

__all__ = ["Limit", "Report", "RunFailed", "StageReport"]

Limit: TypeAlias = Literal["source", "workers", "quota", "sink", "memory", "cpu"]
"""
What a run was limited by: waiting for the source, all workers being busy in stages, waiting for
a provider's or a policy's quota, waiting for the sink, this process's memory (see ``max_memory`` of
`Pipeline`), or its CPU.
"""


@attrs.frozen(kw_only=True)
class StageReport:
    """
    How long one stage took, in seconds; percentiles are good to 4 %.

    Above 5,000 records a second, one record in sixteen is timed and counts as sixteen.
    """

    name: str
    calls: int
    total: float
    p50: float
    p95: float
    p99: float
    longest: float


@attrs.frozen(kw_only=True)
class Report:
    """
    What became of the records of one run.

    The accounting law, which `check` asserts: ``read = written + filtered + dead + handed_back
    + skipped + pending``. At the end of a run, nothing is pending.
    """

    read: int
    """Records that the source delivered."""

    written: int
    """Records whose every output is in the sink."""

    filtered: int
    """Records that a stage dropped on purpose."""

    dead: int
    """Records among the dead letters."""

    handed_back: int
    """Records returned to the source: unfinished at a stop, or failed without dead letters."""

    pending: int
    """Records read and not yet ended."""

    elapsed: float
    """Seconds since the run began, on the pipeline's clock."""

    skipped: int = 0
    """Records passed by, since the journal knew that they had ended in an earlier run."""

    in_flight: int = 0
    """How many of the pending ones a worker carries."""

    exhausted: bool = False
    """Whether the source came to its end."""

    stopped: str | None = None
    """Why the run stopped early; `None` if it did not."""

    stages: tuple[StageReport, ...] = ()
    """Each stage in order, and the sink last."""

    errors: Mapping[str, int] = attrs.field(factory=dict)
    """How many records failed with which class of error."""

    rejections: int = 0
    """How often a stage or sink rejected a record for now, which then waited."""

    waited: float = 0.0
    """Seconds that records waited after rejections, added up; `waits` says what for."""

    waits: Mapping[str, float] = attrs.field(factory=dict)
    """
    Where the time went: seconds that calls and records waited, added up by what they waited for.

    Those of `events.PolicyWaited`: a place in a ``queue``, the ``limiter``'s quota, a ``cooldown``
    after a 429, the ``breaker``, the ``backoff`` before a retry; and the answers of the
    ``provider``. Many wait at once, so the sum is far more than *elapsed*.
    """

    paused: float = 0.0
    """Seconds that the source was asked for nothing, since memory was above ``max_memory``."""

    levels: Mapping[str, int] = attrs.field(factory=dict)
    """How many answers each level of a `Degrade` gave, by its name."""

    mended: Mapping[str, int] = attrs.field(factory=dict)
    """
    How often stages made by `generate` mended an answer, by what they did, as in
    `events.AnswerMended`: ``repaired``, ``reasked``, ``cap_raised``.
    """

    calls: int = 0
    """Calls of providers, failed ones included, and not those that were replayed."""

    replayed: int = 0
    """Calls answered from the journal, for nothing."""

    failed_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """
    US dollars, of the calls whose cost is known; `None` if none is. In a pipeline with a journal,
    what its calls count with there: a call of unknown outcome at the most it can cost.
    """

    limited_by: Limit | None = None
    """What kept the run from being faster, as far as can be told."""

    @property
    def ended(self) -> int:
        """Records that reached an end in this run."""
        return self.written + self.filtered + self.dead + self.handed_back

    @property
    def counts(self) -> dict[str, int]:
        """The terms of the accounting law, by their names."""
        names = ("read", "written", "filtered", "dead", "handed_back", "skipped", "pending")
        return {name: getattr(self, name) for name in names}

    @property
    def failed(self) -> int:
        """Records that failed: dead letters, or (without any) counted by `errors`."""
        return sum(self.errors.values())

    @property
    def rate(self) -> float:
        """Records ended for each second of the run."""
        return self.ended / self.elapsed if self.elapsed > 0 else 0.0

    def check(self) -> None:
        """Raise `AccountingError` unless the counts add up."""
        if self.read != self.ended + self.skipped + self.pending:
            raise AccountingError(f"read {self.read} != {self._terms()}")

    def to_dict(self) -> dict[str, Any]:
        """Answer the report as plain JSON types, `rate` included; money as text."""
        plain = attrs.asdict(self)
        plain["errors"] = dict(self.errors)
        plain["waits"] = dict(self.waits)
        plain["levels"] = dict(self.levels)
        plain["mended"] = dict(self.mended)
        plain["cost"] = None if self.cost is None else str(self.cost)
        plain["rate"] = self.rate
        return plain

    def __str__(self) -> str:
        return f"read {self.read} = {self._terms()} in {self.elapsed:.2f} s"

    def _terms(self) -> str:
        skipped = f"+ skipped {self.skipped} " if self.skipped else ""
        return (
            f"written {self.written} + filtered {self.filtered} + dead {self.dead} + handed back "
            f"{self.handed_back} {skipped}+ pending {self.pending}"
        )


class RunFailed(ExceptionGroup[Exception]):
    """
    Raised at the end of a run in which something went wrong.

    Holds the first errors (100 at most), so ``except* gp.errors.AuthenticationFailed`` works;
    *report* is the whole account.
    """

    report: Report

    def __new__(cls, message: str, errors: Sequence[Exception], report: Report) -> Self:
        """Make the group, and put the report beside its errors."""
        self = super().__new__(cls, message, errors)
        self.report = report
        return self

    def __init__(
        self,
        message: str,
        errors: Sequence[Exception],
        report: Report,  # noqa: ARG002 - kept by __new__
    ) -> None:
        super().__init__(message, errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return RunFailed, (self.message, self.exceptions, self.report), self.__dict__

    def derive(self, errors: Sequence[Exception], /) -> RunFailed:  # type: ignore[override]
        """Keep the report when ``except*`` splits the group."""
        return RunFailed(self.message, errors, self.report)
