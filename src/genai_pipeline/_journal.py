"""
The words of a journal: what is known, durably, of records and of the calls paid for them.

A journal is written at three moments. T1, the *intent*: before a byte of a paid call leaves, with
the money held for it. T2, the *answer*: as it came, with what it cost, before anybody reads it.
T3, the *end* of a record: when its output is durable, before its source is told. After a crash,
running again is resuming: finished records are passed by, answered calls are answered from here.

Money is counted in whole nano-dollars, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

import attrs

from genai_pipeline._options import at_least, one_of, optional
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.messages import Usage

__all__ = [
    "MOST_NANO",
    "NANO",
    "BudgetUse",
    "CallEnd",
    "CallState",
    "Claim",
    "Finished",
    "Group",
    "Intent",
    "ItemEnd",
    "ItemState",
    "Journal",
    "PastCall",
    "RawAnswer",
    "RunInfo",
    "Settled",
]

NANO = 10**9
"""Nano-dollars in a dollar."""

MOST_NANO = 2**60
"""A billion dollars, the most of one call; sums of them fit where databases keep whole numbers."""

ItemState: TypeAlias = Literal["ready", "claimed", "held", "done", "filtered", "dead"]
"""
Where a record is. ``ready``: to be worked on (again). ``claimed``: a worker carries it. ``held``:
waiting for a person or for money. ``done``, ``filtered``, ``dead``: ended.
"""

CallState: TypeAlias = Literal["inflight", "answered", "void", "partial", "unknown", "abandoned"]
"""
What is known of a call. ``inflight``: may be on its way; its hold counts as reserved. ``answered``:
its answer is kept. ``void``: it was never made, or turned away; it costs nothing. ``partial``: part
of an answer came. ``unknown``: nobody knows whether it was billed; it counts at its whole hold.
``abandoned``: an unknown one that is given up, still counted at its hold.
"""


@attrs.frozen(kw_only=True)
class RunInfo:
    """A run that begins."""

    pipeline: str
    """The name of the pipeline; records of one name share their identities."""

    fingerprint: str
    """Stands for all stages with their versions; records finished under it are finished."""

    stages: tuple[str, ...]
    began: float
    """Wall time, seconds since 1970 UTC."""

    version: str
    """Of this library."""


@attrs.frozen(kw_only=True)
class PastCall:
    """A call made for a record before, in this run or an earlier one, and not void."""

    call: int
    key: bytes
    """Stands for the stage with its version, the model and the whole request."""

    state: CallState
    stage: str
    hold: int
    at: float = 0.0
    """When it was begun, in wall time."""


@attrs.frozen(kw_only=True)
class Claim:
    """What a journal knows of a record when a worker takes it up."""

    item: bytes
    """16 bytes that stand for pipeline, key and generation."""

    state: ItemState
    """
    ``claimed`` when it is this worker's now; else the end it came to, or ``held``, or ``ready``
    while another worker carries it: then look again later.
    """

    attempts: int = 0
    """How often it failed by its own fault."""

    environment: int = 0
    """How often it could not end for a fault of what is around it."""

    crashes: int = 0
    """How often the process died, not by a stop, while it was carried."""

    calls: tuple[PastCall, ...] = ()
    """In the order in which they were begun."""

    reuses_from: int = 0
    """The generation, as `item` ends with one, whose calls and lists may be used again."""


@attrs.frozen(kw_only=True)
class Group:
    """
    Records that were gathered into one: which they are, and with what, is decided once.

    The calls made for the group, and its end, are noted under its ``item``, as those of a record.
    """

    item: bytes
    """16 bytes that name it: the ``item`` of the intents of its calls, and of `end_item`."""

    state: ItemState
    """``claimed`` while it is open, whoever carries it; else the end it came to."""

    body: bytes = attrs.field(repr=False)
    """What was kept with it when it was frozen."""

    environment: int = 0
    """How often it could not end for a fault of what is around it."""

    calls: tuple[PastCall, ...] = ()
    """In the order in which they were begun."""


@attrs.frozen(kw_only=True)
class BudgetUse:
    """A budget that a call is to be held against."""

    budget: str
    """Names the budget and the scope: ``run``, ``day tenant=acme``."""

    window: str
    """The stretch of time it counts in; grows with time, letter by letter: ``2026-11-26``."""

    cap: int = attrs.field(validator=at_least(0, MOST_NANO))
    """Nano-dollars."""


@attrs.frozen(kw_only=True)
class Intent:
    """A paid call that is about to be made."""

    run: int
    item: bytes
    stage: str
    key: bytes
    provider: str
    model: str
    at: float
    """Wall time."""

    deadline: float
    """Wall time at which it will have ended, one way or another."""

    hold: int | None = attrs.field(validator=optional(at_least(0, MOST_NANO)))
    """The most it can cost, in nano-dollars; `None` when no price is known."""

    budgets: tuple[BudgetUse, ...] = ()
    labels: Mapping[str, str] = attrs.field(factory=dict)
    """Attributes of the record to attribute the cost to: tenant, team …"""


@attrs.frozen(kw_only=True)
class CallEnd:
    """How a call ended."""

    state: CallState = attrs.field(
        validator=one_of("answered", "void", "partial", "unknown", "abandoned")
    )
    at: float
    cost: int | None = attrs.field(default=None, validator=optional(at_least(0, MOST_NANO)))
    """
    Nano-dollars; `None` when the price or the usage is not known: then it counts at its hold,
    unless it is void.
    """

    usage: Usage | None = None
    answer: RawAnswer | None = None
    """Given for ``answered``, and for ``partial`` if there is something to keep."""

    error: str | None = None
    """The class of the failure."""

    request_id: str | None = None


@attrs.frozen(kw_only=True)
class Settled:
    """What settling a call changed."""

    state: CallState
    """Its state now: a call that was settled before keeps its state."""

    charged: int
    """Nano-dollars that it counts with now."""

    overrun: tuple[str, ...] = ()
    """Budgets that it took beyond their cap, since it cost more than its hold."""

    spent: Mapping[str, tuple[int, int, int]] = attrs.field(factory=dict)
    """For each of its budgets: spent, reserved, cap."""


@attrs.frozen(kw_only=True)
class ItemEnd:
    """How the carrying of a record ended."""

    state: ItemState = attrs.field(validator=one_of("ready", "held", "done", "filtered", "dead"))
    """``ready`` hands it back for another try."""

    at: float
    fingerprint: str
    """Of the pipeline it ended under."""

    stage: str | None = None
    error: str | None = None
    """The class of the error."""

    message: str | None = None
    """The error's text, redacted."""

    category: str | None = None
    letter: bytes | None = None
    """A dead letter as JSON, with the payload; `None` for other ends."""

    resumes: bool = False
    """For ``held``: whether a later run takes it up by itself, as when it waits for money."""

    own_fault: bool = False
    """Whether to count an attempt against the record."""

    environment_fault: bool = False


class Finished(Protocol):
    """The keys of the records that have ended for good under one fingerprint."""

    def __contains__(self, key: object, /) -> bool: ...

    def __len__(self) -> int: ...


class Journal(Protocol):
    """
    Keeps records, calls, answers and money through crashes.

    Entered once for a run, by one process at a time unless its docstring says otherwise. When a
    method that writes returns, what it wrote survives the death of the process and a power cut;
    when it raises, nothing of it was written. Cancelling one leaves it written or not, and nothing
    in between; but `end_run`, `end_call` and `end_item` are shielded: once asked, they write
    although the task is cancelled, and answer, within a minute or so. Methods may be called
    concurrently; what is asked for together is committed together. Proved by
    `testing.JournalContract`. One that also has ``async tell(run, waits_for)`` is told what a run
    waits for, as space for its sink, and `None` when it waits no more.

    On entering, what an earlier owner left is put in order: its calls under way become
    ``unknown`` at their whole hold, its claimed records ``ready``, each with one crash more if
    the owner died (a run that was ended in order leaves none).
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    async def begin_run(self, run: RunInfo, /) -> int:
        """Note that a run begins; answer its number, 1 or more."""
        ...

    async def end_run(self, run: int, state: str, at: float, counts: Mapping[str, int], /) -> None:
        """Note that it ended: ``ended``, ``stopped`` or ``failed``."""
        ...

    async def finished(self, pipeline: str, fingerprint: str, /) -> Finished:
        """
        Answer the keys of records that are done or filtered under *fingerprint*.

        Those that are dead count too, whatever the fingerprint, until they are redriven; those
        that were erased count for ever.
        """
        ...

    def claim(
        self, run: int, key: str, /, *, subject: str | None = None
    ) -> Coroutine[Any, Any, Claim]:
        """
        Take up the record *key* for *run*, in its latest generation; it is admitted if need be.

        A record that ended under another fingerprint is taken up again, with its calls. Cancelled,
        it leaves the record as it was. *subject* is whose data it is; given only to journals that
        have `JournalKeeper.erase`. A record that was erased is answered as ``filtered``.
        """
        ...

    async def freeze_group(
        self,
        run: int,
        stage: str,
        members: Sequence[bytes],
        body: bytes,
        /,
        *,
        items: Collection[bytes] = (),
    ) -> Group:
        """
        Keep a new group of *stage* with its *members* and *body*, before a call is made for it.

        Each member is 16 bytes that stand for a record at its place in the pipeline. A member
        of another group belongs to this one from now on. Groups are no records: `counts`,
        `finished` and `claim` know nothing of them. *items* are the records and groups that its
        members were made of; given only to journals that can erase, so that it goes with them.
        *body* is a JSON object whose ``items`` has them too, in hexadecimal, which is what
        `JournalKeeper.redrive` and `JournalKeeper.release` find the groups of a record by.
        """
        ...

    async def group_of(self, run: int, member: bytes, /) -> Group | None:
        """
        Answer the group that *member* belongs to; `None` when it was never frozen into one.

        One that is done or filtered under another fingerprint than the run's is open again.
        """
        ...

    def begin_call(self, intent: Intent, /) -> Coroutine[Any, Any, int]:
        """
        Note the intent of a call and hold its money in every budget, or in none (T1).

        Answers the number of the call. Raises `errors.BudgetExhausted` when a budget has no room;
        its ``waits`` tells whether calls under way hold money that may come back. Cancelled, it
        leaves nothing held, since nobody can have made the call. A window that was over, by what
        the journal has seen, stays over: what is held counts in the latest one.
        """
        ...

    def end_call(self, call: int, end: CallEnd, /) -> Coroutine[Any, Any, Settled]:
        """
        Note how a call ended, keep its answer, and settle its hold (T2); once.

        A second end changes nothing, except that a late answer makes an ``unknown`` or
        ``abandoned`` call ``answered``, and counts with its true cost; and that an ``unknown``
        one may be ``abandoned``, or ``void`` when it is found that nobody ever executed it.
        """
        ...

    async def answer(self, call: int, /) -> RawAnswer:
        """Answer what is kept of an answered call, ``replayed``; checked against its digest."""
        ...

    def end_item(self, item: bytes, end: ItemEnd, /) -> Coroutine[Any, Any, None]:
        """Note how the carrying of a record ended (T3); an end that it has is not changed."""
        ...

    async def counts(self, pipeline: str, /) -> Mapping[ItemState, int]:
        """Answer how many records are in which state."""
        ...

    async def past_calls(self, keys: Sequence[str], pipeline: str, /) -> Mapping[str, Claim]:
        """Answer what is known of records, by key, without taking them up: for a plan."""
        ...
