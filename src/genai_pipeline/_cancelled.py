"""Failures that come with a cancellation: it goes on, and they are its cause."""

from __future__ import annotations

from typing import Any

from anyio import get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

__all__ = ["failure_in"]


async def failure_in(raised: Exception | BaseExceptionGroup[Any]) -> Exception:
    """
    Answer *raised*, unless it came out of a task group that was being cancelled.

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
        return raised
    failures, others = raised.split(Exception)
    if failures is None or others is None or others.split(cancelled)[1] is not None:
        raise raised
    raise others from failures
