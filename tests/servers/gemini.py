"""
A server of Gemini's API over real sockets, in the shapes that the real one sends.

As with the chat server, the first segment of the path names how it answers.
"""

from __future__ import annotations

import json
from typing import Any

from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.streaming import Way, begin, broken_ways, drip, end, put

__all__ = ["USAGE", "GeminiServer", "answer", "failure", "fragments", "sse"]

USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
_ALLOWED = {
    *("contents", "systemInstruction", "generationConfig", "safetySettings", "tools"),
    *("toolConfig", "labels", "cachedContent", "serviceTier", "continuationToken", "store"),
}
_CONFIG = {
    *("temperature", "maxOutputTokens", "topP", "topK", "candidateCount", "stopSequences"),
    *("seed", "responseMimeType", "responseJsonSchema", "thinkingConfig", "responseLogprobs"),
    *("logprobs", "mediaResolution"),
}


def answer(*parts: dict[str, Any] | str, reason: str = "STOP", **more: Any) -> dict[str, Any]:
    """Answer a document of *parts*, of which a text is one; *more* replaces what else it tells."""
    made = [{"text": each} if isinstance(each, str) else each for each in parts]
    candidate = {"index": 0, "content": {"role": "model", "parts": made}, "finishReason": reason}
    return {
        "candidates": [candidate],
        "usageMetadata": USAGE,
        "modelVersion": "gemini-served",
        "responseId": "resp-1",
    } | more


def failure(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Answer an error document."""
    error: dict[str, Any] = {"code": code, "status": status, "message": message}
    if details:
        error["details"] = list(details)
    return {"error": error}


def sse(document: Any, end: str = "\n") -> bytes:
    """Answer *document* as an event whose lines end so."""
    return f"data: {json.dumps(document, ensure_ascii=False)}{end}{end}".encode()


def fragments(whole: dict[str, Any], size: int = 3) -> list[dict[str, Any]]:
    """Answer the fragments by which the API streams *whole*, *size* letters at a time."""
    head: dict[str, Any] = {
        name: whole[name] for name in ("modelVersion", "responseId") if name in whole
    }
    (candidate,) = whole["candidates"]
    found: list[dict[str, Any]] = []
    for part in candidate["content"]["parts"]:
        found += [{**head, "candidates": [_fragment(each)]} for each in _cut(part, size)]
    last = {name: value for name, value in candidate.items() if name != "content"}
    end = {**head, "candidates": [last], "usageMetadata": whole["usageMetadata"]}
    return [*found, end]


def _fragment(part: dict[str, Any]) -> dict[str, Any]:
    return {"index": 0, "content": {"role": "model", "parts": [part]}}


def _cut(part: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """Answer the pieces of *part*; what signs it comes with its last."""
    text = part.get("text")
    if not text:
        return [part]
    kind = {"thought": True} if part.get("thought") else {}
    pieces = [{"text": text[at : at + size], **kind} for at in range(0, len(text), size)]
    return [*pieces[:-1], {**part, **pieces[-1]}]


def _complaint(exchange: Exchange) -> str | None:
    """Answer what the API would say of a wrong request."""
    body = exchange.json
    for name in body.keys() - _ALLOWED:
        return f'Unknown name "{name}": Cannot find field.'
    config = body.get("generationConfig", {})
    for name in config.keys() - _CONFIG:
        return f'Unknown name "{name}" at generation_config: Cannot find field.'
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        return "response_mime_type must be application/json"
    roles = {turn.get("role") for turn in body["contents"]}
    return None if roles <= {"user", "model"} else "Please use a valid role: user, model."


async def _ok(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, if that is wanted."""
    if exchange.target.endswith(":countTokens"):
        said = exchange.json["contents"][-1]["parts"][-1]["text"]
        await exchange.send(http({"totalTokens": len(said)} if said else {}))
        return True
    complaint = _complaint(exchange)
    if complaint is not None:
        told = failure(400, "INVALID_ARGUMENT", complaint)
        await exchange.send(http(told, status="400 Bad Request"))
        return True
    body = exchange.json
    said = "".join(part.get("text", "…") for part in body["contents"][-1]["parts"])
    text = f"you said: {said}"
    schema = body.get("generationConfig", {}).get("responseJsonSchema", {})
    if "label" in schema.get("properties", {}):
        text = json.dumps({"label": schema["properties"]["label"]["enum"][-1]})
    if ":streamGenerateContent?alt=sse" in exchange.target:
        return await _streamed(exchange, answer(text))
    await exchange.send(http(answer(text)))
    return True


async def _streamed(exchange: Exchange, whole: dict[str, Any]) -> bool:
    await begin(exchange)
    for each in fragments(whole):
        await put(exchange, sse(each))
    return await end(exchange)


async def _odd(exchange: Exchange) -> bool:
    """Stream one byte at a time, with CRLF and comments."""
    await begin(exchange)
    whole = answer("one\u2028line \u00e9t\u00e9\x85 \U0001f40d")
    data = b": hello\r\n" + b": still here\r\n\r\n".join(sse(e, "\r\n") for e in fragments(whole))
    await drip(exchange, data)
    return await end(exchange)


async def _begun(exchange: Exchange) -> None:
    await begin(exchange)
    for each in fragments(answer("half"))[:-1]:
        await put(exchange, sse(each))


async def _overloaded(exchange: Exchange) -> bool:
    """Fail in the middle, after a status of success."""
    await _begun(exchange)
    return await end(exchange, sse(failure(503, "UNAVAILABLE", "The model is overloaded.")))


_WAYS: dict[str, Way] = {
    "ok": _ok,
    "stream-odd": _odd,
    **broken_ways("stream", _begun, b"data: "),
    "stream-overloaded": _overloaded,
}


class GeminiServer(ChatServer):
    """The server; ``with GeminiServer() as server:``."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = _WAYS
