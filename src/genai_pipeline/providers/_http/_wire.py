"""`Wire`: how requests travel on one event loop, and what its errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import anyio

from genai_pipeline.providers._http._body import ACCEPTED

if TYPE_CHECKING:
    import ssl

    from genai_pipeline.providers._http._client import HttpClient
    from genai_pipeline.providers._http._proxy import Proxy
    from genai_pipeline.providers._http._reading import Reading
    from genai_pipeline.providers._target import Target

__all__ = [
    "KEEPALIVE",
    "OTHER_ERRORS",
    "PROXY_REFUSES",
    "Errors",
    "Wire",
    "headers_of",
    "open_wire",
]

Errors: TypeAlias = tuple[type[Exception], ...]

KEEPALIVE = 4.0
"""
Seconds to keep an idle connection.

Below the five after which the impatient servers hang up: a request on its way to a closing
connection is one that may have been billed.
"""

PROXY_REFUSES = 407
"""The status of a proxy that wants credentials."""

OTHER_ERRORS: Errors = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)


class Wire(Protocol):
    """Connections of one event loop. The session in front sends no more than they can carry."""

    known: Errors
    """What it raises when an exchange fails."""

    unsent: Errors
    """Those that mean that no byte of the request left."""

    def is_proxy_refusal(self, error: BaseException, /) -> bool:
        """Tell whether *error* says that the proxy wants other credentials, or any."""
        ...

    async def send(self, target: Target, body: bytes, /) -> Reading:
        """Send *body* to *target*, and wait for the head of the answer."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


def headers_of(target: Target) -> list[tuple[str, str]]:
    """Answer the headers to send to *target*, which may say itself what compressions it takes."""
    says = any(name == "accept-encoding" for name, _ in target.headers)
    return [*target.headers, *(() if says else (("accept-encoding", ACCEPTED),))]


def open_wire(client: HttpClient, trusted: ssl.SSLContext, proxy: Proxy | None) -> Wire:
    """Answer aiohttp's connections on asyncio, httpx's on trio; imports them on first use."""
    if _on_asyncio():
        from genai_pipeline.providers._http._aiohttp import AiohttpWire  # noqa: PLC0415

        return AiohttpWire(client, trusted, proxy)
    from genai_pipeline.providers._http._httpx import HttpxWire  # noqa: PLC0415

    return HttpxWire(client, trusted, proxy)


def _on_asyncio() -> bool:
    import asyncio  # noqa: PLC0415 - slow to import, for whoever only builds a provider

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
