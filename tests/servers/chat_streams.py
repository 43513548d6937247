"""Ways in which the chat server streams its answers, well and badly."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from tests.servers.streaming import Way, begin, broken_ways, drip, end, put

if TYPE_CHECKING:
    from tests.servers.chat import Exchange

__all__ = ["STREAMS", "USAGE", "WORDS", "chunk", "event"]

WORDS = ("you said:", " one\u2028line", " \u00e9t\u00e9\x85", " \U0001f40d", " end")
"""Text with what some take for line ends, and characters of two to four bytes."""

ENDS = ("\r\n", "\r", "\n", "\r\n", "\r")
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_DONE = b"data: [DONE]\n\n"


def chunk(text: str | None = None, **more: Any) -> dict[str, Any]:
    """Answer a chunk document that brings *text*; *more* replaces its parts."""
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "served-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        "usage": None,
    } | more


def event(document: dict[str, Any], end: str = "\n") -> bytes:
    """Answer *document* as an event whose lines end so."""
    return f"data: {json.dumps(document, ensure_ascii=False)}{end}{end}".encode()


FIRST = event(chunk("", choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}]))
FINISH = event(chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]))
LAST = event(chunk(choices=[], usage=USAGE))


async def _words(exchange: Exchange, *words: str) -> None:
    await put(exchange, FIRST)
    for word in words:
        await put(exchange, event(chunk(word)))


async def _stream(exchange: Exchange) -> bool:
    """Say what was asked, word by word."""
    text = f"you said: {exchange.json['messages'][-1]['content']}"
    await begin(exchange, headers="x-request-id: req-1\r\n")
    await _words(exchange, *text.replace(" ", "\n ").split("\n"))
    await put(exchange, FINISH)
    usage = LAST if exchange.json["stream_options"] == {"include_usage": True} else b""
    return await end(exchange, usage + _DONE)


async def _odd(exchange: Exchange) -> bool:
    """Stream with a byte order mark, comments, CRLF, CR, U+2028 and one byte at a time."""
    await begin(exchange)
    events = [event(chunk(word), end) for word, end in zip(WORDS, ENDS, strict=True)]
    data = b"\xef\xbb\xbf: hello\r\n" + b": keep-alive\n\n".join(events)
    await drip(exchange, data + FINISH + LAST + b"data:[DONE]\n\n")
    return await end(exchange)


async def _no_done(exchange: Exchange) -> bool:
    """End after the finish reason, without usage and ``[DONE]``, as some servers do."""
    await begin(exchange)
    await _words(exchange, "whole")
    return await end(exchange, FINISH)


async def _no_chunks_at_all(exchange: Exchange) -> bool:
    await begin(exchange)
    return await end(exchange)


async def _begun(exchange: Exchange) -> None:
    await begin(exchange)
    await _words(exchange, "half")


async def _reset(exchange: Exchange) -> bool:
    await _begun(exchange)
    # What was sent before must have left, since a reset takes back what did not.
    await anyio.sleep(0.05)
    await exchange.reset()
    return False


async def _late(exchange: Exchange) -> bool:
    """Send the head, and nothing after it."""
    await begin(exchange)
    await exchange.hang()
    return False


async def _loris(exchange: Exchange) -> bool:
    """Stay alive for ever without ever saying anything more."""
    await _begun(exchange)
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await put(exchange, b": still here\n")
            await anyio.sleep(0.01)
    return False


async def _error(exchange: Exchange) -> bool:
    await _begun(exchange)
    error = {"error": {"message": "too busy", "type": "server_error", "code": None}}
    return await end(exchange, event(error))


async def _error_first(exchange: Exchange) -> bool:
    await begin(exchange)
    document = json.dumps({"message": "slow down", "code": "rate_limit_exceeded"})
    return await end(exchange, f"event: error\ndata: {document}\n\n".encode())


async def _no_json(exchange: Exchange) -> bool:
    await begin(exchange)
    return await end(exchange, b"data: {oops\n\n")


async def _no_object(exchange: Exchange) -> bool:
    await begin(exchange)
    return await end(exchange, b"data: 12\n\n")


async def _text(exchange: Exchange) -> bool:
    """Send what is no stream, under a name that says nothing."""
    await begin(exchange, kind="text/plain")
    return await end(exchange, b"Welcome to the gateway.")


async def _nameless(exchange: Exchange) -> bool:
    """Stream under another content type."""
    await begin(exchange, kind="text/plain")
    await _words(exchange, "fine")
    return await end(exchange, FINISH + LAST + _DONE)


async def _packed(exchange: Exchange) -> bool:
    await begin(exchange, headers="content-encoding: gzip\r\n")
    return await end(exchange, b"\x1f\x8b" + bytes(100))


async def _long_event(exchange: Exchange) -> bool:
    """Send an event that never ends."""
    await begin(exchange)
    await put(exchange, b"data: ")
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await put(exchange, b"x" * 65536)
    return False


async def _open_end(exchange: Exchange) -> bool:
    """Say ``[DONE]``, and keep the connection open."""
    await begin(exchange)
    await _words(exchange, "whole")
    await put(exchange, FINISH + LAST + _DONE)
    await exchange.hang()
    return False


STREAMS: dict[str, Way] = {
    "stream": _stream,
    "stream-odd": _odd,
    "stream-no-done": _no_done,
    "stream-empty": _no_chunks_at_all,
    "stream-reset": _reset,
    **broken_ways("stream", _begun, b"data: {"),
    "stream-late": _late,
    "stream-loris": _loris,
    "stream-error": _error,
    "stream-error-first": _error_first,
    "stream-no-json": _no_json,
    "stream-no-object": _no_object,
    "stream-text": _text,
    "stream-nameless": _nameless,
    "stream-packed": _packed,
    "stream-long-event": _long_event,
    "stream-open-end": _open_end,
}
"""How to stream, by the first segment of the path."""
