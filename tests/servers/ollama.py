"""
A server of Ollama's own API over real sockets, in the shapes that the real one sends.

As with the chat server, the first segment of the path names how it answers.
"""

from __future__ import annotations

import json
from typing import Any

from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.streaming import Way, begin, broken_ways, drip, end, put

__all__ = ["OllamaServer", "answer", "line", "lines_of"]

_STREAM = "application/x-ndjson"
_ALLOWED = {
    *("model", "messages", "stream", "format", "options", "keep_alive", "think", "tools"),
    *("logprobs", "top_logprobs"),
}


def answer(text: str = "hello", **more: Any) -> dict[str, Any]:
    """Answer a document that says *text*; *more* replaces its parts."""
    return {
        "model": "served-model",
        "created_at": "2026-11-26T09:00:00.123456789Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_500_000_000,
        "load_duration": 500_000_000,
        "prompt_eval_count": 10,
        "prompt_eval_duration": 1_000_000_000,
        "eval_count": 5,
        "eval_duration": 250_000_000,
    } | more


def lines_of(whole: dict[str, Any], size: int = 3) -> list[dict[str, Any]]:
    """Answer the documents by which the API streams *whole*, *size* letters at a time."""
    head = {name: whole[name] for name in ("model", "created_at")}
    message, found = whole["message"], []
    for name in ("thinking", "content"):
        text = message.get(name, "")
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        found += [{"content": "", name: piece} for piece in pieces]
    found += [{"content": "", "tool_calls": [call]} for call in message.get("tool_calls", ())]
    begun: list[dict[str, Any]] = [
        {**head, "message": {"role": "assistant", **each}, "done": False} for each in found
    ]
    return [*begun, {**whole, "message": {"role": "assistant", "content": ""}}]


def line(document: dict[str, Any], end: str = "\n") -> bytes:
    """Answer *document* as a line of a stream."""
    return f"{json.dumps(document, ensure_ascii=False)}{end}".encode()


def _complaint(body: dict[str, Any]) -> tuple[str, str] | None:
    """Answer what the API would say of a wrong request."""
    if body["model"] == "missing":
        return "404 Not Found", "model 'missing' not found"
    unknown = sorted(body.keys() - _ALLOWED)
    return ("400 Bad Request", f"unknown field {unknown[0]}") if unknown else None


async def _ok(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, unless told not to."""
    body = exchange.json
    complaint = _complaint(body)
    if complaint is not None:
        status, error = complaint
        await exchange.send(http({"error": error}, status=status))
        return True
    text = f"you said: {body['messages'][-1]['content']}"
    schema = body.get("format") or {}
    if "label" in schema.get("properties", {}):
        text = json.dumps({"label": schema["properties"]["label"]["enum"][-1]})
    if not body.get("stream", True):
        await exchange.send(http(answer(text)))
        return True
    await begin(exchange, _STREAM)
    for each in lines_of(answer(text)):
        await put(exchange, line(each))
    return await end(exchange)


async def _odd(exchange: Exchange) -> bool:
    """Stream one byte at a time, with empty lines and CRLF."""
    await begin(exchange, _STREAM)
    whole = answer("one\u2028line \u00e9t\u00e9\x85 \U0001f40d")
    await drip(exchange, b"\n".join(line(each, "\r\n") for each in lines_of(whole)))
    return await end(exchange)


async def _begun(exchange: Exchange) -> None:
    await begin(exchange, _STREAM)
    for each in lines_of(answer("half"))[:-1]:
        await put(exchange, line(each))


async def _failed(exchange: Exchange) -> bool:
    """Fail in the middle, after a status of success."""
    await _begun(exchange)
    return await end(exchange, line({"error": "the runner has ended"}))


_WAYS: dict[str, Way] = {
    "ok": _ok,
    "stream-odd": _odd,
    **broken_ways("stream", _begun, b'{"mod'),
    "stream-failed": _failed,
}


class OllamaServer(ChatServer):
    """The server; ``with OllamaServer() as server:``."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = _WAYS

    def url(self, way: str) -> str:
        """Answer the base URL where the server answers in this *way*."""
        return f"http://127.0.0.1:{self.port}/{way}"
