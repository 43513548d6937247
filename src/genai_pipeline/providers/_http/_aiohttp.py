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
            advance=response.content.readany,
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


def _url(url: str) -> yarl.URL:
    """Answer *url* as it is: what signs a request signs every letter of its path."""
    return yarl.URL(url, encoded=url.isascii())


def _headers(carried: Headers, target: Target) -> multidict.CIMultiDict[str]:
    return multidict.CIMultiDict([*headers_of(target), *carried])
