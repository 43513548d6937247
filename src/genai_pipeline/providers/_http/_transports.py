"""Which transport carries the calls: aiohttp on asyncio, small httpx pools on trio."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import anyio
import attrs
import httpx

from genai_pipeline.providers._http._pools import Pools

if TYPE_CHECKING:
    from genai_pipeline.providers._http._client import HttpClient

__all__ = ["Backend", "open_backend"]

Errors: TypeAlias = tuple[type[Exception], ...]

# Below the five seconds after which the impatient servers hang up on an idle connection: a
# request on its way to a closing connection is one that may have been billed.
_KEEPALIVE = 4.0
_POOL_WAIT = 10.0
_SHARD = 32

_HTTPX_ERRORS: Errors = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
_OTHER_ERRORS: Errors = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


@attrs.frozen(kw_only=True)
class Backend:
    """One way to carry requests, and what its errors mean."""

    pools: Pools
    light: bool
    """Whether the transport writes the framing headers (``host``, ``content-length``) itself."""

    timeouts: Mapping[str, float | None]
    known: Errors
    """What it raises when an exchange fails."""

    unsent: Errors
    """Those that mean that no byte of the request left."""

    timed_out: Errors

    def request(self, url: httpx.URL, headers: httpx.Headers, body: bytes) -> httpx.Request:
        """Answer a POST of *body*."""
        extensions: dict[str, object] = {"timeout": self.timeouts}
        if self.light:
            return _Post(url, headers, body, extensions)
        return httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)


class _Post(httpx.Request):
    """A request that shares its URL and headers with others; building one costs next to nothing."""

    def __init__(
        self, url: httpx.URL, headers: httpx.Headers, body: bytes, extensions: dict[str, object]
    ) -> None:
        self.method = "POST"
        self.url = url
        self.headers = headers
        self.extensions = extensions
        self._body = body

    @property
    def content(self) -> bytes:
        return self._body


def open_backend(client: HttpClient) -> Backend:
    """Answer the way to carry requests on the event loop that runs."""
    context = client.ssl_context or _public_authorities()
    proxy = None if client.proxy is None else httpx.Proxy(client.proxy)
    timeouts = {
        "connect": client.connect_timeout,
        "pool": max(_POOL_WAIT, client.connect_timeout),
        "read": None,  # the session's own clock bounds these
        "write": None,
    }
    if _on_asyncio():
        return _aiohttp(client.max_connections, context, proxy, timeouts)
    return _httpx(client.max_connections, context, proxy, timeouts)


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _httpx(
    connections: int,
    context: ssl.SSLContext,
    proxy: httpx.Proxy | None,
    timeouts: Mapping[str, float | None],
) -> Backend:
    limits = httpx.Limits(
        max_connections=_SHARD, max_keepalive_connections=_SHARD, keepalive_expiry=_KEEPALIVE
    )

    def make() -> httpx.AsyncBaseTransport:
        return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits, proxy=proxy)

    return Backend(
        pools=Pools(make, total=connections, size=_SHARD),
        light=False,
        timeouts=timeouts,
        known=_HTTPX_ERRORS + _OTHER_ERRORS,
        unsent=(
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
        ),
        timed_out=(httpx.ReadTimeout, httpx.WriteTimeout),
    )


def _aiohttp(
    connections: int,
    context: ssl.SSLContext,
    proxy: httpx.Proxy | None,
    timeouts: Mapping[str, float | None],
) -> Backend:
    # Imported here: on trio nobody needs it.
    import aiohttp  # noqa: PLC0415
    import httpx_aiohttp  # noqa: PLC0415

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=connections, ssl=context, keepalive_timeout=_KEEPALIVE
        )
        return aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    def make() -> httpx.AsyncBaseTransport:
        return httpx_aiohttp.AiohttpTransport(
            verify=context, trust_env=False, proxy=proxy, client=session
        )

    return Backend(
        pools=Pools(make, total=connections, size=connections),
        light=True,
        timeouts=timeouts,
        known=(aiohttp.ClientError, *_HTTPX_ERRORS, *_OTHER_ERRORS),
        # httpx_aiohttp's own words tell less than what it translates: see `cause_of`.
        unsent=(
            aiohttp.ClientConnectorError,
            aiohttp.ClientHttpProxyError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
        ),
        timed_out=(aiohttp.SocketTimeoutError,),
    )
