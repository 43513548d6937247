"""
The walk: what belongs to the record that a worker is carrying right now.

The one ambient value with effect. Only the runner sets it; a plain call outside any pipeline
has no walk. Code anywhere below a stage may read it: for the record's identity and attributes,
for the time that is left, for the clock of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TypeAlias

import anyio
import attrs

from genai_pipeline._journal_tables import PendingRows
from genai_pipeline._paid import CallRecorder
from genai_pipeline.clock import Clock
from genai_pipeline.errors import DeadlineExceeded, Rejected
from genai_pipeline.records import Record

__all__ = [
    "Fate",
    "Run",
    "SharedFate",
    "Walk",
    "current_deadline",
    "current_record",
    "current_walk",
    "deadline_at",
    "mark_record",
    "time_left",
]

Fate: TypeAlias = "Literal['written', 'filtered'] | Exception"
"""How a record ended: one of the good ends, or the error that ended it."""


class Run(Protocol):
    """What a walk may ask of the run that it is part of."""

    clock: Clock
    deadline: float
    """When the run ends, and hands back what is in flight; no record fails for it."""

    def notes(self, stages: tuple[str, ...], /) -> tuple[Callable[[float], None], ...]:
        """Answer, for each of *stages*, what notes how many seconds it took, for the report."""
        ...

    def fold(self) -> None:
        """Count what was noted, to free its memory; call it every thousand notes or so."""
        ...

    async def park(self, rejection: Rejected, stage: str, walk: Walk, /) -> None:
        """
        Wait until the rejected call may be tried again.

        Raises `DeadlineExceeded` when that is later than the walk may take, `Stopped` when the
        run stops meanwhile.
        """
        ...

    async def turn(self, walk: Walk, /) -> None:
        """Wait until every record read before this one has written what it had to write."""
        ...


class SharedFate:
    """The end of one record that carries others; they wait for it."""

    __slots__ = ("beyond", "fate", "group", "known", "stage")

    def __init__(self) -> None:
        self.known = anyio.Event()
        self.fate: Fate | None = None
        """How the carrier's own work ended, once it has."""
        self.beyond: Sequence[SharedFate] = ()
        """What else must end well, since others carry on what the carrier made."""
        self.stage: str | None = None
        """The stage that failed, if one did and it is known."""
        self.group: bytes | None = None
        """What the journal calls those who share it, if there is a journal."""

    @property
    def decided(self) -> bool:
        """Whether the end is known, with all that it hangs on."""
        return all(each.fate is not None for each in self._with_all_beyond())

    def decide(
        self, fate: Fate, stage: str | None = None, beyond: Sequence[SharedFate] = ()
    ) -> None:
        """
        Tell everyone who waits; only the first call counts.

        *beyond* are the fates that the carrier itself has joined: it ends well only if they do.
        Two carriers may have joined each other, so that neither can wait before it decides.
        """
        if self.fate is None:
            self.fate = fate
            self.beyond = () if isinstance(fate, Exception) else tuple(beyond)
            self.stage = stage
            self.known.set()

    async def wait(self) -> Fate:
        """Wait for the end of the record that carries this one, and of all that carry it on."""
        fate: Fate = "filtered"
        for each in self._with_all_beyond():
            await each.known.wait()
            if isinstance(each.fate, Exception):
                self.stage = each.stage
                return each.fate
            if each.fate == "written":
                fate = "written"
        return fate

    def _with_all_beyond(self) -> Iterator[SharedFate]:
        """Answer this one and those it hangs on, as far as they are known when asked for."""
        seen: set[SharedFate] = set()
        waiting: list[SharedFate] = [self]
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                yield each
                waiting += each.beyond


@attrs.define(eq=False)
class Walk:
    """One record on its way from its source to its end, carried by one worker."""

    run: Run
    record: Record[Any]
    ordinal: int
    deadline: float = math.inf
    """On the clock of the run; no wait below may outlive it."""

    timed: bool = True
    """Whether the stages note how long they took; in a very fast run only some walks do."""

    recorder: CallRecorder | None = None
    """What keeps the record's calls in the journal; `None` in a pipeline without one."""

    attempts: int = 1
    """How often the call that decides was made; a retry counts it up."""

    waited_for_turn: float = 0.0
    marks: dict[str, Any] | None = None
    """Attributes that what is made of the record is to bear, set by `mark_record`."""

    rows: PendingRows | None = None
    """What the journal is to write with the end of the record; `None` where it has no tables."""

    carries: list[SharedFate] | None = None
    joined: list[SharedFate] | None = None
    ended: bool = False
    _failed: tuple[BaseException, str] | None = None

    def carry(self, fate: SharedFate) -> None:
        """Let the end of this walk, once its output is durable, decide *fate*."""
        self.carries = [*(self.carries or ()), fate]

    def join(self, fate: SharedFate) -> None:
        """Let this walk end as *fate* does, since another record carries its value on."""
        self.joined = [*(self.joined or ()), fate]

    def failed_in(self, stage: str, error: BaseException) -> None:
        """Note the innermost *stage* that *error*, or a cancellation, came out of."""
        if self._failed is None or self._failed[0] is not error:
            self._failed = (error, stage)

    def stage_of(self, error: Exception) -> str | None:
        """Answer the stage that raised *error*, or that ran when the time was up."""
        if self._failed is not None:
            raised, stage = self._failed
            if raised is error or isinstance(error, DeadlineExceeded):
                return stage
        return None


_current: ContextVar[Walk | None] = ContextVar("genai_pipeline_walk", default=None)


def current_walk() -> Walk | None:
    """Answer the walk this code is part of; `None` outside any pipeline."""
    return _current.get()


def current_record() -> Record[Any] | None:
    """Answer the record that was read from the source for this walk; `None` outside any."""
    walk = _current.get()
    return None if walk is None else walk.record


_limit: ContextVar[float] = ContextVar("genai_pipeline_deadline", default=math.inf)


def current_deadline() -> float:
    """
    Answer when this code must be done, on the clock in use; ``math.inf`` without a deadline.

    The earliest of the walk's deadline and those that `deadline_at` put around this code.
    Whoever waits asks here first, so that no wait outlives its caller.
    """
    walk, limit = _current.get(), _limit.get()
    return limit if walk is None else min(limit, walk.deadline)


def deadline_at(deadline: float) -> AbstractContextManager[None]:
    """Let `current_deadline` be *deadline* inside the block, unless it is earlier already."""
    return _DeadlineAt(deadline)


class _DeadlineAt:
    """A class rather than a generator, since that takes a third of the time."""

    __slots__ = ("_deadline", "_token")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def __enter__(self) -> None:
        self._token = _limit.set(min(self._deadline, _limit.get()))

    def __exit__(self, *_: object) -> None:
        _limit.reset(self._token)


def detach() -> Walk | None:
    """
    Free this task from the deadlines of whoever began it, for work that others wait for too.

    It goes on as a part of the same record's walk, but of a copy without a deadline, which is
    answered; what it counts is to be brought back by hand. `None` outside any pipeline.
    """
    _limit.set(math.inf)
    walk = _current.get()
    if walk is not None:
        if walk.marks is None:
            walk.marks = {}  # the copy's marks are this one's
        walk = attrs.evolve(walk, deadline=math.inf)
        _current.set(walk)
    return walk


def mark_record(**attributes: Any) -> None:
    """
    Let the records made of the one walked here bear *attributes* beside their own.

    For policies that have something to say of how an output came about. Does nothing outside of a
    pipeline, nor once the stages are done.
    """
    walk = _current.get()
    if walk is None:
        return
    if walk.marks is None:
        walk.marks = {}
    walk.marks.update(attributes)


def time_left() -> float:
    """Answer the seconds this walk still has, ``math.inf`` without a deadline."""
    walk = _current.get()
    return math.inf if walk is None else current_deadline() - walk.run.clock.now()


set_walk = _current.set
"""Make a walk the current one of this task; for the runner alone."""
