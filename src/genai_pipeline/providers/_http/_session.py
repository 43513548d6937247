"""`HttpSession`: one request after the other, over the connections of one event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import anyio
import attrs

from genai_pipeline.errors import (
    AttemptTimeout,
    AuthenticationFailed,
    BulkheadFull,
    ConfigurationError,
    ConnectionFailed,
    InvalidAnswer,
    PipelineError,
)
from genai_pipeline.providers._http._body import TooLarge, Undecodable, decode
from genai_pipeline.providers._http._reading import Reading

if TYPE_CHECKING:
    from genai_pipeline.providers._http._client import HttpClient
    from genai_pipeline.providers._http._wire import Errors, Wire
    from genai_pipeline.providers._target import Target

__all__ = ["Answer", "HttpSession", "Late", "whole_answer"]

_MESSAGE_LENGTH = 300


@attrs.frozen
class Answer:
    """What a server answered: any status, the whole body, decompressed."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """By name, in upper or lower case."""

    body: bytes = attrs.field(repr=False)


class Late(Exception):
    """Raised when our own clock ran out; says what for."""


class Unsent(Exception):
    """Raised when the request could not begin; says why."""


class _Unlimited:
    """Stands for the scope of an exchange that its caller cuts off in time."""

    cancelled_caught: ClassVar[bool] = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


_UNLIMITED = _Unlimited()


class HttpSession:
    """
    Sends requests and reads the answers, within limits of time and size.

    Made by entering an `HttpClient`. Requests go to its server alone; redirects are not followed,
    cookies not kept.
    """

    def __init__(self, wire: Wire, client: HttpClient) -> None:
        self.wire = wire
        self.client = client
        self.known: Errors = (*wire.known, Late, Unsent, TooLarge, Undecodable)
        """What an exchange may raise that `translated` knows the meaning of."""

        # In front of the wire's own queue, where a request that is cancelled may do harm.
        self._places = anyio.Semaphore(client.max_connections, fast_acquire=True)

    async def send(self, target: Target, body: bytes, *, who: str, timed: bool = True) -> Answer:
        """
        Send *body* to *target*; *who* begins the message of each error.

        Whoever cuts it off within ``timeout`` may have it not *timed*: a timer that would only
        ring later is a twentieth of what a call costs.

        Raises `ConnectionFailed` (its ``sent`` tells whether the server may have got the
        request), `AttemptTimeout`, `InvalidAnswer` (too large) and `BulkheadFull` (no connection
        was free in time, of which the server knows nothing); `ConfigurationError` when *target* is
        at another server; `AuthenticationFailed` when the proxy refuses us. Cancellation passes
        through and costs no more than the connection of this call.
        """
        self.check(target)
        problem: PipelineError
        try:
            return await self._exchange(target, body, timed=timed)
        except self.known as error:
            problem = self.translated(error, who)
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem

    def check(self, target: Target) -> None:
        """Raise `ConfigurationError` unless *target* is at the client's own server."""
        if target.origin != self.client.origin:
            scheme, host, port = target.origin
            raise ConfigurationError(
                f"base_url={self.client.base_url!r}: a request to {scheme}://{host}:{port} would "
                "send the key to another server; give that server a provider of its own"
            )

    async def aclose(self) -> None:
        """Close all connections."""
        await self.wire.aclose()

    async def _exchange(self, target: Target, body: bytes, *, timed: bool) -> Answer:
        clock, limit = self.client.clock, self.client.max_answer_bytes
        deadline = clock.now() + self.client.timeout
        reading: Reading | None = None
        placed = False
        try:
            # The first piece of the answer comes with its head as a rule: one scope for both.
            with clock.cancel_at(deadline) if timed else _UNLIMITED as scope:
                if not self._took_free_place():
                    await self._places.acquire()
                placed = True
                reading = await self.wire.send(target, body)
                await reading.advance(limit)
            if scope.cancelled_caught:
                raise self.ran_out(queued=not placed)
            assert reading is not None
            if not reading.whole:
                await self._read_on(reading, deadline)
            return whole_answer(reading, limit)
        finally:
            if reading is not None and not reading.is_over:
                await reading.aclose()
            if placed:
                self.free_place()

    async def take_place(self) -> None:
        """Wait until there may be one more exchange, which `free_place` ends."""
        if not self._took_free_place():
            await self._places.acquire()

    def _took_free_place(self) -> bool:
        """Take a place if one is free, at a third of what waiting for it costs; tell whether."""
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True

    def free_place(self) -> None:
        """End an exchange."""
        self._places.release()

    def ran_out(self, *, queued: bool) -> Exception:
        """Answer what to raise when the time for a whole exchange is over."""
        seconds = self.client.timeout
        if not queued:
            return Late(f"no whole answer within {seconds:g} s (timeout)")
        return Unsent(
            f"no connection was free within {seconds:g} s; "
            f"all {self.client.max_connections} (max_connections) were in use"
        )

    async def _read_on(self, reading: Reading, deadline: float) -> None:
        clock, seconds = self.client.clock, self.client.idle_timeout
        while not reading.whole:
            idle = clock.now() + seconds
            with clock.cancel_at(min(deadline, idle)) as scope:
                await reading.advance(self.client.max_answer_bytes)
            if scope.cancelled_caught and deadline < idle:
                raise self.ran_out(queued=False)
            if scope.cancelled_caught:
                raise Late(f"the answer stopped for {seconds:g} s")

    def translated(self, error: BaseException, who: str) -> PipelineError:
        """Answer which of our errors an error that is `known` means; *who* begins its message."""
        if isinstance(error, TooLarge):
            limit = self.client.max_answer_bytes
            return InvalidAnswer(f"{who}: the answer is larger than {limit} bytes")
        if isinstance(error, Undecodable):
            return ConnectionFailed(f"{who}: {error}", sent=True)
        if isinstance(error, Late):
            return AttemptTimeout(f"{who}: {error}")
        if isinstance(error, Unsent):
            return BulkheadFull(f"{who}: {error}")
        if self.wire.is_proxy_refusal(error):
            return AuthenticationFailed(
                f"{who}: 407, the proxy takes no such credentials; "
                "give proxy='http://user:password@host:port'"
            )
        told = f"{who}: {type(error).__name__}: {error}"[:_MESSAGE_LENGTH]
        return ConnectionFailed(told, sent=not isinstance(error, self.wire.unsent))


def whole_answer(reading: Reading, limit: int) -> Answer:
    """Answer what was read, without its compression; raise `TooLarge` or `Undecodable`."""
    body = bytes(reading.body)
    encodings = reading.headers.get("content-encoding")
    if encodings:
        body = decode(body, encodings, limit=limit)
    return Answer(reading.status, reading.headers, body)
