"""`ByteStream`: one request whose answer is read piece by piece, as it comes."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from genai_pipeline.errors import PipelineError
from genai_pipeline.providers._http._body import Undecodable
from genai_pipeline.providers._http._session import Answer, HttpSession, Late, whole_answer
from genai_pipeline.providers._time_left import TimeLeft

if TYPE_CHECKING:
    from genai_pipeline.providers._http._reading import Reading
    from genai_pipeline.providers._target import Target

__all__ = ["ByteStream"]

_DRAIN_SECONDS = 0.5


class ByteStream:
    """
    Sends *body* to *target*, and reads the answer.

    `open` it, `read` it piece by piece or all at once, and `aclose` it, whatever happens. Only
    the time in these counts for the limits, not what passes between them: ``timeout`` for all of
    it, ``idle_timeout`` for each piece. They raise what `HttpSession.send` raises. A cancellation
    anywhere costs no more than the connection, which `aclose` gives back.
    """

    def __init__(self, session: HttpSession, target: Target, body: bytes, *, who: str) -> None:
        self._session = session
        self._target = target
        self._body = body
        self._who = who
        self._time = TimeLeft(session.client.timeout, session.client.clock)
        self._placed = False
        self._reading: Reading | None = None

    @property
    def status(self) -> int:
        """The status of the answer, once it is open."""
        assert self._reading is not None
        return self._reading.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer, by name, in upper or lower case, once it is open."""
        assert self._reading is not None
        return self._reading.headers

    async def open(self) -> None:
        """Send the request, and wait for the head of the answer."""
        await self._timed(self._send, math.inf)

    async def read(self, *, patient: bool) -> bytes:
        """
        Wait for the next piece; none is left when it is empty. It must not be compressed.

        With *patient* only the limit for all counts, for a model that thinks before it speaks.
        """
        reading = self._reading
        assert reading is not None
        if not reading.whole:
            idle = math.inf if patient else self._session.client.idle_timeout
            await self._timed(self._advance, idle)
        return reading.take()

    async def read_all(self) -> Answer:
        """Read the answer to its end, decompressed."""
        reading = self._reading
        assert reading is not None
        while not reading.whole:
            await self._timed(self._advance_packed, self._session.client.idle_timeout)
        problem: PipelineError
        try:
            return whole_answer(reading, self._session.client.max_answer_bytes)
        except self._session.known as error:
            problem = self._session.translated(error, self._who)
        raise problem  # without a context, as from the others

    async def drain(self) -> None:
        """Go on to an end that should have come, for a moment, so that the connection is kept."""
        reading = self._reading
        assert reading is not None
        with suppress(*self._session.known), anyio.move_on_after(_DRAIN_SECONDS):
            while not reading.whole:
                await self._advance()

    async def aclose(self) -> None:
        """Give the connection back, closed unless all was read; bounded, and never raises."""
        try:
            if self._reading is not None:
                reading, self._reading = self._reading, None
                await reading.aclose()
        finally:
            if self._placed:
                self._placed = False
                self._session.free_place()

    async def _send(self) -> None:
        self._session.check(self._target)
        await self._session.take_place()
        self._placed = True
        self._reading = await self._session.wire.send(self._target, self._body)

    async def _advance(self) -> None:
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise Undecodable(f"content-encoding {encoding[:40]!r} was not asked for")
        await self._advance_packed()

    async def _advance_packed(self) -> None:
        assert self._reading is not None
        await self._reading.advance(self._session.client.max_answer_bytes)

    async def _timed(self, step: Callable[[], Awaitable[None]], idle: float) -> None:
        session = self._session
        problem: PipelineError
        try:
            over = await self._time.spend(step, idle=idle)
            if over is None:
                return
            if over == "idle":
                raise Late(f"the answer stopped for {idle:g} s")
            raise session.ran_out(queued=not self._placed)
        except session.known as error:
            problem = session.translated(error, self._who)
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem
