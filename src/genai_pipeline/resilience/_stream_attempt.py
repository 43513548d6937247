"""One attempt at a streamed answer, from before it is made to its end."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import attrs

from genai_pipeline._streaming import cause_of, interruption
from genai_pipeline.clock import Clock
from genai_pipeline.errors import AttemptTimeout, DeadlineExceeded, StreamInterrupted
from genai_pipeline.messages import Chunk, Request, Response, Usage
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.resilience._stream_holds import Holds, Limits
from genai_pipeline.resilience._stream_timeout import StreamTimeout
from genai_pipeline.types import StreamingProvider

__all__ = ["StreamAttempt"]

_CLOSE_SECONDS = 5.0
_LOG = logging.getLogger("genai_pipeline")


class StreamAttempt:
    """
    A stream with what it holds. It is closed, and settles what it holds, exactly once.

    `open` ends with the first chunk in hand, so that until then it is a call like any other,
    which may be tried again; `next` gives the chunks; `leave` ends it before its end.
    """

    def __init__(
        self,
        stream: StreamingProvider,
        limits: Limits,
        timeout: StreamTimeout | None,
        clock: Clock,
        mark: str | None,
    ) -> None:
        self._stream = stream
        self._holds = Holds(limits)
        self._first_limit = math.inf if timeout is None else timeout.first_chunk
        self._next_limit = math.inf if timeout is None else timeout.between_chunks
        self._total = math.inf if timeout is None else timeout.total
        self._clock = clock
        self._mark = mark  # the name of the fallback that answers here, if it is one
        self._manager: AbstractAsyncContextManager[AsyncIterator[Chunk]] | None = None
        self._chunks: AsyncIterator[Chunk]
        self._first: Chunk | None
        self._text: list[str] = []
        self._usage: Usage | None = None
        self._waited = 0.0
        self._is_over = False
        self._is_whole = False

    async def open(self, request: Request) -> None:
        """Take what is needed, send *request*, and wait for the first chunk."""
        await self._holds.take(request)
        self._began = self._clock.now()
        try:
            self._first = await self._within(self._first_limit, request)
            self._holds.begun()
            await self._note(self._first)
        except Exception as error:
            await self._fail(error)
            raise
        except BaseException as error:
            await self._drop(error, None)
            raise

    async def next(self) -> Chunk:
        """Answer the next chunk; raise `StopAsyncIteration` after the last."""
        if self._first is not None:
            chunk, self._first = self._first, None
            return self._marked(chunk)
        if self._is_whole:
            raise StopAsyncIteration
        if self._is_over:
            raise self._broken_off("the stream is closed")
        try:
            chunk = await self._within(self._next_limit)
            await self._note(chunk)
        except Exception as error:  # noqa: BLE001 - raised as what it means here
            raise await self._interrupted_by(error)  # noqa: B904 - it has its cause
        except BaseException as error:
            await self._drop(error, self._partial())
            raise
        return self._marked(chunk)

    async def leave(self, error: BaseException | None) -> None:
        """End it, unless it is over; *error* is what its consumer raised, if anything."""
        await self._drop(error, self._partial())

    async def _within(self, seconds: float, request: Request | None = None) -> Chunk:
        """Answer the next chunk, if it comes in time; open the stream first for *request*."""
        clock = self._clock
        began, deadline = clock.now(), binding_deadline()
        left = self._total - self._waited
        if deadline <= began:
            raise DeadlineExceeded("the caller's deadline passed before the next chunk")
        until = began + min(seconds, left)
        chunks: list[Chunk] = []
        try:
            with clock.cancel_at(min(until, deadline)):
                if request is not None:
                    manager = self._stream(request)
                    self._chunks = await manager.__aenter__()
                    self._manager = manager
                chunks.append(await self._advance())
        finally:
            self._waited += clock.now() - began
        if chunks:
            return chunks[0]
        if deadline <= until:
            raise DeadlineExceeded("the caller's deadline passed before the next chunk")
        if left < seconds:
            raise AttemptTimeout(f"the answer took longer than {self._total:g} s (total)")
        what = "the first chunk" if request is not None else "the next chunk"
        raise AttemptTimeout(f"{what} took longer than {seconds:g} s")

    async def _advance(self) -> Chunk:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise self._broken_off("the stream ended without a finish reason") from None

    def _broken_off(self, what: str) -> StreamInterrupted:
        return StreamInterrupted(what, partial=self._partial(), usage=self._usage)

    async def _note(self, chunk: Chunk) -> None:
        """Take in what *chunk* tells; the last one ends the stream."""
        self._text.append(chunk.text)
        self._usage = chunk.usage or self._usage
        if chunk.finish_reason is None:
            return
        self._is_over = self._is_whole = True
        response = Response(
            "",
            usage=self._usage or Usage(),
            finish_reason=chunk.finish_reason,
            attributes=chunk.attributes,
        )
        try:
            await self._close(None)
        finally:
            await self._holds.answered(response, paused=self._paused())

    async def _interrupted_by(self, error: Exception) -> Exception:
        """End because of *error*; answer what to raise."""
        await self._fail(error)
        return interruption(error, partial=self._partial(), usage=self._usage)

    async def _fail(self, error: Exception) -> None:
        self._is_over = True
        try:
            await self._close(error)
        finally:
            cause = cause_of(error)
            assert isinstance(cause, Exception)
            await self._holds.failed(cause, paused=self._paused())

    async def _drop(self, error: BaseException | None, text: str | None) -> None:
        self._is_over = True
        try:
            await self._close(error)
        finally:
            await self._holds.left(text)

    async def _close(self, error: BaseException | None) -> None:
        """Leave the provider's stream, for which it has a while; its end is decided already."""
        manager, self._manager = self._manager, None
        if manager is None:
            return
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            trace = None if error is None else error.__traceback__
            try:
                await manager.__aexit__(None if error is None else type(error), error, trace)
            except Exception as raised:  # noqa: BLE001 - it says nothing of the answer
                if raised is not error:
                    _LOG.exception("closing a stream failed")

    def _paused(self) -> float:
        return self._clock.now() - self._began - self._waited

    def _marked(self, chunk: Chunk) -> Chunk:
        if self._mark is None or chunk.finish_reason is None:
            return chunk
        return attrs.evolve(chunk, attributes={**chunk.attributes, "fallback": self._mark})

    def _partial(self) -> str:
        return "".join(self._text)
