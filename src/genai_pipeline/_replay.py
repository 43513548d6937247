"""
Replays: calls that the journal answers, which pass by whatever stands before calls that are sent.

A handler that can tell has a method ``would_replay(value)``, a middleware ``would_replay(value,
call_next)``; `wrap` hands the question down to what it stands around. A middleware whose class says
``passed_by_replays = True`` (limits, breakers) does not see such calls at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from genai_pipeline._paid import CallName, current_recorder

if TYPE_CHECKING:
    from genai_pipeline.types import Handler

__all__ = [
    "is_kept",
    "is_passed_by",
    "is_replaying",
    "is_unsent",
    "knower_of",
    "replays_elsewhere",
    "replays_first",
    "require_sendable",
    "unless_replayed",
    "would_replay",
]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

Knower = Callable[[Any], bool]

GoesOn = Callable[[Exception], bool]

_elsewhere: ContextVar[GoesOn | None] = ContextVar("genai_pipeline_elsewhere", default=None)
_expected: ContextVar[bool] = ContextVar("genai_pipeline_replay_expected", default=False)


class _NotKept(Exception):
    """Raised in place of a call that went past the limits as a replay, and would be sent."""


def is_replaying() -> bool:
    """Tell whether any call made here may be answered from the journal."""
    recorder = current_recorder()
    return recorder is not None and recorder.replaying


def would_replay(value: object, handler: object) -> bool:
    """Tell whether the journal, and nobody else, would answer a call of *handler* with *value*."""
    recorder = current_recorder()
    if recorder is None or not recorder.replaying:
        return False
    ask: Knower | None = getattr(handler, "would_replay", None)
    return ask is not None and ask(value) is True  # of a mock, all that is asked for is there


def is_unsent(value: object, handler: object) -> bool:
    """Tell whether a call of *handler* would be sent to nobody: replayed, or merely planned."""
    recorder = current_recorder()
    if recorder is None:
        return False
    return not recorder.sends or would_replay(value, handler)


@contextmanager
def replays_first(goes_on: GoesOn) -> Iterator[None]:
    """
    Let retries inside give up an error of which *goes_on* is true, rather than send once more.

    It tells of an error whether whoever gets it goes on to a target that would replay.
    """
    token = _elsewhere.set(goes_on)
    try:
        yield
    finally:
        _elsewhere.reset(token)


def replays_elsewhere(error: Exception) -> bool:
    """Tell whether the call that failed with *error* would be replayed by another target."""
    goes_on = _elsewhere.get()
    return goes_on is not None and goes_on(error)


def is_kept(call: CallName) -> bool:
    """Tell whether the journal has an answer left for *call*, made here."""
    recorder = current_recorder()
    return recorder is not None and recorder.keeps(call)


def is_passed_by(middleware: object) -> bool:
    """Tell whether *middleware* stands before calls that are really sent, and no others."""
    owner = getattr(middleware, "__self__", middleware)  # of a method, such as `check_again`
    return getattr(owner, "passed_by_replays", False) is True


def knower_of(middleware: object, call_next: object) -> Knower | None:
    """Answer what tells of *call_next*, with *middleware* around it, whether it would replay."""
    ask = getattr(middleware, "would_replay", None)
    if ask is not None:
        return lambda value: ask(value, call_next)
    return getattr(call_next, "would_replay", None)


def require_sendable() -> None:
    """Raise an error where a call is about to be sent that went past the limits as a replay."""
    if _expected.get():
        raise _NotKept


def unless_replayed(through: Handler[I, O], beyond: Handler[I, O]) -> Handler[I, O]:
    """Answer a handler that goes *through* limits, or for a replay to what stands *beyond* them."""

    def choose(value: I) -> Awaitable[O]:
        if is_unsent(value, beyond):
            return _past(value, beyond, through)
        return through(value)

    return choose


async def _past(value: I, beyond: Handler[I, O], through: Handler[I, O]) -> O:
    token = _expected.set(True)
    try:
        return await beyond(value)
    except _NotKept:
        pass  # an equal call took the answer meanwhile, or the request was changed on its way
    finally:
        _expected.reset(token)
    return await through(value)
