"""The turns of a conversation in the form of Bedrock's Converse API."""

from __future__ import annotations

import base64
import re
from typing import Any

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Message
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers._rules import arguments_of

__all__ = ["converse_messages"]

_IMAGES = ("png", "jpeg", "gif", "webp")
_SOUNDS = {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/mp4": "m4a"}
_SOUND_FORMATS = frozenset(
    {
        *("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a"),
        *("mpeg", "mpga", "pcm", "webm"),
    }
)
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_NAME = re.compile(r"[A-Za-z0-9\[\]()-]+( [A-Za-z0-9\[\]()-]+)*")


def converse_messages(messages: tuple[Message, ...], who: str) -> list[dict[str, Any]]:
    """
    Answer the turns of *messages*; *who* begins the message of an error.

    Raises `ConfigurationError` for parts that the API has no form for.
    """
    turns = []
    for message in messages:
        role = "user" if message.role == "tool" else message.role
        turns.append({"role": role, "content": [_block(part, who) for part in message.parts]})
    return turns


def _block(part: Part, who: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, Reasoning):
        return {"reasoningContent": _reasoning(part)}
    if isinstance(part, ToolCall):
        return {
            "toolUse": {"toolUseId": part.id, "name": part.name, "input": arguments_of(part, who)}
        }
    if isinstance(part, ToolResult):
        failed = {"status": "error"} if part.is_error else {}
        told = {"toolUseId": part.call_id, "content": [{"text": part.content}]}
        return {"toolResult": {**told, **failed}}
    return _media(part, who)


def _reasoning(part: Reasoning) -> dict[str, Any]:
    if part.hidden:
        return {"redactedContent": part.signature or ""}
    signed = {} if part.signature is None else {"signature": part.signature}
    return {"reasoningText": {"text": part.text, **signed}}


def _media(part: Image | Audio | File, who: str) -> dict[str, Any]:
    if isinstance(part, Image):
        if part.detail is not None:
            raise ConfigurationError(
                f"{who}: Image(detail={part.detail!r}); this API has no such parameter, leave it "
                "out"
            )
        form = _one_of(part.media_type.removeprefix("image/"), _IMAGES, part, who)
        return {"image": {"format": form, "source": _source(part.data, part.url, who)}}
    if isinstance(part, Audio):
        name = _SOUNDS.get(part.media_type, part.media_type.removeprefix("audio/"))
        form = _one_of(name, _SOUND_FORMATS, part, who)
        return {"audio": {"format": form, "source": _source(part.data, None, who)}}
    if part.id is not None:
        raise ConfigurationError(
            f"{who}: File(id={part.id!r}); this API keeps no files, give data="
        )
    if _NAME.fullmatch(part.name) is None:
        raise ConfigurationError(
            f"{who}: File(name={part.name!r}); this API takes ASCII letters, digits, single "
            "spaces, hyphens, parentheses and brackets"
        )
    form = _one_of(_DOCUMENTS.get(part.media_type, ""), _DOCUMENTS.values(), part, who)
    source = _source(part.data, part.url, who)
    return {"document": {"format": form, "name": part.name, "source": source}}


def _one_of(form: str, forms: Any, part: Image | Audio | File, who: str) -> str:
    if form not in forms:
        raise ConfigurationError(
            f"{who}: {type(part).__name__}(media_type={part.media_type!r}); this API takes "
            f"{', '.join(sorted(forms))}"
        )
    return form


def _source(data: bytes | None, url: str | None, who: str) -> dict[str, Any]:
    if url is None:
        return {"bytes": base64.b64encode(data or b"").decode("ascii")}
    if not url.startswith("s3://"):
        raise ConfigurationError(f"{who}: url={url!r}; this API reads s3://… only, give data=")
    return {"s3Location": {"uri": url}}
