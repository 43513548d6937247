"""The turns and tools of a request as Anthropic's Messages API wants them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from genai_pipeline._tools import Tool
from genai_pipeline.errors import ConfigurationError, InvalidAnswer, InvalidRequest
from genai_pipeline.messages import Message, Request
from genai_pipeline.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult

__all__ = ["Block", "choice_of", "system_of", "tools_of", "turns_of"]

Block = dict[str, Any]

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_WEB = ("https://", "http://")
_UNNAMED = "document"
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def system_of(request: Request) -> str | list[Block] | None:
    """Answer the instructions before the conversation: those of system turns at its start, too."""
    texts = [request.system] if request.system is not None else []
    texts += [message.text for message in request.messages[: _leading(request)]]
    if len(texts) > 1:
        return [_text(text) for text in texts]
    return texts[0] if texts else None


def turns_of(request: Request, who: str) -> list[Block]:
    """
    Answer the conversation.

    Raises `ConfigurationError` for parts that the API has no form for, and `InvalidRequest` for
    a tool's call whose arguments are no JSON object.
    """
    turns = request.messages[_leading(request) :]
    if not turns:
        raise ConfigurationError(f"{who}: every message is of the system; this API wants a user's")
    return [_turn(message, who) for message in turns]


def tools_of(tools: Iterable[Tool]) -> list[Block]:
    """Answer the form of *tools*."""
    forms = []
    for tool in tools:
        plain = tool.plain()
        plain["input_schema"] = plain.pop("parameters")
        forms.append(plain)
    return forms


def choice_of(choice: str) -> Block:
    """Answer the form of ``Request.tool_choice``."""
    kind = _CHOICES.get(choice)
    return {"type": "tool", "name": choice} if kind is None else {"type": kind}


def _leading(request: Request) -> int:
    roles = (message.role for message in request.messages)
    first = (index for index, role in enumerate(roles) if role != "system")
    return next(first, len(request.messages))


def _turn(message: Message, who: str) -> Block:
    role = "user" if message.role == "tool" else message.role
    if isinstance(message.content, str):
        return {"role": role, "content": message.content}
    blocks = (_block(part, who) for part in message.content)
    return {"role": role, "content": [block for block in blocks if block is not None]}


def _block(part: Part, who: str) -> Block | None:
    if isinstance(part, Text):
        return _text(part.text)
    if isinstance(part, Image):
        return {"type": "image", "source": _image(part, who)}
    if isinstance(part, File):
        title = {} if part.name == _UNNAMED else {"title": part.name}
        return {"type": "document", "source": _document(part, who), **title}
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part, who)}
    if isinstance(part, ToolResult):
        return _result(part)
    assert isinstance(part, Reasoning)
    return _thinking(part)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _image(part: Image, who: str) -> Block:
    if part.detail is not None:
        raise ConfigurationError(
            f"{who}: Image: detail={part.detail!r}; this API has no such option, leave it out"
        )
    if part.url is not None:
        return {"type": "url", "url": _web(part.url, "Image", who)}
    if part.media_type not in _IMAGES:
        raise ConfigurationError(
            f"{who}: Image: media_type={part.media_type!r}; this API takes {', '.join(_IMAGES)}"
        )
    return _base64(part.data or b"", part.media_type)


def _document(part: File, who: str) -> Block:
    if part.id is not None:
        return {"type": "file", "file_id": part.id}
    if part.url is not None:
        return {"type": "url", "url": _web(part.url, "File", who)}
    data = part.data or b""
    if part.media_type == "application/pdf":
        return _base64(data, part.media_type)
    if part.media_type == "text/plain":
        try:
            return {"type": "text", "media_type": "text/plain", "data": data.decode()}
        except UnicodeDecodeError:
            raise InvalidRequest(f"{who}: File: {part.name!r} is no text in UTF-8") from None
    raise ConfigurationError(
        f"{who}: File: media_type={part.media_type!r}; this API takes application/pdf, text/plain"
    )


def _base64(data: bytes, media_type: str) -> Block:
    text = base64.b64encode(data).decode("ascii")
    return {"type": "base64", "media_type": media_type, "data": text}


def _web(url: str, kind: str, who: str) -> str:
    if not url.startswith(_WEB):
        raise ConfigurationError(
            f"{who}: {kind}: url={url!r}; this API reads https addresses, or give data="
        )
    return url


def _input(part: ToolCall, who: str) -> dict[str, Any]:
    try:
        return part.parse()
    except InvalidAnswer as error:
        raise InvalidRequest(f"{who}: {error}, as this API wants them") from None


def _result(part: ToolResult) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.content}
    return {**block, "is_error": True} if part.is_error else block


def _thinking(part: Reasoning) -> Block | None:
    """Answer the form of what the model thought: sealed as it came, else not taken back."""
    if part.signature is None:
        return None
    if part.hidden:
        return {"type": "redacted_thinking", "data": part.signature}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}
