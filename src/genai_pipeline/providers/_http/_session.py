"""`HttpSession`: one POST after the other, over the connections of one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from genai_pipeline.errors import (
    AttemptTimeout,
    ConnectionFailed,
    InvalidAnswer,
    PipelineError,
)
from genai_pipeline.providers._http._body import ACCEPTED, TooLarge, Undecodable, decode

if TYPE_CHECKING:
    import httpx

    from genai_pipeline.providers._endpoint import Target
    from genai_pipeline.providers._http._client import HttpClient
    from genai_pipeline.providers._http._pools import Pool
    from genai_pipeline.providers._http._transports import Backend

__all__ = ["Answer", "HttpSession"]

_CLOSE_SECONDS = 2.0
_MESSAGE_LENGTH = 300
_HEADS = 16


@attrs.frozen
class Answer:
    """What a server answered: any status, the whole body, decompressed."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """By lower-case name."""

    body: bytes = attrs.field(repr=False)


class _Late(Exception):
    """Raised when our own clock ran out; says what for."""


class _Unsent(Exception):
    """Raised when the request could not begin; says why."""


class HttpSession:
    """
    Posts bytes and reads the answers, within limits of time and size.

    Made by entering an `HttpClient`. Redirects are not followed, cookies not kept.
    """

    def __init__(self, backend: Backend, client: HttpClient) -> None:
        self._backend = backend
        self._client = client
        self._heads: dict[Target, tuple[httpx.URL, httpx.Headers]] = {}

    async def post(self, target: Target, body: bytes, *, who: str) -> Answer:
        """
        Send *body* to *target*; *who* begins the message of each error.

        Raises `ConnectionFailed` (its ``sent`` tells whether the server may have got the
        request), `AttemptTimeout` and `InvalidAnswer` (too large). Cancellation passes through
        and costs no more than the connection of this call.
        """
        problem: PipelineError
        known: tuple[type[Exception], ...] = (
            *self._backend.known,
            _Late,
            _Unsent,
            TooLarge,
            Undecodable,
        )
        try:
            return await self._exchange(target, body)
        except known as error:
            problem = self._translated(error, who)
        # Raised out here, without a context: the foreign error holds the headers, and the key.
        raise problem

    async def aclose(self) -> None:
        """Close all connections."""
        await self._backend.pools.aclose()

    async def _exchange(self, target: Target, body: bytes) -> Answer:
        clock = self._client.clock
        deadline = clock.now() + self._client.timeout
        request = self._backend.request(*self._head(target), body)
        pool: Pool | None = None
        response: httpx.Response | None = None
        try:
            with clock.cancel_at(deadline) as scope:
                pool = await self._backend.pools.take()
                response = await self._sent(pool, request)
            if response is None:
                self._ran_out(scope, queued=pool is None)
            assert response is not None
            return await self._read(response, deadline)
        except BaseException:
            if response is not None:
                await _close(response)
            raise
        finally:
            if pool is not None:
                self._backend.pools.give_back(pool)

    def _ran_out(self, scope: anyio.CancelScope, *, queued: bool) -> None:
        """Say which time ran out, when *scope* was left without a response."""
        assert scope.cancelled_caught
        seconds = self._client.timeout
        if queued:
            raise _Unsent(
                f"no connection was free within {seconds:g} s; "
                f"all {self._client.max_connections} (max_connections) were in use"
            )
        raise _Late(f"no answer within {seconds:g} s (timeout)")

    async def _sent(self, pool: Pool, request: httpx.Request) -> httpx.Response:
        try:
            return await pool.transport.handle_async_request(request)
        except self._backend.known as error:
            if type(error).__name__ == "PoolTimeout":
                self._backend.pools.retire(pool)
            raise

    async def _read(self, response: httpx.Response, deadline: float) -> Answer:
        clock, limit = self._client.clock, self._client.max_answer_bytes
        headers = response.headers
        declared = headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > limit:  # noqa: PLR2004
            raise TooLarge
        chunks = bytearray()
        stream: AsyncIterator[bytes] = aiter(response.stream)  # type: ignore[arg-type]
        while True:
            idle = clock.now() + self._client.idle_timeout
            chunk: bytes | None = b""
            with clock.cancel_at(min(deadline, idle)) as scope:
                chunk = await anext(stream, None)
            if scope.cancelled_caught:
                raise _Late(
                    f"the answer was not whole within {self._client.timeout:g} s (timeout)"
                    if deadline < idle
                    else f"the answer stopped for {self._client.idle_timeout:g} s"
                )
            if chunk is None:
                break
            chunks += chunk
            if len(chunks) > limit:
                await _abandon(stream)
                raise TooLarge
        await response.stream.aclose()  # type: ignore[union-attr]
        body = bytes(chunks)
        encodings = headers.get("content-encoding")
        if encodings:
            body = decode(body, encodings, limit=limit)
        return Answer(response.status_code, headers, body)

    def _head(self, target: Target) -> tuple[httpx.URL, httpx.Headers]:
        """Answer *target* as httpx takes it, built once for many requests."""
        head = self._heads.get(target)
        if head is None:
            import httpx  # noqa: PLC0415

            sent = [*target.headers, ("accept-encoding", ACCEPTED)]
            head = httpx.URL(target.url), httpx.Headers(sent)
            while len(self._heads) >= _HEADS:
                self._heads.pop(next(iter(self._heads)))
            self._heads[target] = head
        return head

    def _translated(self, error: BaseException, who: str) -> PipelineError:
        if isinstance(error, TooLarge):
            limit = self._client.max_answer_bytes
            return InvalidAnswer(f"{who}: the answer is larger than {limit} bytes")
        if isinstance(error, Undecodable):
            return ConnectionFailed(f"{who}: {error}", sent=True)
        if isinstance(error, _Late):
            return AttemptTimeout(f"{who}: {error}")
        if isinstance(error, _Unsent):
            return ConnectionFailed(f"{who}: {error}", sent=False)
        cause = _cause_of(error, self._backend.known)
        told = f"{who}: {type(cause).__name__}: {cause}"[:_MESSAGE_LENGTH]
        if isinstance(cause, self._backend.timed_out):
            return AttemptTimeout(told)
        return ConnectionFailed(told, sent=not isinstance(cause, self._backend.unsent))


def _cause_of(error: BaseException, known: tuple[type[Exception], ...]) -> BaseException:
    """Answer what httpx_aiohttp translated into *error*, which tells more; else *error*."""
    cause = error.__cause__
    return cause if cause is not None and isinstance(cause, known[0]) else error


async def _abandon(stream: AsyncIterator[bytes]) -> None:
    """End the generators inside *stream*, innermost first, as a cancellation does."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        while await anext(stream, None) is not None:
            pass  # what was buffered already


async def _close(response: httpx.Response) -> None:
    """Close the connection of an answer nobody reads on, whatever happens."""
    with (
        suppress(Exception),
        anyio.CancelScope(shield=True, deadline=anyio.current_time() + _CLOSE_SECONDS),
    ):
        await response.stream.aclose()  # type: ignore[union-attr]
