"""`resilient_stream`: the usual policies around answers that come piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import apply, check
from genai_pipeline._paid import refuse_unrecorded
from genai_pipeline._wrap import name_of, wrap
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.messages import Chunk, Request
from genai_pipeline.resilience._adaptive_limit import AdaptiveLimit
from genai_pipeline.resilience._breaker import CircuitBreaker
from genai_pipeline.resilience._bulkhead import Bulkhead
from genai_pipeline.resilience._deadline import Deadline
from genai_pipeline.resilience._fallback import Fallback
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._retry import Retry
from genai_pipeline.resilience._stream_attempt import StreamAttempt
from genai_pipeline.resilience._stream_holds import Concurrency, Limits
from genai_pipeline.resilience._stream_timeout import StreamTimeout
from genai_pipeline.resilience._usual import USUAL, given_or_usual
from genai_pipeline.types import StreamingProvider

__all__ = ["ResilientStream", "resilient_stream"]

_OWNER = "resilient_stream"


class ResilientStream(Composite):
    """A streaming provider with policies around it; itself one. Made by `resilient_stream`."""

    __slots__ = ("_begin", "handler", "middlewares", "name")

    def __init__(
        self,
        handler: StreamingProvider,
        middlewares: tuple[object, ...],
        begin: Callable[[Request], Awaitable[StreamAttempt]],
    ) -> None:
        self.handler = handler
        self.middlewares = middlewares
        self.name = _name_of(handler)
        self._begin = begin

    def __call__(self, request: Request) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Answer *request* piece by piece, through the policies."""
        return _Answer(self._begin, request)

    def parts(self) -> Iterable[object]:
        """Answer the provider and the policies: what is entered and left with this."""
        return (_owner_of(self.handler), *self.middlewares)

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, (self.handler, *self.middlewares)))
        return f"resilient_stream({inside})"


def resilient_stream(
    stream: StreamingProvider,
    *,
    deadline: Deadline | None = None,
    fallback: StreamingProvider | Sequence[StreamingProvider] | None = None,
    retry: Retry | None = USUAL,
    rate_limit: RateLimit | None = USUAL,
    concurrency: Concurrency | None = USUAL,
    breaker: CircuitBreaker | None = USUAL,
    timeout: StreamTimeout | None = USUAL,
    clock: Clock | None = None,
) -> ResilientStream:
    """
    Put the usual policies around *stream*, such as a provider's method ``stream``.

    Entering a stream waits for its first chunk. Until then it is a call like any other: it passes,
    from the outside in, *deadline* (for all up to the first chunk), *fallback* (other streaming
    providers, each with policies of its own), *retry*, *rate_limit*, *concurrency*, *breaker*
    and *timeout*, as with `resilient`. Give a policy by its keyword to have it instead of the
    usual one, or `None` to go without. The very objects that stand around calls may be given, and
    share quota, slots and circuit with them.

    After the first chunk nothing is tried again, here or elsewhere, for the consumer may have
    used what came. What breaks off raises `StreamInterrupted`, which has the text so far. What the
    stream holds is settled once, at its end: by the usage that the last chunk tells; as a failure,
    when the provider breaks off or falls silent; as nothing, when the consumer leaves or is
    cancelled, with the output tokens estimated from the text. A breaker's probe succeeds with the
    first chunk. The consumer may take its time between the chunks; a slot is held meanwhile.

    *clock* is for the policies made here, and times the chunks.
    """
    apply(_options.optional(_options.clock), _OWNER, "clock", clock)
    time = SystemClock() if clock is None else clock
    check(callable(stream), _OWNER, "stream", stream, "a streaming provider: model.stream")
    name = _name_of(stream)
    retry, rate_limit, concurrency, breaker = given_or_usual(
        retry, rate_limit, concurrency, breaker, name=name, clock=time
    )
    if timeout is USUAL:
        timeout = StreamTimeout()
    _check("deadline", deadline, Deadline)
    _check("retry", retry, Retry)
    _check("rate_limit", rate_limit, RateLimit)
    _check("concurrency", concurrency, AdaptiveLimit, Bulkhead)
    _check("breaker", breaker, CircuitBreaker)
    _check("timeout", timeout, StreamTimeout)
    limits = Limits(rate_limit=rate_limit, concurrency=concurrency, breaker=breaker)
    first = _Beginning(stream, limits, timeout, time)
    others = [
        _Beginning(other, Limits(), None, time, mark=_name_of(other))
        for other in _several(fallback)
    ]
    elsewhere = Fallback(*others, clock=time) if others else None
    around = tuple(policy for policy in (deadline, elsewhere, retry) if policy is not None)
    inside = tuple(p for p in (rate_limit, concurrency, breaker, timeout) if p is not None)
    return ResilientStream(stream, (*around, *inside), wrap(first, *around))


class _Beginning(Composite):
    """A stream up to its first chunk: a handler, which policies may call again."""

    __slots__ = ("_clock", "_limits", "_mark", "_stream", "_timeout", "name")

    def __init__(
        self,
        stream: StreamingProvider,
        limits: Limits,
        timeout: StreamTimeout | None,
        clock: Clock,
        mark: str | None = None,
    ) -> None:
        self.name = _name_of(stream)
        self._stream = stream
        self._limits = limits
        self._timeout = timeout
        self._clock = clock
        self._mark = mark

    async def __call__(self, request: Request) -> StreamAttempt:
        attempt = StreamAttempt(self._stream, self._limits, self._timeout, self._clock, self._mark)
        await attempt.open(request)
        return attempt

    def parts(self) -> Iterable[object]:
        return (_owner_of(self._stream),)

    def __repr__(self) -> str:
        return repr(self._stream)


class _Answer(AbstractAsyncContextManager[AsyncIterator[Chunk]], AsyncIterator[Chunk]):
    """One answer on its way to its consumer, who enters, reads and leaves it in one task."""

    __slots__ = ("_attempt", "_begin", "_request")

    def __init__(
        self, begin: Callable[[Request], Awaitable[StreamAttempt]], request: Request
    ) -> None:
        self._begin = begin
        self._request = request
        self._attempt: StreamAttempt | None = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        refuse_unrecorded("a stream is opened")
        self._attempt = await self._begin(self._request)
        return self

    async def __anext__(self) -> Chunk:
        assert self._attempt is not None, "a stream is read inside of its `async with`"
        return await self._attempt.next()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._attempt is not None
        await self._attempt.leave(error)


def _several(
    fallback: StreamingProvider | Sequence[StreamingProvider] | None,
) -> Sequence[StreamingProvider]:
    if fallback is None:
        return ()
    several = [fallback] if callable(fallback) else fallback
    fine = isinstance(several, Sequence) and all(map(callable, several))
    allowed = "a streaming provider, such as model.stream, or several"
    check(fine, _OWNER, "fallback", fallback, allowed)
    return several


def _check(option: str, policy: object, *kinds: type[object]) -> None:
    names = " or ".join(kind.__name__ for kind in kinds)
    fine = policy is None or isinstance(policy, kinds)
    check(fine, _OWNER, option, policy, f"{names}, or None")


def _owner_of(stream: StreamingProvider) -> Any:
    """Answer the object that a method belongs to: what has the life cycle, and the name."""
    return getattr(stream, "__self__", stream)


def _name_of(stream: StreamingProvider) -> str:
    return name_of(_owner_of(stream))
