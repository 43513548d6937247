"""
A Chat Completions server of a few hundred lines, over real sockets, that can misbehave.

The first segment of the path names how it answers: ``http://127.0.0.1:PORT/ok/v1`` is a base
URL that works, ``/reset/v1`` one that resets the connection in the middle of the body.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Self, cast

import anyio
import anyio.abc
import anyio.from_thread
import attrs
from anyio.streams.tls import TLSListener

from tests.servers.chat_streams import STREAMS
from tests.servers.responses import RESPONSES

__all__ = ["ChatServer", "Closing", "Exchange", "completion", "http"]


def completion(text: str | None = "hello", **more: Any) -> dict[str, Any]:
    """Answer a completion document that says *text*; *more* replaces its parts."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": text, "refusal": None},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    } | more


def http(
    body: bytes | dict[str, Any],
    *,
    status: str = "200 OK",
    kind: str = "application/json",
    headers: str = "",
    length: int | None = None,
) -> bytes:
    """Answer a whole HTTP response; *length* lies about its length."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    size = len(data) if length is None else length
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{headers}content-length: {size}\r\n\r\n"
    return head.encode() + data


class Closing(bytes):
    """What the server sends before it hangs up."""

    __slots__ = ()


@attrs.define
class Exchange:
    """One request, and the means to answer it."""

    server: ChatServer
    stream: anyio.abc.SocketStream | Any
    target: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        """The body of the request."""
        return json.loads(self.body)

    async def send(self, data: bytes) -> None:
        """Write *data*."""
        await self.stream.send(data)

    async def send_json(self, document: dict[str, Any], headers: str = "") -> None:
        """Answer *document*, with success."""
        await self.send(http(document, headers=headers))

    async def hang(self) -> None:
        """Do nothing until the client hangs up."""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await self.stream.receive()
        self.server.hung_up += 1

    async def reset(self) -> None:
        """Break the connection, without a goodbye."""
        raw = self.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _ok(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, if that is wanted."""
    request = exchange.json
    if request.get("stream"):
        return await STREAMS["stream"](exchange)
    wanted = request.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "label" in wanted.get("properties", {}):
        text = json.dumps({"label": wanted["properties"]["label"]["enum"][-1]})
    else:
        text = f"you said: {request['messages'][-1]['content']}"
    await exchange.send(http(completion(text), headers="x-request-id: req-1\r\n"))
    return True


async def _hang(exchange: Exchange) -> bool:
    await exchange.hang()
    return False


async def _together(exchange: Exchange) -> bool:
    """Answer once as many requests wait as the target's ``?n=`` says: proof of free places."""
    await exchange.server.meet(int(exchange.target.split("/")[1].rpartition("-")[2]))
    return await _ok(exchange)


async def _reset_in_body(exchange: Exchange) -> bool:
    whole = http(completion())
    await exchange.send(whole[: len(whole) - 20])
    await exchange.reset()
    return False


async def _reset_before_head(exchange: Exchange) -> bool:
    await exchange.reset()
    return False


async def _close_before_head(_: Exchange) -> bool:
    return False


async def _truncated(exchange: Exchange) -> bool:
    whole = http(completion())
    await exchange.send(whole[: len(whole) - 20])
    return False


async def _too_long(exchange: Exchange) -> bool:
    """Send a second answer behind the first, which nobody asked for."""
    await exchange.send(http(completion("first")) + http(completion("stray")))
    return True


async def _chunked(exchange: Exchange) -> bool:
    data = json.dumps(completion("in chunks")).encode()
    await exchange.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for start in range(0, len(data), 50):
        piece = data[start : start + 50]
        await exchange.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    await exchange.send(b"0\r\n\r\n")
    return True


async def _bad_chunks(exchange: Exchange) -> bool:
    await exchange.send(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz not a size\r\nrubbish"
    )
    return False


async def _cut_chunks(exchange: Exchange) -> bool:
    await exchange.send(b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id"\r\n')
    return False


async def _no_http(exchange: Exchange) -> bool:
    await exchange.send(b"220 mail.example ESMTP\r\n")
    return False


async def _drip(exchange: Exchange) -> bool:
    """Begin an answer, and never go on."""
    await exchange.send(http(completion())[:-40])
    await exchange.hang()
    return False


async def _endless(exchange: Exchange) -> bool:
    """Send a body without an end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await exchange.send(b" " * 65536)
    return False


_BOMB = gzip.compress(b" " * (64 * 2**20))
_WHOLE = json.dumps(completion("small")).encode()

_FIXED: dict[str, bytes] = {
    "gzip": http(gzip.compress(_WHOLE), headers="content-encoding: gzip\r\n"),
    "deflate": http(zlib.compress(_WHOLE), headers="content-encoding: deflate\r\n"),
    "bomb": http(_BOMB, headers="content-encoding: gzip\r\n"),
    "broken-gzip": http(b"no gzip at all", headers="content-encoding: gzip\r\n"),
    "cut-gzip": http(gzip.compress(_WHOLE)[:-9], headers="content-encoding: gzip\r\n"),
    "brotli": http(_WHOLE, headers="content-encoding: br\r\n"),
    "large": http(b" " * 5000),
    "html": http(b"<html><body>Please log in</body></html>", kind="text/html"),
    "empty": http(b""),
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "redirect": http(b"", status="308 Moved", headers="location: https://else.example/v1\r\n"),
    "429": http(
        {"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}},
        status="429 Too Many Requests",
        headers="retry-after: 7\r\nx-request-id: req-429\r\n",
    ),
    "500": http(
        {"error": {"message": "oops", "type": "server_error"}}, status="500 Internal Server Error"
    ),
    "401": http(
        {"error": {"message": "bad key", "code": "invalid_api_key"}}, status="401 Unauthorized"
    ),
    "limits": http(
        completion(),
        headers="X-RateLimit-Remaining-Requests: 59\r\nx-ratelimit-reset-tokens: 1m2.5s\r\n",
    ),
}

_MOVING: dict[str, Callable[[Exchange], Awaitable[bool]]] = {
    "ok": _ok,
    "hang": _hang,
    "reset": _reset_in_body,
    "reset-early": _reset_before_head,
    "close-early": _close_before_head,
    "truncated": _truncated,
    "too-long": _too_long,
    "chunked": _chunked,
    "bad-chunks": _bad_chunks,
    "cut-chunks": _cut_chunks,
    "no-http": _no_http,
    "drip": _drip,
    "endless": _endless,
}


class ChatServer:
    """The server, in a thread with an event loop of its own; ``with ChatServer() as server:``."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Exchange] = []
        self.connections = 0
        self.hung_up = 0
        """How often a client hung up on an answer that hung."""

        self.port = 0
        self.answers: dict[str, Callable[[Exchange], bytes]] = {}
        """Answers of a test's own, by the first segment of the path."""

        self.ways: Mapping[str, Callable[[Exchange], Awaitable[bool]]] = {}
        """Further ways to answer, which go before those that every server here has."""

        self._tls = tls
        self._waiting: list[anyio.Event] = []
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=partial(anyio.run, self._main))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join(30)

    def url(self, way: str) -> str:
        """Answer the base URL where the server answers in this *way*."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/{way}/v1"

    async def meet(self, count: int) -> None:
        """Wait until *count* callers wait here."""
        event = anyio.Event()
        self._waiting.append(event)
        if len(self._waiting) >= count:
            for each in self._waiting:
                each.set()
            self._waiting.clear()
        await event.wait()

    async def _main(self) -> None:
        listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1000)
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        if self._tls is not None:
            listener = TLSListener(listener, self._tls, standard_compatible=False)
        async with listener, anyio.create_task_group() as group:
            token = anyio.lowlevel.current_token()
            cancel = partial(anyio.from_thread.run_sync, group.cancel_scope.cancel, token=token)
            self._stop = cast("Callable[[], None]", cancel)
            group.start_soon(listener.serve, self._serve)
            self._ready.set()

    async def _serve(self, stream: Any) -> None:
        self.connections += 1
        async with stream:
            with suppress(
                anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError
            ):
                while await self._exchange(stream):
                    pass

    async def _exchange(self, stream: Any) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        while len(body) < int(headers.get("content-length", 0)):
            body += await stream.receive()
        method, target = first.split(" ")[:2]
        path = target.partition("//")[2].partition("/")[2] if "//" in target else target[1:]
        exchange = Exchange(self, stream, target, headers, body, method)
        self.seen.append(exchange)
        way = path.split("/")[0]
        if way in self.answers:
            answer = self.answers[way](exchange)
            await exchange.send(answer)
            return not isinstance(answer, Closing)
        if way in self.ways:
            return await self.ways[way](exchange)
        if way in _FIXED:
            await exchange.send(_FIXED[way])
            return True
        if way.startswith("together-"):
            return await _together(exchange)
        return await (STREAMS.get(way) or RESPONSES.get(way) or _MOVING[way])(exchange)
