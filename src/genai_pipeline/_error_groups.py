"""Errors that task groups raise: what one of them means for a record, and for a cancellation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anyio import get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from genai_pipeline.errors import OutcomeUnknown, Rejected, Stopped, Systemic, classify

__all__ = ["failure_in", "one_of"]

_DECIDE = (Systemic, Stopped, OutcomeUnknown)
"""What decides on a record whatever else failed beside it: it is begun again, or held."""


def one_of(error: BaseException) -> BaseException:
    """
    Answer the error in a group that says what becomes of the record; else *error* itself.

    A task group wraps even a single error. Of several, one that stops the run or holds the record
    goes before all others; the rest speak with one voice if they are of one category. If not, the
    group stays, as where all are `Rejected`: to wait and begin again would be no use where calls
    of the stage stand in each other's way, and would pay for those that were cancelled.
    """
    if type(error) is not ExceptionGroup:
        return error
    leaves = list(_leaves(error))
    others = [leaf for leaf in leaves if not isinstance(leaf, Rejected)]
    for kind in _DECIDE:
        for leaf in others:
            if isinstance(leaf, kind):
                return leaf
    return others[0] if len(set(map(classify, others))) == 1 else error


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for each in group.exceptions:
        if type(each) is ExceptionGroup:
            yield from _leaves(each)
        else:
            yield each


async def failure_in(raised: Exception | BaseExceptionGroup[Any]) -> Exception:
    """
    Answer the error that `one_of` names, unless it came out of a group that was being cancelled.

    Such a group raises what failed in it beside the cancellation on trio, and without it on
    asyncio. Here the cancellation alone is raised on both, with what failed as its cause, since
    an error that passes a cancel scope by would reach whoever cancelled. Anything else that is
    no `Exception`, such as a `KeyboardInterrupt`, is raised as it came.
    """
    if not isinstance(raised, BaseExceptionGroup):
        return raised
    cancelled = get_cancelled_exc_class()
    if isinstance(raised, ExceptionGroup):
        try:
            await checkpoint_if_cancelled()
        except cancelled as cancellation:
            raise cancellation from raised
        return _alone(raised)
    failures, others = raised.split(Exception)
    if failures is None or others is None or others.split(cancelled)[1] is not None:
        raise raised
    raise others from failures


def _alone(group: ExceptionGroup[Exception]) -> Exception:
    """Answer what speaks for *group*, with a note of what else is in it."""
    error = one_of(group)
    assert isinstance(error, Exception)
    if error is not group:
        for leaf in _leaves(group):
            if leaf is not error:
                error.add_note(f"beside it: {type(leaf).__name__}: {leaf}")
    return error
