"""The messages and tools of a request in the form of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from genai_pipeline._tools import Tool
from genai_pipeline.messages import Message
from genai_pipeline.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers._chat_messages import call_id_of, data_url, image_url

__all__ = ["PHASES", "input_items", "response_choice", "response_tools"]

PHASES = ("commentary", "final_answer")
"""What the API marks the model's messages with, to be sent back: `Text.signature`."""


def input_items(messages: Iterable[Message], *, stored: bool) -> list[dict[str, Any]]:
    """
    Answer the items that stand for *messages*.

    Reasoning goes back where it is sealed, and, where answers are *stored*, by its id. Raises
    `ConfigurationError` for parts that the API has no form for; audio is not among those asked.
    """
    return [item for message in messages for item in _items(message, stored=stored)]


def response_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Answer the form of *tools*, which are strict here unless they say otherwise."""
    return [{"type": "function", "strict": False, **tool.plain()} for tool in tools]


def response_choice(choice: str) -> str | dict[str, Any]:
    """Answer the form of ``Request.tool_choice``."""
    if choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "name": choice}


def _items(message: Message, *, stored: bool) -> list[dict[str, Any]]:
    content = message.content
    if isinstance(content, str):
        return [{"role": message.role, "content": content}]
    if message.role == "assistant":
        return _said(content, stored=stored)
    if message.role == "tool":
        return [_result(part) for part in content if isinstance(part, ToolResult)]
    return [{"role": message.role, "content": [_part(part) for part in content]}]


def _said(parts: tuple[Part, ...], *, stored: bool) -> list[dict[str, Any]]:
    """Answer what the model said, thought and called, in its order."""
    items: list[dict[str, Any]] = []
    for key, group in groupby(parts, _belongs):
        if key[0] == "reasoning":
            items += _thoughts(list(group), stored=stored)  # type: ignore[arg-type]
        elif key[0] == "text":
            text = "".join(part.text for part in group if isinstance(part, Text))
            phase = {"phase": key[1]} if key[1] in PHASES else {}
            items.append({"role": "assistant", "content": text, **phase})
        else:
            items += [_call(part) for part in group if isinstance(part, ToolCall)]
    return items


def _belongs(part: Part) -> tuple[str, str]:
    """Answer what parts of one item have in common."""
    if isinstance(part, Reasoning):
        return "reasoning", part.id
    if isinstance(part, Text):
        return "text", part.signature or ""
    return "call", ""


def _thoughts(parts: list[Reasoning], *, stored: bool) -> list[dict[str, Any]]:
    sealed = next((part.signature for part in parts if part.signature), None)
    if sealed is None and not (stored and parts[0].id):
        return []  # the API could not tell what it is
    summary = [{"type": "summary_text", "text": part.text} for part in parts if part.text]
    item: dict[str, Any] = {"type": "reasoning", "id": parts[0].id, "summary": summary}
    return [item if sealed is None else {**item, "encrypted_content": sealed}]


def _call(part: ToolCall) -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": call_id_of(part),
        "name": part.name,
        "arguments": part.arguments,
    }


def _result(part: ToolResult) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id_of(part), "output": part.content}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        detail = part.detail or "auto"
        return {"type": "input_image", "image_url": image_url(part), "detail": detail}
    assert isinstance(part, File)
    return {"type": "input_file", **_file(part)}


def _file(part: File) -> dict[str, str]:
    if part.id is not None:
        return {"file_id": part.id}
    if part.data is None:
        return {"file_url": part.url or ""}
    return {"filename": part.name, "file_data": data_url(part.data, part.media_type)}
