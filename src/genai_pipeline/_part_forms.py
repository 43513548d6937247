"""Parts as plain JSON types: to keep them, to tell them apart, to count what is read."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult

__all__ = ["identity_of", "kept_part", "plain_part", "texts_of"]

_KINDS: dict[str, type[Part]] = {
    "text": Text,
    "image": Image,
    "audio": Audio,
    "file": File,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "reasoning": Reasoning,
}
_NAMES: dict[type[Any], str] = {kind: name for name, kind in _KINDS.items()}


def texts_of(part: Part) -> tuple[str, ...]:
    """Answer the texts in *part* that a model reads."""
    if isinstance(part, Text):
        return (part.text,)
    if isinstance(part, ToolCall):
        return (part.name, part.arguments)
    if isinstance(part, ToolResult):
        return (part.name, part.content)
    return (part.text, part.signature or "") if isinstance(part, Reasoning) else ()


def plain_part(part: Part) -> dict[str, Any]:
    """Answer *part* as plain JSON types, of which `kept_part` makes it again."""
    return _plain(part, lambda data: base64.b64encode(data).decode("ascii"))


def identity_of(part: Part) -> dict[str, Any]:
    """Answer, as plain JSON types, what sets *part* apart from others: data by its digest."""
    import hashlib  # noqa: PLC0415 - slow to import, and not every request is identified

    return _plain(part, lambda data: hashlib.blake2b(data, digest_size=16).hexdigest())


def kept_part(plain: Mapping[str, Any]) -> Part:
    """Answer the part that `plain_part` was made of; raises `ValueError` for anything else."""
    fields = dict(plain)
    kind = _KINDS.get(fields.pop("part", ""))
    if kind is None:
        raise ValueError(f"no part: {plain!r:.100}")
    if isinstance(fields.get("data"), str):
        fields["data"] = base64.b64decode(fields["data"])
    return kind(**fields)


def _plain(part: Part, of_data: Callable[[bytes], str]) -> dict[str, Any]:
    kind: Any = type(part)
    plain: dict[str, Any] = {"part": _NAMES[kind]}
    for field in attrs.fields(kind):
        value = getattr(part, field.name)
        if value != field.default:
            plain[field.name] = of_data(value) if isinstance(value, bytes) else value
    return plain
