"""How each provider behind HTTP is answered, whole and piece by piece, to the byte."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from genai_pipeline.providers import (
    Anthropic,
    AzureOpenAI,
    Bedrock,
    Gemini,
    Ollama,
    OpenAI,
    OpenAIResponses,
)
from tests.servers import bedrock, chat_streams, gemini, messages, ollama, responses
from tests.servers.chat import completion

__all__ = ["WIRES", "Event", "Wire"]

Event: TypeAlias = tuple[str, dict[str, Any]]
"""An event of a stream: its name, which may be empty, and its document."""

_SSE = "text/event-stream"


@attrs.frozen(kw_only=True)
class Wire:
    """What a server of one API sends, and the provider that asks it."""

    make: Callable[..., Any]
    """Answers a provider of the server at a base URL, with options."""

    whole: Callable[[str], dict[str, Any]]
    """Answers the document with which a server says a text, and tells of usage."""

    events: Callable[[str], list[Event]]
    """Answers the events that stream a text, of which several bring a part of it."""

    frame: Callable[[str, bytes], bytes]
    """Answers the event of this name that holds these bytes."""

    error: Event
    """An error among the events that may pass; its message is *too busy*."""

    failed: dict[str, Any] | None
    """The same as a whole answer, of a status of success, where the API tells of errors so."""

    huge: bytes
    """The beginning of an event that is larger than any may be."""

    media_type: str = _SSE
    end: bytes = b""
    """What comes behind the events of a whole stream."""

    spare: int = 0
    """How many of the last events some servers leave out."""

    def coded(self, events: list[Event]) -> bytes:
        """Answer *events* as they are sent."""
        return b"".join(self.frame(name, _json(document)) for name, document in events)

    def halves(self, text: str = "fine") -> tuple[list[Event], list[Event]]:
        """Answer the events that stream *text*: up to the first that brings some of it, and on."""
        events = self.events(text)
        mark = f'"{text[:2]}'.encode()
        first = next(at for at, (_, told) in enumerate(events) if mark in _json(told))
        return events[: first + 1], events[first + 1 :]


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _sse(name: str, data: bytes) -> bytes:
    named = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (named, data)


def _line(_: str, data: bytes) -> bytes:
    return data + b"\n"


def _amazon(name: str, data: bytes) -> bytes:
    kind = "exception" if name.endswith("Exception") else "event"
    return bedrock.frame(name, data, kind)


def _chat_events(text: str) -> list[Event]:
    finish = {"index": 0, "delta": {}, "finish_reason": "stop"}
    told = [chat_streams.chunk(piece) for piece in _cut(text)]
    told.append(chat_streams.chunk(choices=[finish]))
    told.append(chat_streams.chunk(choices=[], usage=chat_streams.USAGE))
    return [("", each) for each in told]


def _response(text: str) -> dict[str, Any]:
    return responses.response_document(responses.message_item(text))


def _response_events(text: str) -> list[Event]:
    return [(each["type"], each) for each in responses.events_of(_response(text), _cut)]


def _message_events(text: str) -> list[Event]:
    return [(each["type"], each) for each in messages.events_of(messages.message(text))]


def _cut(text: str) -> list[str]:
    return [text[at : at + 2] for at in range(0, len(text), 2)]


def _azure(base_url: str, **options: Any) -> AzureOpenAI:
    return AzureOpenAI("m", base_url=base_url, **{"api_key": "azure-key", **options})


def _anthropic(base_url: str, **options: Any) -> Anthropic:
    return Anthropic("m", base_url=base_url, max_output_tokens=9, **options)


def _bedrock(base_url: str, **options: Any) -> Bedrock:
    return Bedrock("m", base_url=base_url, **{"api_key": "bedrock-key", **options})


_PRELUDE = struct.pack(">II", 2**31, 0)
_CHAT = Wire(
    make=lambda base_url, **options: OpenAI("m", base_url=base_url, **options),
    whole=completion,
    events=_chat_events,
    frame=_sse,
    error=("", {"error": {"message": "too busy", "type": "server_error"}}),
    failed={"error": {"message": "too busy", "type": "server_error"}},
    huge=b"data: " + b"x" * 2**20,
    end=b"data: [DONE]\n\n",
    spare=1,
)

WIRES = {
    "OpenAI": _CHAT,
    "AzureOpenAI": attrs.evolve(_CHAT, make=_azure),
    "OpenAIResponses": Wire(
        make=lambda base_url, **options: OpenAIResponses("m", base_url=base_url, **options),
        whole=_response,
        events=_response_events,
        frame=_sse,
        error=("error", {"type": "error", "code": "server_error", "message": "too busy"}),
        failed=responses.response_document(
            status="failed", error={"code": "server_error", "message": "too busy"}
        ),
        huge=b"data: " + b"x" * 2**20,
    ),
    "Anthropic": Wire(
        make=_anthropic,
        whole=lambda text: messages.message(text),
        events=_message_events,
        frame=_sse,
        error=("error", messages.failure("overloaded_error", "too busy")),
        failed=messages.failure("overloaded_error", "too busy"),
        huge=b"data: " + b"x" * 2**20,
        spare=1,
    ),
    "Gemini": Wire(
        make=lambda base_url, **options: Gemini("m", base_url=base_url, **options),
        whole=lambda text: gemini.answer(text),
        events=lambda text: [("", each) for each in gemini.fragments(gemini.answer(text), 2)],
        frame=_sse,
        error=("", gemini.failure(503, "UNAVAILABLE", "too busy")),
        failed=gemini.failure(503, "UNAVAILABLE", "too busy"),
        huge=b"data: " + b"x" * 2**20,
    ),
    "Bedrock": Wire(
        make=_bedrock,
        whole=lambda text: bedrock.converse(text),
        events=lambda text: bedrock.events_of(bedrock.converse(text), 2),
        frame=_amazon,
        error=("throttlingException", {"message": "too busy"}),
        failed=None,
        huge=_PRELUDE + struct.pack(">I", zlib.crc32(_PRELUDE)),
        media_type="application/vnd.amazon.eventstream",
        spare=1,
    ),
    "Ollama": Wire(
        make=lambda base_url, **options: Ollama("m", base_url=base_url, **options),
        whole=ollama.answer,
        events=lambda text: [("", each) for each in ollama.lines_of(ollama.answer(text), 2)],
        frame=_line,
        error=("", {"error": "too busy"}),
        failed={"error": "too busy"},
        huge=b"x" * 2**20 + b"x",
        media_type="application/x-ndjson",
    ),
}
"""By the name of the provider."""
