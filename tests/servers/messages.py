"""
A server of Anthropic's Messages API over real sockets, in the shapes that the real one sends.

As with the chat server, the first segment of the path names how it answers:
``http://127.0.0.1:PORT/ok`` is a base URL that works.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio

from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.streaming import Way, begin, broken_ways, drip, end, put

__all__ = ["USAGE", "MessagesServer", "events_of", "failure", "message", "sse"]

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 4,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 0},
    "service_tier": "standard",
}
_VERSIONS = {"2023-06-01", "2026-10-21"}
_ALLOWED = {
    *("cache_control", "container", "diagnostics", "inference_geo", "max_tokens", "messages"),
    *("metadata", "model", "output_config", "service_tier", "speed", "stop_sequences", "stream"),
    *("system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p"),
}
_SAMPLING = {"temperature", "top_k", "top_p"}


def message(*content: dict[str, Any] | str, **more: Any) -> dict[str, Any]:
    """Answer a message document of *content*, of which a text is a block; *more* replaces parts."""
    blocks = [{"type": "text", "text": each} if isinstance(each, str) else each for each in content]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-served",
        "content": blocks,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": USAGE,
    } | more


def failure(kind: str, text: str, **details: str) -> dict[str, Any]:
    """Answer an error document of this *kind*."""
    error: dict[str, Any] = {"type": kind, "message": text}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_1"}


def sse(document: dict[str, Any], end: str = "\n") -> bytes:
    """Answer *document* as an event, named by its type, whose lines end so."""
    data = json.dumps(document, ensure_ascii=False)
    return f"event: {document['type']}{end}data: {data}{end}{end}".encode()


def events_of(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer the events by which the API streams the message *whole*, three letters at a time."""
    usage = whole["usage"]
    begun: dict[str, Any] = {"stop_reason": None, "stop_details": None, "content": []}
    start = whole | begun | {"usage": usage | {"output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        first, deltas = _opened(block)
        events.append({"type": "content_block_start", "index": index, "content_block": first})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    told = ("stop_reason", "stop_sequence", "stop_details", "container")
    counted = {
        name: usage[name]
        for name in usage
        if name.endswith("tokens") or name == "output_tokens_details"
    }
    events.append(
        {
            "type": "message_delta",
            "delta": {name: whole[name] for name in told},
            "usage": counted,
        }
    )
    return [*events, {"type": "message_stop"}]


def _opened(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Answer how *block* begins, and what is added to it."""
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _cut(block["text"])]
        deltas += [
            {"type": "citations_delta", "citation": each} for each in block.get("citations", ())
        ]
        return block | {"text": ""} | ({"citations": []} if "citations" in block else {}), deltas
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": piece} for piece in _cut(block["thinking"])
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return block | {"thinking": "", "signature": ""}, deltas
    if "input" in block:
        written = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
        pieces = ["", *_cut(written)]
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        return block | {"input": {}}, deltas
    return block, []


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + 3] for start in range(0, len(text), 3))


def _complaint(body: dict[str, Any], headers: dict[str, str], counting: bool) -> str | None:
    """Answer what the API would say of a wrong request."""
    version = headers.get("anthropic-version")
    allowed = _ALLOWED - ({"max_tokens", "stop_sequences", "stream"} if counting else set())
    for name in body.keys() - allowed:
        return f"{name}: Extra inputs are not permitted"
    if version not in _VERSIONS:
        return f"anthropic-version: {version!r} is not a valid version"
    if version == "2026-10-21" and body.keys() & _SAMPLING:
        return f"{min(body.keys() & _SAMPLING)}: Extra inputs are not permitted"
    needed = {"model", "messages"} if counting else {"model", "messages", "max_tokens"}
    for name in sorted(needed - body.keys()):
        return f"{name}: Field required"
    return None


def _said(turns: list[dict[str, Any]]) -> str:
    content = turns[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(block.get("text", f"<{block['type']}>") for block in content)


async def _ok(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, if that is wanted."""
    body = exchange.json
    counting = exchange.target.endswith("/count_tokens")
    complaint = _complaint(body, exchange.headers, counting)
    if complaint is not None:
        told = failure("invalid_request_error", complaint)
        await exchange.send(http(told, status="400 Bad Request", headers="request-id: req_1\r\n"))
        return True
    said = _said(body["messages"])
    if counting:
        await exchange.send(http({"input_tokens": len(said)}))
        return True
    schema = body.get("output_config", {}).get("format", {}).get("schema", {})
    text = f"you said: {said}"
    if "label" in schema.get("properties", {}):
        text = json.dumps({"label": schema["properties"]["label"]["enum"][-1]})
    if body.get("stream"):
        return await _streamed(exchange, message(text))
    await exchange.send(http(message(text), headers="request-id: req_1\r\n"))
    return True


async def _streamed(exchange: Exchange, whole: dict[str, Any]) -> bool:
    await begin(exchange, headers="request-id: req_1\r\n")
    for event in events_of(whole):
        await put(exchange, sse(event))
    return await end(exchange)


def _beginning(*words: str) -> list[bytes]:
    """Answer the events of an answer that is not whole yet."""
    events = events_of(message("".join(words)))
    end = next(i for i, event in enumerate(events) if event["type"] == "content_block_stop")
    return [sse(event) for event in events[:end]]


async def _begun(exchange: Exchange) -> None:
    await begin(exchange)
    for event in _beginning("half"):
        await put(exchange, event)


async def _odd(exchange: Exchange) -> bool:
    """Stream one byte at a time, with CRLF, comments, pings and events nobody knows."""
    await begin(exchange)
    strange = {"type": "weather_report", "sky": "blue"}
    events = events_of(message("one\u2028line \u00e9t\u00e9\x85 \U0001f40d"))
    data = b": hello\r\n\r\n" + sse(strange, "\r\n").join(sse(event, "\r") for event in events)
    await drip(exchange, data)
    return await end(exchange)


async def _overloaded(exchange: Exchange) -> bool:
    """Fail in the middle, after a status of success."""
    await _begun(exchange)
    return await end(exchange, sse(failure("overloaded_error", "Overloaded")))


async def _overloaded_at_once(exchange: Exchange) -> bool:
    await begin(exchange)
    return await end(exchange, sse(failure("overloaded_error", "Overloaded")))


async def _open_end(exchange: Exchange) -> bool:
    """End the message, and keep the connection open."""
    await begin(exchange)
    for event in events_of(message("whole")):
        await put(exchange, sse(event))
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await exchange.hang()
    return False


_WAYS: dict[str, Way] = {
    "ok": _ok,
    "stream-odd": _odd,
    **broken_ways("stream", _begun, b"event: "),
    "stream-overloaded": _overloaded,
    "stream-overloaded-first": _overloaded_at_once,
    "stream-open-end": _open_end,
}


class MessagesServer(ChatServer):
    """The server; ``with MessagesServer() as server:``."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = _WAYS

    def url(self, way: str) -> str:
        """Answer the base URL where the server answers in this *way*."""
        return f"http://127.0.0.1:{self.port}/{way}"
