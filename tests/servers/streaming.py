"""How the servers stream, and how a stream that has begun breaks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tests.servers.chat import Exchange

__all__ = ["Way", "begin", "broken_ways", "drip", "end", "put"]

Way: TypeAlias = "Callable[[Exchange], Awaitable[bool]]"
"""A way to answer; tells whether the connection goes on."""

_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\n{}transfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


async def begin(exchange: Exchange, kind: str = "text/event-stream", headers: str = "") -> None:
    """Send the head of a stream."""
    await exchange.send(_HEAD.format(kind, headers).encode())


async def put(exchange: Exchange, data: bytes) -> None:
    """Send a piece of a stream."""
    await exchange.send(b"%x\r\n%b\r\n" % (len(data), data))


async def drip(exchange: Exchange, data: bytes) -> None:
    """Send *data* one byte at a time."""
    for byte in data:
        await put(exchange, bytes([byte]))


async def end(exchange: Exchange, *pieces: bytes) -> bool:
    """Send the last *pieces* and the end of a stream."""
    for piece in pieces:
        await put(exchange, piece)
    await exchange.send(_END)
    return True


def broken_ways(
    name: str, begun: Callable[[Exchange], Awaitable[None]], half: bytes
) -> dict[str, Way]:
    """
    Answer the ways in which a stream that has *begun* breaks, by their names, which *name* begins.

    It is cut in the middle of an event, of which *half* was sent; it ends too early; or it stalls.
    """

    async def cut(exchange: Exchange) -> bool:
        await begun(exchange)
        await exchange.send(b"ff\r\n" + half)
        return False

    async def no_end(exchange: Exchange) -> bool:
        await begun(exchange)
        return await end(exchange)

    async def stalled(exchange: Exchange) -> bool:
        await begun(exchange)
        await exchange.hang()
        return False

    return {f"{name}-cut": cut, f"{name}-no-end": no_end, f"{name}-stalled": stalled}
