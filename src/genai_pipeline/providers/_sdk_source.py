"""`SdkSource`: a streamed answer through the client object of a vendor's SDK."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any

import anyio

from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import AttemptTimeout, PipelineError
from genai_pipeline.providers._calling import Calling
from genai_pipeline.providers._sdk_errors import answer_in, hidden, meaning_of
from genai_pipeline.providers._sdk_frames import FRAMED, FramedEvents
from genai_pipeline.providers._target import Target
from genai_pipeline.providers._time_left import TimeLeft

__all__ = ["SdkSource"]

_IDLE_SECONDS = 60.0
_DRAIN_SECONDS = 0.5
_CLOSE_SECONDS = 2.0


class SdkSource:
    """
    Reads the response that *begin* opens, as the SDK's own context; see `StreamSource`.

    *secrets* answers what blots out the client's keys, as they are now.
    """

    def __init__(
        self,
        calling: Calling,
        begin: Callable[[bytes], AbstractAsyncContextManager[Any]],
        secrets: Callable[[], Target],
    ) -> None:
        self._calling = calling
        self._begin = begin
        self._secrets = secrets
        self._time = TimeLeft(calling.timeout, calling.clock)
        self._context: AbstractAsyncContextManager[Any] | None = None
        self._answer: Any = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._piece = b""
        self._frames: FramedEvents | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def open(self, body: bytes, /) -> None:
        """Send *body*, and wait for the head of the answer."""
        await self._timed(partial(self._send, body), math.inf)
        kept = self._calling.dialect.failures.kept
        self.status = self._answer.status_code
        headers = kept(self._answer.headers, self._secrets().hide)
        if headers.get("content-type", "").startswith(FRAMED):
            self._frames = FramedEvents(self._calling.who)
            headers["content-type"] = self._calling.dialect.media_type
        self.headers = headers

    async def read(self, *, patient: bool) -> bytes:
        """Wait for the next piece."""
        await self._timed(self._advance, math.inf if patient else _IDLE_SECONDS)
        return self._piece

    async def read_all(self) -> RawAnswer:
        """Read the answer to its end."""
        body = bytearray()
        while piece := await self.read(patient=False):
            body += piece
        return RawAnswer(
            body=self.hide_in(bytes(body)), status=self.status, headers=dict(self.headers)
        )

    def hide_in(self, data: bytes, /) -> bytes:
        """Blot out the client's keys."""
        return self._secrets().hide_in(data)

    async def drain(self) -> None:
        """Go on to the end, for a moment."""
        with suppress(Exception), anyio.move_on_after(_DRAIN_SECONDS):
            while self._pieces is not None and await anext(self._pieces, None) is not None:
                pass

    async def aclose(self) -> None:
        """Close the SDK's response."""
        pieces, context, self._pieces, self._context = self._pieces, self._context, None, None
        with (
            suppress(Exception),
            anyio.CancelScope(shield=True, deadline=anyio.current_time() + _CLOSE_SECONDS),
        ):
            try:
                await _leave(pieces)
            finally:
                if context is not None:
                    await context.__aexit__(None, None, None)

    async def _send(self, body: bytes) -> None:
        try:
            context = self._begin(body)
            self._answer = await context.__aenter__()
        except Exception as error:
            self._answer = answer_in(error)
            if self._answer is None:
                raise
            self._pieces = _once(self._answer.content)
            return
        self._context = context
        self._pieces = aiter(self._answer.iter_bytes())

    async def _advance(self) -> None:
        assert self._pieces is not None
        self._piece = b""
        while not self._piece:
            piece = await anext(self._pieces, None)
            if self._frames is not None:
                self._piece = self._frames.feed(piece or b"")
            elif piece is not None:
                self._piece = piece
            if piece is None:
                return

    async def _timed(self, step: Callable[[], Awaitable[None]], idle: float) -> None:
        who = self._calling.who
        problem: PipelineError
        try:
            over = await self._time.spend(step, idle=idle)
            if over is None:
                return
            late = f"the answer stopped for {idle:g} s"
            if over == "all":
                late = f"no whole answer in {self._calling.timeout:g} s"
            problem = AttemptTimeout(f"{who}: {late}")
        except Exception as error:  # noqa: BLE001 - of any SDK, and whatever it stands on
            problem = hidden(meaning_of(error, who), self._secrets().hide)
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _leave(pieces: AsyncIterator[bytes] | None) -> None:
    """
    Leave *pieces* as a cancellation does, innermost first.

    Closing the outermost generator would leave those inside to the garbage collector, of which
    trio warns.
    """
    with anyio.CancelScope() as scope:
        scope.cancel()
        while pieces is not None and await anext(pieces, None) is not None:
            pass  # what was buffered already
