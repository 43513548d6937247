"""
What happens, told to whoever listens: for logs, metrics, progress and tests, never for behaviour.

Events are frozen classes named noun + past verb. `emit` hands one to the listeners that
`listen` put around the code, in the same task and its children. A listener is called
synchronously, so it must be quick; one that raises is logged, and dropped until its ``with`` ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Literal, TypeAlias

import attrs

from genai_pipeline._listeners import Listener, listeners_here

__all__ = [
    "AnswerMended",
    "CallFinished",
    "CallReconciled",
    "DiskFilled",
    "DiskFreed",
    "Event",
    "IntakePaused",
    "IntakeResumed",
    "IsolationFailed",
    "LevelAnswered",
    "Listener",
    "PolicyWaited",
    "RecordSettled",
    "RecordWaited",
    "RunEnded",
    "RunStarted",
    "SourceFailed",
    "StopRequested",
    "emit",
    "listen",
]

Outcome: TypeAlias = Literal["written", "filtered", "dead", "handed_back"]


@attrs.frozen(kw_only=True)
class Event:
    """The root of all events."""


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """A run began to read its source."""

    max_in_flight: int


@attrs.frozen(kw_only=True)
class RecordSettled(Event):
    """A record reached its one end; its source is told next."""

    key: str
    outcome: Outcome
    seconds: float
    error: Exception | None = None
    stage: str | None = None


@attrs.frozen(kw_only=True)
class RecordWaited(Event):
    """A stage or sink rejected a record for now, which waits *seconds* and goes on there."""

    key: str
    stage: str
    seconds: float
    error: Exception


@attrs.frozen(kw_only=True)
class CallFinished(Event):
    """
    A provider answered or failed; every provider emits one for each call, streamed ones included.

    Tokens are those of `Usage`; *error* is the class name of the failure, else `None`:
    ``Cancelled`` for a call that was cancelled, ``Abandoned`` for a stream that was left before
    its end. The *seconds* of a stream leave out what its consumer took between the chunks;
    *first_chunk* is when its first one came, in seconds, `None` for what is no stream. *replayed*
    tells that the answer came out of the pipeline's journal: nothing was called, and tokens and
    cost are 0.
    """

    provider: str
    model: str
    seconds: float
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    finish_reason: str | None = None
    error: str | None = None
    first_chunk: float | None = None
    replayed: bool = False


@attrs.frozen(kw_only=True)
class CallReconciled(Event):
    """
    A provider was asked what became of a call whose answer was lost.

    *outcome* is ``answered`` when it had the answer, ``void`` when the call was never executed,
    ``unknown`` when it does not know.
    """

    stage: str
    provider: str
    model: str
    outcome: str


@attrs.frozen(kw_only=True)
class IsolationFailed(Event):
    """
    A record that the process died of twice could not be run in a process of its own.

    *reason* says why, and what to change. It runs alone in the run's process instead, which may
    die of it once more.
    """

    key: str
    reason: str


@attrs.frozen(kw_only=True)
class DiskFilled(Event):
    """
    The disk of a sink is full: its records wait for space, with their answers, and none is begun.

    *path* is what could not be written. See ``on_full_disk`` of `Pipeline`.
    """

    path: str
    error: Exception


@attrs.frozen(kw_only=True)
class DiskFreed(Event):
    """There is space again, all that waited for it is written, and the run goes on."""

    path: str
    seconds: float
    """For how long there was none."""


@attrs.frozen(kw_only=True)
class IntakePaused(Event):
    """
    More memory is used than ``max_memory`` of `Pipeline`, and the source is asked for nothing.

    What is in flight goes on; when nothing is, one record after another is let through.
    """

    memory: int
    max_memory: int


@attrs.frozen(kw_only=True)
class IntakeResumed(Event):
    """Memory is well below ``max_memory`` of `Pipeline`, and the source is asked as before."""

    memory: int
    seconds: float
    """For how long intake was paused."""


@attrs.frozen(kw_only=True)
class PolicyWaited(Event):
    """
    A policy let a call wait *seconds* before it went on, or gave up.

    *kind* is what it waited for: a place in a ``queue``, the ``limiter``'s quota, a shared
    ``cooldown``, the ``breaker``, or the ``backoff`` before a retry. *name* is the policy's.
    """

    kind: Literal["queue", "limiter", "cooldown", "breaker", "backoff"]
    name: str
    seconds: float


@attrs.frozen(kw_only=True)
class AnswerMended(Event):
    """
    A stage made by `generate` got an answer that it could not use as it was, and went on.

    *how* tells what it did: the JSON was ``repaired``, the model was asked again with the errors
    (``reasked``), or with room for a longer answer (``cap_raised``).
    """

    stage: str
    how: Literal["repaired", "reasked", "cap_raised"]


@attrs.frozen(kw_only=True)
class LevelAnswered(Event):
    """
    A provider of several levels, called *name*, answered by *level*.

    *degraded* tells whether that is a lower level than the first.
    """

    name: str
    level: str
    degraded: bool


@attrs.frozen(kw_only=True)
class SourceFailed(Event):
    """Reading the source raised; the run reads no more, or begins the source anew."""

    error: Exception
    retry_in: float | None


@attrs.frozen(kw_only=True)
class StopRequested(Event):
    """The run reads no more; what is in flight gets *grace* seconds."""

    reason: str
    grace: float
    again: bool = False
    """Whether it was stopping already, and now ends at once."""


@attrs.frozen(kw_only=True)
class RunEnded(Event):
    """A run is over, and everything it opened is closed."""

    read: int
    written: int
    filtered: int
    dead: int
    handed_back: int
    seconds: float
    skipped: int = 0
    """Records that had ended already in an earlier run, as the journal knew."""


def emit(event: Event) -> None:
    """Hand *event* to everyone who listens here; never raises."""
    for listener in listeners_here.get():
        listener(event)


@contextmanager
def listen(*listeners: Listener) -> Iterator[None]:
    """
    Call *listeners* with each event emitted inside the ``with`` block and by tasks begun in it.

    Several blocks nest; the outer ones hear the event first.
    """
    guarded = tuple(_Guarded(each) for each in listeners)
    token = listeners_here.set(listeners_here.get() + guarded)
    try:
        yield
    finally:
        listeners_here.reset(token)


class _Guarded:
    """Calls a listener until it raises for the first time."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener | None = listener

    def __call__(self, event: Event) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception:
            import logging  # noqa: PLC0415 - slow to import, seldom used

            logging.getLogger("genai_pipeline").exception(
                "listener %r raised at %r and hears nothing more", self._listener, event
            )
            self._listener = None
