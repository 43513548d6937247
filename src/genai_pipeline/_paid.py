"""
`paid`: how a provider makes a call that costs money, so that a journal can know of it.

A provider gives what it is about to send and how to send it. Outside a pipeline with a journal
that is all: it is sent. Inside one, the intent is noted first, the answer is kept before it is
read, and an answer that is kept already is given back instead of a second call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

import attrs

from genai_pipeline._journal import CallState, RawAnswer
from genai_pipeline.messages import Request, Usage

__all__ = ["CallRecorder", "Judgement", "PaidCall", "current_recorder", "paid", "set_recorder"]

Send: TypeAlias = Callable[[], Awaitable[RawAnswer]]


@attrs.frozen(kw_only=True)
class Judgement:
    """What an answer means for money, told before anybody reads it."""

    state: CallState
    """``answered`` (also when it will turn out useless), ``void`` or ``unknown``."""

    usage: Usage | None = None
    """`None` when the answer does not tell it: the call then counts at its hold."""

    error: str | None = None
    """What kind of failure it is, if it is one."""

    request_id: str | None = None


@attrs.frozen(kw_only=True)
class PaidCall:
    """A call about to be made."""

    provider: str
    """The provider's name, as in events."""

    model: str
    request: Request
    judge: Callable[[RawAnswer], Judgement] = attrs.field(repr=False)
    """Tells what an answer means for money; never raises."""

    timeout: float = 600.0
    """Seconds after which the call will have ended, one way or another."""

    identity: tuple[Any, ...] = ()
    """What else decides on the answer: the dialect of the endpoint, a version."""


class CallRecorder(Protocol):
    """Makes the paid calls of one record's walk; the engine's part of `paid`."""

    async def make(self, call: PaidCall, send: Send, /) -> RawAnswer:
        """Answer *call* from the journal, or send it and keep what comes."""
        ...


_recorder: ContextVar[CallRecorder | None] = ContextVar("genai_pipeline_recorder", default=None)

set_recorder = _recorder.set
"""Let the calls of this task be recorded; for the engine alone."""


def current_recorder() -> CallRecorder | None:
    """Answer what records the calls made here; `None` where there is no journal."""
    return _recorder.get()


async def paid(call: PaidCall, send: Send) -> RawAnswer:
    """
    Make *call* by ``send()``, through the journal of the pipeline this code runs in, if any.

    What *send* raises is raised as it is, after the journal knows of it: `ConnectionFailed` whose
    ``sent`` is false, `Rejected`, `RateLimited`, `Permanent` and `Systemic` mean that nothing is
    billed; any other error, and cancellation, that nobody knows.
    """
    recorder = _recorder.get()
    return await send() if recorder is None else await recorder.make(call, send)
