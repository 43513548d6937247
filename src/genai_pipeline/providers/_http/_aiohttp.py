"""The wire on asyncio: aiohttp's connector, which is quick and loses nothing to cancellation."""

from __future__ import annotations

import functools
import io
import ssl
from typing import TYPE_CHECKING

import aiohttp
import multidict
import yarl

from genai_pipeline.providers._http._reading import Reading
from genai_pipeline.providers._http._wire import (
    KEEPALIVE,
    OTHER_ERRORS,
    PROXY_REFUSES,
    Errors,
    headers_of,
)

if TYPE_CHECKING:
    import asyncio

    from genai_pipeline.providers._http._client import HttpClient
    from genai_pipeline.providers._http._proxy import Proxy
    from genai_pipeline.providers._target import Headers, Target

__all__ = ["AiohttpWire"]

_LARGE = 2**20  # aiohttp warns of larger bytes, and would send them in one piece


class AiohttpWire:
    """One connector for all."""

    known: Errors = (aiohttp.ClientError, *OTHER_ERRORS)
    unsent: Errors = (
        aiohttp.ClientConnectorError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
    )

    def __init__(self, client: HttpClient, context: ssl.SSLContext, proxy: Proxy | None) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=client.max_connections, ssl=context, keepalive_timeout=KEEPALIVE
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            proxy=proxy.url if proxy else None,
            # The session in front has a clock of its own for all that comes after.
            timeout=aiohttp.ClientTimeout(connect=client.connect_timeout),
            trust_env=False,
        )
        carried = proxy.headers if proxy else ()
        # Inside a tunnel they would reach the server; without one the proxy reads our own head.
        self._to_proxy = dict(carried) if client.origin[0] == "https" else None
        in_head = () if self._to_proxy is not None else carried
        self._headers = functools.lru_cache(maxsize=16)(functools.partial(_headers, in_head))
        self._url = functools.lru_cache(maxsize=16)(_url)

    async def send(self, target: Target, body: bytes, /) -> Reading:
        """Send *body* to *target*, and wait for the head of the answer."""
        response = await self._session.request(
            target.method,
            self._url(target.url),
            data=(body if len(body) <= _LARGE else io.BytesIO(body)) or None,
            headers=self._headers(target),
            proxy_headers=self._to_proxy,
            allow_redirects=False,
        )
        return Reading(
            response.status,
            response.headers,
            advance=functools.partial(_advance, response),
            close=functools.partial(_close, response),
            frees_itself=True,
        )

    def is_proxy_refusal(self, error: BaseException, /) -> bool:
        """Tell whether the proxy wants other credentials."""
        return isinstance(error, aiohttp.ClientHttpProxyError) and error.status == PROXY_REFUSES

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _close(response: aiohttp.ClientResponse) -> None:
    response.close()


async def _advance(response: aiohttp.ClientResponse) -> bytes:
    """
    Answer the next piece of the body.

    When chunks behind the first piece are broken, aiohttp closes the connection, and leaves the
    reader waiting for ever; so who waits is told by the end of the connection.
    """
    content, connection = response.content, response.connection
    piece = content.read_nowait()
    if piece or content.is_eof():
        return piece
    protocol = None if connection is None else connection.protocol
    closed = None if protocol is None else protocol.closed
    if closed is None:
        _tell(content)
        return await content.readany()
    tell = functools.partial(_tell, content)
    closed.remove_done_callback(_seen)
    closed.add_done_callback(_seen)
    closed.add_done_callback(tell)
    try:
        return await content.readany()
    finally:
        closed.remove_done_callback(tell)


def _tell(content: aiohttp.StreamReader, _: object = None) -> None:
    """Tell whoever reads *content* that no more will come, unless it is known."""
    if not content.is_eof() and content.exception() is None:
        content.set_exception(aiohttp.ClientPayloadError("the body is broken"))


def _seen(closed: asyncio.Future[None]) -> None:
    """Look at how a connection ended, or asyncio complains that nobody did."""
    if not closed.cancelled():
        closed.exception()


def _url(url: str) -> yarl.URL:
    """Answer *url* as it is: what signs a request signs every letter of its path."""
    return yarl.URL(url, encoded=url.isascii())


def _headers(carried: Headers, target: Target) -> multidict.CIMultiDict[str]:
    return multidict.CIMultiDict([*headers_of(target), *carried])
