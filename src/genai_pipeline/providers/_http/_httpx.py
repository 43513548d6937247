"""The wire on trio: several small httpx pools."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import anyio
import attrs

from genai_pipeline.providers._http._httpx_names import httpx
from genai_pipeline.providers._http._reading import Reading
from genai_pipeline.providers._http._wire import (
    KEEPALIVE,
    OTHER_ERRORS,
    PROXY_REFUSES,
    Errors,
    headers_of,
)

if TYPE_CHECKING:
    from genai_pipeline.providers._http._client import HttpClient
    from genai_pipeline.providers._http._proxy import Proxy
    from genai_pipeline.providers._target import Target

__all__ = ["HttpxWire"]

_POOL_SIZE = 8
_GROW_AT = 2
_POOL_WAIT = 2.0
_POOLS_TRIED = 3


@attrs.define(eq=False)
class _Pool:
    transport: httpx.AsyncBaseTransport
    in_flight: int = 0


class HttpxWire:
    """
    Spreads the requests over pools of 8 connections, so that none ever queues inside one.

    httpx's pool loses the connection of a request that is cancelled while it queues, and looks
    at each of its connections several times for each request, so it must be small. A pool that
    says it is full though we know that it is not is replaced, and the request, of which nothing
    was sent, goes to another.
    """

    known: Errors = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, *OTHER_ERRORS)
    unsent: Errors = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.ProxyError,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
    )

    def __init__(self, client: HttpClient, context: ssl.SSLContext, proxy: Proxy | None) -> None:
        self._context = context
        self._proxy = _proxy_of(proxy, context) if proxy else None
        self._most = -(-client.max_connections // _POOL_SIZE)
        self._pools: list[_Pool] = []
        self._retired: list[_Pool] = []
        self._head = functools.lru_cache(maxsize=16)(_head)
        # The session in front has a clock of its own for all that comes after the connection.
        timeouts = {
            "connect": client.connect_timeout,
            "pool": _POOL_WAIT,
            "read": None,
            "write": None,
        }
        self._extensions = {"timeout": timeouts}

    async def send(self, target: Target, body: bytes, /) -> Reading:
        """Send *body* to *target*, and wait for the head of the answer."""
        url, headers = self._head(target)
        if body or target.method != "GET":
            headers = [*headers, ("content-length", str(len(body)))]
        request = httpx.Request(
            target.method,
            url,
            headers=headers,
            stream=_Body(body),
            extensions=self._extensions,
        )
        for _ in range(_POOLS_TRIED - 1):
            with contextlib.suppress(httpx.PoolTimeout):
                return await self._send_through(self._least_loaded(), request)
        return await self._send_through(self._least_loaded(), request)

    async def _send_through(self, pool: _Pool, request: httpx.Request) -> Reading:
        pool.in_flight += 1
        try:
            response = await pool.transport.handle_async_request(request)
        except BaseException as error:
            pool.in_flight -= 1
            if isinstance(error, httpx.PoolTimeout):
                self._retire(pool)
            raise
        return _reading(response, pool)

    def is_proxy_refusal(self, error: BaseException, /) -> bool:
        """Tell whether the proxy wants other credentials."""
        refusal = str(PROXY_REFUSES)
        return isinstance(error, httpx.ProxyError) and str(error).startswith(refusal)

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools, self._retired = self._pools + self._retired, [], []
        for pool in pools:
            await pool.transport.aclose()

    def _least_loaded(self) -> _Pool:
        least = min(self._pools, key=_load, default=None)
        if least is None or (least.in_flight >= _GROW_AT and len(self._pools) < self._most):
            least = _Pool(self._transport())
            self._pools.append(least)
        return least

    def _transport(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._context,
            trust_env=False,
            proxy=self._proxy,
            limits=httpx.Limits(
                max_connections=_POOL_SIZE,
                max_keepalive_connections=_POOL_SIZE,
                keepalive_expiry=KEEPALIVE,
            ),
        )

    def _retire(self, pool: _Pool) -> None:
        # Closed with the wire: others may still be reading from it.
        if pool in self._pools:
            self._pools.remove(pool)
            self._retired.append(pool)


def _proxy_of(proxy: Proxy, context: ssl.SSLContext) -> httpx.Proxy:
    over_tls = proxy.url.startswith("https:")
    return httpx.Proxy(proxy.url, auth=proxy.credentials, ssl_context=context if over_tls else None)


def _reading(response: httpx.Response, pool: _Pool) -> Reading:
    stream = cast("httpx.AsyncByteStream", response.stream)
    pieces: AsyncIterator[bytes] = aiter(stream)

    async def advance() -> bytes:
        while (piece := await anext(pieces, None)) is not None:
            if piece:
                return piece
        return b""

    async def close() -> None:
        # As a cancellation does, innermost first; closing the outermost generator would leave
        # those inside to the garbage collector, of which trio warns.
        with anyio.CancelScope() as scope:
            scope.cancel()
            while await advance():
                pass  # what was buffered already
        desynchronized = _connection_with_stray_bytes(stream)
        await stream.aclose()
        if desynchronized is not None:
            await desynchronized.aclose()

    def release() -> None:
        pool.in_flight -= 1

    return Reading(
        response.status_code,
        response.headers,
        advance=advance,
        close=close,
        release=release,
    )


def _connection_with_stray_bytes(stream: object) -> Any:
    """
    Answer the connection of *stream* when more than one answer arrived on it.

    h11 would take the rest for the answer to the next request, so the connection must not be
    used again. No public name leads there.
    """
    connection = stream
    for name in ("_httpcore_stream", "_stream", "_connection"):
        connection = getattr(connection, name, None)
    parser = getattr(connection, "_h11_state", None)
    return connection if parser is not None and parser.trailing_data[0] else None


class _Body(httpx.AsyncByteStream):
    """A body in one piece; httpx's own leaves a generator behind when it is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._pieces = iter((body,))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


def _head(target: Target) -> tuple[httpx.URL, list[tuple[str, str]]]:
    url = httpx.URL(target.url)
    host = url.netloc.decode("ascii")
    return url, [("host", host), *headers_of(target)]


def _load(pool: _Pool) -> int:
    return pool.in_flight
