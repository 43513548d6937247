"""The turns of a conversation in the form of Gemini's API."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Message, Request
from genai_pipeline.parts import (
    Audio,
    File,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from genai_pipeline.providers._rules import arguments_of

__all__ = ["gemini_contents", "gemini_system"]


def gemini_system(request: Request) -> list[dict[str, Any]]:
    """Answer the instructions: ``Request.system``, and the system's turns before all others."""
    told = [] if request.system is None else [request.system]
    told += [message.text for message in request.messages[: _begins(request)]]
    return [{"text": text} for text in told]


def gemini_contents(request: Request, who: str) -> list[dict[str, Any]]:
    """
    Answer the turns of *request*; *who* begins the message of an error.

    Raises `ConfigurationError` for a system's turn among the others, and for what has no form.
    """
    turns = request.messages[_begins(request) :]
    if not turns:
        raise ConfigurationError(f"{who}: only the system speaks; give a message of the user")
    contents = []
    for message in turns:
        if message.role == "system":
            raise ConfigurationError(
                f"{who}: a message of the system stands among others; this API takes them before "
                "all others, or as system="
            )
        role = "model" if message.role == "assistant" else "user"
        contents.append({"role": role, "parts": _parts(message, who)})
    return contents


def _begins(request: Request) -> int:
    """Answer where the conversation begins, behind what the system says."""
    roles = [message.role for message in request.messages]
    return next((index for index, role in enumerate(roles) if role != "system"), len(roles))


def _parts(message: Message, who: str) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"text": message.content}]
    return list(_formed(message.content, who))


def _formed(parts: Iterable[Part], who: str) -> Iterable[dict[str, Any]]:
    for part in parts:
        if isinstance(part, Text):
            yield _signed({"text": part.text}, part.signature)
        elif isinstance(part, Reasoning):
            yield _signed({"text": part.text, "thought": True}, part.signature)
        elif isinstance(part, ToolCall):
            yield _signed({"functionCall": _call(part, who)}, part.signature)
        elif isinstance(part, ToolResult):
            yield {"functionResponse": _result(part)}
        else:
            yield _media(part, who)


def _signed(formed: dict[str, Any], signature: str | None) -> dict[str, Any]:
    return formed if signature is None else {**formed, "thoughtSignature": signature}


def _call(part: ToolCall, who: str) -> dict[str, Any]:
    called = {"name": part.name, "args": arguments_of(part, who)}
    return {"id": part.id, **called} if part.id else called


def _result(part: ToolResult) -> dict[str, Any]:
    answer = {"error" if part.is_error else "output": part.content}
    told = {"name": part.name, "response": answer}
    return {"id": part.call_id, **told} if part.call_id else told


def _media(part: Image | Audio | File, who: str) -> dict[str, Any]:
    if isinstance(part, Image) and part.detail is not None:
        raise ConfigurationError(
            f"{who}: Image(detail={part.detail!r}); this API has it for all images alike: "
            "extra={'generationConfig': {'mediaResolution': …}}"
        )
    address = None
    if not isinstance(part, Audio):
        address = part.url or (part.id if isinstance(part, File) else None)
    if address is not None:
        return {"fileData": {"mimeType": part.media_type, "fileUri": address}}
    data = base64.b64encode(part.data or b"").decode("ascii")
    return {"inlineData": {"mimeType": part.media_type, "data": data}}
