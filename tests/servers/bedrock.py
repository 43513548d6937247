"""
A server of Bedrock's Converse API over real sockets, which checks how requests are signed.

As with the chat server, the first segment of the path names how it answers.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]

from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.streaming import Way, begin, broken_ways, drip, end, put

__all__ = ["KEY_ID", "SECRET", "TOKEN", "USAGE", "BedrockServer", "converse", "events_of", "frame"]

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "session/token+of=somebody"
USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
_STREAM = "application/vnd.amazon.eventstream"
_ALLOWED = {
    *("messages", "system", "inferenceConfig", "toolConfig", "guardrailConfig", "outputConfig"),
    *("serviceTier", "requestMetadata", "additionalModelRequestFields", "performanceConfig"),
}


def converse(*content: dict[str, Any] | str, reason: str = "end_turn", **more: Any) -> Any:
    """Answer a document of *content*, of which a text is a block; *more* replaces its parts."""
    blocks = [{"text": each} if isinstance(each, str) else each for each in content]
    return {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": reason,
        "usage": USAGE,
        "metrics": {"latencyMs": 250},
    } | more


def frame(kind: str, payload: Any, message_type: str = "event") -> bytes:
    """Answer an event called *kind* as a frame of Amazon's event stream."""
    named = "event-type" if message_type == "event" else "exception-type"
    headers = {
        f":{named}": kind,
        ":content-type": "application/json",
        ":message-type": message_type,
    }
    coded = b"".join(_header(name, value) for name, value in headers.items())
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = struct.pack(">II", 16 + len(coded) + len(data), len(coded))
    begun = head + struct.pack(">I", zlib.crc32(head)) + coded + data
    return begun + struct.pack(">I", zlib.crc32(begun))


def _header(name: str, value: str) -> bytes:
    coded = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(coded)) + coded


def events_of(whole: dict[str, Any], size: int = 3) -> list[tuple[str, dict[str, Any]]]:
    """Answer the events by which the API streams *whole*, *size* letters at a time."""
    events: list[tuple[str, dict[str, Any]]] = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(whole["output"]["message"]["content"]):
        events += [
            (name, {"contentBlockIndex": index, **told}) for name, told in _told(block, size)
        ]
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    events.append(("messageStop", {"stopReason": whole["stopReason"]}))
    told: dict[str, Any] = {name: whole[name] for name in ("usage", "metrics") if name in whole}
    return [*events, ("metadata", told)]


def _told(block: dict[str, Any], size: int) -> list[tuple[str, dict[str, Any]]]:
    if "text" in block:
        return [_delta({"text": piece}) for piece in _cut(block["text"], size)]
    if "toolUse" in block:
        use = dict(block["toolUse"])
        written = json.dumps(use.pop("input"))
        pieces = [_delta({"toolUse": {"input": piece}}) for piece in _cut(written, size)]
        return [("contentBlockStart", {"start": {"toolUse": use}}), *pieces]
    thought = block["reasoningContent"]
    if "redactedContent" in thought:
        return [_delta({"reasoningContent": thought})]
    said = thought["reasoningText"]
    found = [_delta({"reasoningContent": {"text": piece}}) for piece in _cut(said["text"], size)]
    if "signature" in said:
        found.append(_delta({"reasoningContent": {"signature": said["signature"]}}))
    return found


def _delta(delta: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"delta": delta}


def _cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def is_signed(exchange: Exchange, region: str = "us-east-1") -> bool:
    """Tell whether botocore signs what came in just so."""
    headers = exchange.headers
    signed = {name: headers[name] for name in ("content-type", "host", "x-amz-date")}
    if "x-amz-security-token" in headers:
        signed["x-amz-security-token"] = headers["x-amz-security-token"]
    url = f"http://{headers['host']}{urlsplit(exchange.target).path}"
    request = AWSRequest(exchange.method, url, headers=signed, data=exchange.body)
    request.context["timestamp"] = headers["x-amz-date"]
    token = headers.get("x-amz-security-token")
    auth = SigV4Auth(Credentials(KEY_ID, SECRET, token), "bedrock", region)
    canonical = auth.canonical_request(request)
    signature = auth.signature(auth.string_to_sign(request, canonical), request)
    return headers["authorization"].endswith(f"Signature={signature}")


def _complaint(exchange: Exchange) -> tuple[str, str] | None:
    """Answer what the API would say of a wrong request: its kind and a message."""
    authorization = exchange.headers.get("authorization", "")
    if authorization.startswith("AWS4-HMAC-SHA256") and not is_signed(exchange):
        return "403 Forbidden", "InvalidSignatureException"
    if not authorization:
        return "403 Forbidden", "MissingAuthenticationTokenException"
    if exchange.json.keys() - _ALLOWED:
        return "400 Bad Request", "ValidationException"
    return None


async def _ok(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, if that is wanted."""
    if exchange.target.endswith("/count-tokens"):
        said = exchange.json["input"]["converse"]["messages"][-1]["content"][-1]["text"]
        await exchange.send(http({"inputTokens": len(said)}))
        return True
    complaint = _complaint(exchange)
    if complaint is not None:
        status, kind = complaint
        headers = f"x-amzn-errortype: {kind}:http://internal.amazon.com/\r\n"
        await exchange.send(http({"message": "wrong"}, status=status, headers=headers))
        return True
    body = exchange.json
    said = "".join(block.get("text", "…") for block in body["messages"][-1]["content"])
    text = f"you said: {said}"
    asked = body.get("outputConfig", {}).get("textFormat")
    if asked and "label" in asked["structure"]["jsonSchema"]["name"]:
        schema = json.loads(asked["structure"]["jsonSchema"]["schema"])
        text = json.dumps({"label": schema["properties"]["label"]["enum"][-1]})
    if exchange.target.endswith("/converse-stream"):
        await begin(exchange, _STREAM, headers="x-amzn-requestid: req-1\r\n")
        for name, event in events_of(converse(text)):
            await put(exchange, frame(name, event))
        return await end(exchange)
    await exchange.send(http(converse(text), headers="x-amzn-RequestId: req-1\r\n"))
    return True


async def _odd(exchange: Exchange) -> bool:
    """Stream one byte at a time, with events that nobody knows."""
    await begin(exchange, _STREAM)
    whole = converse("one\u2028line \u00e9t\u00e9\x85 \U0001f40d")
    data = b"".join(frame("initial-response", {}) + frame(*each) for each in events_of(whole))
    await drip(exchange, data)
    return await end(exchange)


async def _begun(exchange: Exchange) -> None:
    await begin(exchange, _STREAM)
    for name, event in events_of(converse("half"))[:-3]:
        await put(exchange, frame(name, event))


async def _damaged(exchange: Exchange) -> bool:
    await _begun(exchange)
    return await end(exchange, frame("contentBlockDelta", {})[:-1] + b"\xff")


def _failing(kind: str, **told: Any) -> Callable[[Exchange], Awaitable[bool]]:
    """Answer a way to fail in the middle, after a status of success."""

    async def fail(exchange: Exchange) -> bool:
        await _begun(exchange)
        return await end(exchange, frame(kind, told, "exception"))

    return fail


_WAYS: dict[str, Way] = {
    "ok": _ok,
    "stream-odd": _odd,
    **broken_ways("stream", _begun, b"\x00\x00"),
    "stream-damaged": _damaged,
    "stream-throttled": _failing("throttlingException", message="slow down"),
    "stream-failed": _failing(
        "modelStreamErrorException", originalStatusCode=500, originalMessage="oops"
    ),
}


class BedrockServer(ChatServer):
    """The server; ``with BedrockServer() as server:``."""

    def __init__(self) -> None:
        super().__init__()
        self.ways = _WAYS

    def url(self, way: str) -> str:
        """Answer the base URL where the server answers in this *way*."""
        return f"http://127.0.0.1:{self.port}/{way}"
