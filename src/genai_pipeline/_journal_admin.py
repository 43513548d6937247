"""The words of looking after a journal: what people and commands ask of it between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import attrs

from genai_pipeline._journal import CallState, ItemState
from genai_pipeline._options import check, one_of

__all__ = [
    "COST_NAMES",
    "BudgetLine",
    "CostLine",
    "Erased",
    "JournalKeeper",
    "KeptRecord",
    "OpenCall",
    "Purged",
    "RunSummary",
    "Selector",
    "dead",
    "held",
]

COST_NAMES = ("pipeline", "run", "stage", "provider", "model")
"""What costs can be grouped by beside labels."""


@attrs.frozen(kw_only=True)
class RunSummary:
    """A run as the journal knows it."""

    run: int
    pipeline: str
    fingerprint: str
    version: str
    began: float
    ended: float | None
    state: str
    """``running``, ``ended``, ``stopped``, ``failed``, or ``died`` when its process did."""

    counts: Mapping[str, int]
    stages: tuple[str, ...] = ()
    """The names of the stages that it had."""


@attrs.frozen(kw_only=True)
class Selector:
    """Which records are meant: those that fit everything given."""

    state: Literal["dead", "held"] = attrs.field(default="dead", validator=one_of("dead", "held"))
    pipeline: str | None = None
    keys: tuple[str, ...] = ()
    """Empty for any."""

    stage: str | None = None
    error: str | None = None
    """The class of the error."""

    category: str | None = None
    since: float | None = None
    """Ended at this wall time or later."""

    until: float | None = None
    """Ended before this wall time."""

    def __attrs_post_init__(self) -> None:
        check(not isinstance(self.keys, str), self, "keys", self.keys, "a tuple of keys")


def dead(which: Selector) -> Selector:
    """Answer *which* with dead records as those meant; only these can be redriven."""
    return attrs.evolve(which, state="dead")


def held(which: Selector) -> Selector:
    """Answer *which* with held records as those meant; only these can be released."""
    return attrs.evolve(which, state="held")


@attrs.frozen(kw_only=True)
class KeptRecord:
    """A record that is dead or held."""

    item: bytes
    pipeline: str
    key: str | None
    """`None` once it was purged."""

    generation: int
    """How often it was redriven."""

    state: ItemState
    at: float
    """When it ended, in wall time."""

    stage: str | None
    error: str | None
    message: str | None
    category: str | None
    attempts: int
    environment: int
    crashes: int


@attrs.frozen(kw_only=True)
class OpenCall:
    """A call that may have been billed without an answer: nobody knows."""

    call: int
    item: bytes
    key: str | None
    """Of the record."""

    run: int
    stage: str
    provider: str
    model: str
    at: float
    state: CallState
    charged: int
    """Nano-dollars that it counts with: its whole hold."""


@attrs.frozen(kw_only=True)
class CostLine:
    """What the calls of one group cost; failed attempts are in all figures."""

    group: Mapping[str, str]
    """The value of each name that was asked for; empty where a call has no such label."""

    calls: int = 0
    """Calls that were made: void ones are not among them."""

    failed: int = 0
    """Those of them that brought no answer, or one that was a failure."""

    unknown: int = 0
    """Those of them of which nobody knows whether they were billed."""

    charged: int = 0
    """Nano-dollars, unknown calls at their whole hold."""

    failed_charged: int = 0
    """Of that, for failed calls."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@attrs.frozen(kw_only=True)
class BudgetLine:
    """A budget in one of its windows, in nano-dollars."""

    budget: str
    window: str
    cap: int
    reserved: int
    spent: int
    overrun: bool
    """Whether calls cost so much more than their holds that the cap was passed."""


@attrs.frozen(kw_only=True)
class Purged:
    """What a purge took away."""

    records: int
    calls: int


@attrs.frozen(kw_only=True)
class Erased:
    """What an erasure took away, and what it has to be told elsewhere."""

    records: int = 0
    groups: int = 0
    """Gathered ones that a record of the subject was in."""

    calls: int = 0
    rows: int = 0
    """Of tables that sinks keep in the journal."""

    keys: tuple[str, ...] = ()
    """Of the records, but for those that were purged before: what sinks know their output by."""

    requests: tuple[tuple[str, str], ...] = ()
    """Provider and request id of the calls: what providers may know them by."""


class JournalKeeper(Protocol):
    """
    What a journal answers to people who look after it; for one that is entered.

    A journal may do without; the commands then say so. Proved by `testing.JournalContract`.
    """

    async def runs(self, *, pipeline: str | None = None, limit: int = 100) -> Sequence[RunSummary]:
        """Answer the latest runs, the newest first."""
        ...

    async def records(self, which: Selector, /, *, limit: int = 100) -> Sequence[KeptRecord]:
        """Answer the dead or held records that *which* selects, those that ended last first."""
        ...

    async def letter(self, item: bytes, /) -> bytes | None:
        """Answer the dead letter of a record; `None` when there is none, or it was purged."""
        ...

    async def open_calls(
        self, *, pipeline: str | None = None, limit: int = 100
    ) -> Sequence[OpenCall]:
        """Answer the calls that are ``unknown``, the oldest first."""
        ...

    async def redrive(self, which: Selector, /, *, reuse: bool = True) -> int:
        """
        Let dead records be worked on again, each in a new generation; answer how many.

        Their answered calls are used again unless *reuse* is false: then all are made anew. A
        group that is dead is open again if *reuse* is true and all its records are redriven.
        """
        ...

    async def release(self, which: Selector, /) -> int:
        """
        Let held records be worked on again; answer how many.

        Their unknown calls, and those of the lists that they were gathered into, are abandoned:
        they count at their hold, and are made again.
        """
        ...

    async def costs(
        self,
        by: Sequence[str] = ("model",),
        /,
        *,
        pipeline: str | None = None,
        run: int | None = None,
    ) -> Sequence[CostLine]:
        """
        Answer what calls cost, grouped *by* names, the dearest group first.

        A name is ``pipeline``, ``run``, ``stage``, ``provider``, ``model`` or else a label.
        """
        ...

    async def budgets(self) -> Sequence[BudgetLine]:
        """Answer all budgets in all their windows, by name and window."""
        ...

    async def purge(
        self, before: float, /, *, pipeline: str | None = None, dry_run: bool = False
    ) -> Purged:
        """
        Forget what records that ended *before* a wall time were: keys, calls, answers, letters.

        What stays says that they have ended, so that they are not worked on again, and what
        they cost. Under another fingerprint they would be paid for again. With *dry_run*, what
        would be forgotten is counted, and stays.
        """
        ...

    async def erase(self, subject: str, /, *, dry_run: bool = False) -> Erased:
        """
        Forget all that is kept of *subject*: what `Journal.claim` was told that records are of.

        Records of the subject that are carried come to their end first; those that are claimed
        meanwhile are answered as ``filtered``. When it returns, nothing of them is left but a
        salted digest by which they are passed by for ever, and what they cost. Cancelled or
        interrupted, it is finished when the journal is entered next. With *dry_run*, what would
        be forgotten is told, and stays.
        """
        ...
