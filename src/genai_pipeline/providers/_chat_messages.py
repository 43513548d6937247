"""The messages of a request in the form of Chat Completions."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from genai_pipeline._tools import Tool
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Message, Request
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult

__all__ = [
    "base64_of",
    "call_id_of",
    "chat_choice",
    "chat_messages",
    "chat_tools",
    "data_url",
    "image_url",
]

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_SOUNDS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


def chat_messages(request: Request, *, reasoning_field: str | None = None) -> list[dict[str, Any]]:
    """
    Answer the messages of *request*, the system's first.

    What the model thought goes back to it in *reasoning_field*, if there is one. Raises
    `ConfigurationError` for parts that the API has no form for.
    """
    messages: list[dict[str, Any]] = []
    if request.system is not None:
        messages.append({"role": "system", "content": request.system})
    for message in request.messages:
        messages.extend(_messages(message, reasoning_field))
    return messages


def chat_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Answer the form of *tools*."""
    return [{"type": "function", "function": tool.plain()} for tool in tools]


def chat_choice(choice: str) -> str | dict[str, Any]:
    """Answer the form of ``Request.tool_choice``."""
    if choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}


def data_url(data: bytes, media_type: str) -> str:
    """Answer *data* as an address that holds it."""
    return f"data:{media_type};base64,{base64_of(data)}"


def base64_of(data: bytes) -> str:
    """Answer *data* as text."""
    return base64.b64encode(data).decode("ascii")


def image_url(part: Image) -> str:
    """Answer where the picture is; raises `ConfigurationError` for what OpenAI cannot read."""
    if part.data is not None:
        if part.media_type not in _IMAGES:
            raise ConfigurationError(
                f"Image: media_type={part.media_type!r}; this API takes "
                f"{', '.join(sorted(_IMAGES))}"
            )
        return data_url(part.data, part.media_type)
    url = part.url or ""
    if url.partition("://")[0] not in {"https", "http"}:
        raise ConfigurationError(
            f"Image: url={url!r}; this API reads https:// and http:// alone, give data="
        )
    return url


def call_id_of(part: ToolCall | ToolResult) -> str:
    """Answer the id that joins a call and its result; raises `ConfigurationError` for none."""
    call_id = part.id if isinstance(part, ToolCall) else part.call_id
    if not call_id:
        raise ConfigurationError(
            f"{type(part).__name__}: {part.name!r} has no id, by which this API joins calls and "
            "results; keep the id of the call (ToolResult.to(call, …)), or give one of your own "
            "to both"
        )
    return call_id


def _messages(message: Message, reasoning_field: str | None) -> list[dict[str, Any]]:
    content = message.content
    if isinstance(content, str):
        return [{"role": message.role, "content": content}]
    if message.role == "assistant":
        return [_assistant(content, reasoning_field)]
    if message.role == "tool":
        return [_result(part) for part in content if isinstance(part, ToolResult)]
    return [{"role": message.role, "content": [_part(part) for part in content]}]


def _assistant(parts: tuple[Part, ...], reasoning_field: str | None) -> dict[str, Any]:
    """Answer a turn of the model's; what it thought is not sent back unless there is a field."""
    text = "".join(part.text for part in parts if isinstance(part, Text))
    calls = [
        {
            "id": call_id_of(part),
            "type": "function",
            "function": {"name": part.name, "arguments": part.arguments},
        }
        for part in parts
        if isinstance(part, ToolCall)
    ]
    turn: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
    if thought and reasoning_field is not None:
        turn[reasoning_field] = thought
    return {**turn, "tool_calls": calls} if calls else turn


def _result(part: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id_of(part), "content": part.content}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        detail = {} if part.detail is None else {"detail": part.detail}
        return {"type": "image_url", "image_url": {"url": image_url(part), **detail}}
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": _sound(part)}
    assert isinstance(part, File)
    return {"type": "file", "file": _file(part)}


def _sound(part: Audio) -> dict[str, str]:
    form = _SOUNDS.get(part.media_type)
    if form is None:
        raise ConfigurationError(
            f"Audio: media_type={part.media_type!r}; this API takes {', '.join(_SOUNDS)}"
        )
    return {"data": base64_of(part.data), "format": form}


def _file(part: File) -> dict[str, str]:
    if part.id is not None:
        return {"file_id": part.id}
    if part.data is None:
        raise ConfigurationError(
            f"File: url={part.url!r}; this API reads no addresses, give data= or id="
        )
    return {"filename": part.name, "file_data": data_url(part.data, part.media_type)}
