"""The parts that messages and answers are made of, beside plain text."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import attrs

from genai_pipeline._options import check, one_of, optional, text
from genai_pipeline.errors import ConfigurationError, InvalidAnswer

__all__ = [
    "Audio",
    "File",
    "Image",
    "Part",
    "Reasoning",
    "Text",
    "ToolCall",
    "ToolResult",
]

_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/heic", "image/heif")


def _string(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(isinstance(value, str), owner, option.name, value, "text")


def _bytes(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, bytes) and bool(value)
    shown = f"{type(value).__qualname__}, not bytes" if value is not None and not fine else value
    check(fine, owner, option.name, shown, "bytes, at least one")


def _url(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and value.partition("://")[0] in {"https", "http", "gs", "s3"}
    check(fine, owner, option.name, value, "an address, as https://…; what is at hand as data=")


def _only_one(owner: object, **given: object) -> None:
    found = [name for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise ConfigurationError(
            f"{type(owner).__name__}: {' and '.join(found) or 'nothing'} given; "
            f"give one of {', '.join(f'{name}=' for name in given)}"
        )


@attrs.frozen
class Text:
    """A piece of text."""

    text: str = attrs.field(validator=_string)
    signature: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """What the provider signed it with, to be sent back unchanged; only in answers."""


@attrs.frozen(kw_only=True)
class Image:
    """A picture, at hand as *data* or at an address that the provider can read."""

    data: bytes | None = attrs.field(default=None, repr=False, validator=optional(_bytes))
    url: str | None = attrs.field(default=None, validator=optional(_url))
    media_type: str = attrs.field(default="image/png", validator=one_of(*_IMAGES))
    detail: str | None = attrs.field(default=None, validator=optional(text))
    """How closely to look, where the provider has a choice: ``low``, ``high`` …"""

    def __attrs_post_init__(self) -> None:
        _only_one(self, data=self.data, url=self.url)


@attrs.frozen(kw_only=True)
class Audio:
    """A recording."""

    data: bytes = attrs.field(repr=False, validator=_bytes)
    media_type: str = attrs.field(default="audio/wav", validator=text)


@attrs.frozen(kw_only=True)
class File:
    """A document: at hand as *data*, at an address, or one that the provider holds (*id*)."""

    data: bytes | None = attrs.field(default=None, repr=False, validator=optional(_bytes))
    url: str | None = attrs.field(default=None, validator=optional(_url))
    id: str | None = attrs.field(default=None, validator=optional(text))
    media_type: str = attrs.field(default="application/pdf", validator=text)
    name: str = attrs.field(default="document", validator=text)

    def __attrs_post_init__(self) -> None:
        _only_one(self, data=self.data, url=self.url, id=self.id)


@attrs.frozen
class ToolCall:
    """A call of one of ``Request.tools`` that the model wants; whether to make it is yours."""

    name: str = attrs.field(validator=_string)
    arguments: str = attrs.field(default="{}", validator=_string)
    """JSON text, as the model wrote it: it may be no JSON, or not of the tool's schema."""

    id: str = attrs.field(default="", kw_only=True, validator=_string)
    """What the `ToolResult` refers to; empty where the provider has none."""

    signature: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """What the provider signed it with, to be sent back unchanged."""

    def parse(self) -> dict[str, Any]:
        """Answer the arguments; raises `InvalidAnswer` for what is no JSON object."""
        try:
            values = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise InvalidAnswer(
                f"the arguments for the tool {self.name!r} are no JSON object: "
                f"{self.arguments[:100]!r}"
            )
        return values


@attrs.frozen
class ToolResult:
    """What a tool answered to a `ToolCall`."""

    content: str = attrs.field(validator=_string)
    call_id: str = attrs.field(default="", kw_only=True, validator=_string)
    name: str = attrs.field(default="", kw_only=True, validator=_string)
    """The tool's name, which some providers want beside the call's id, or instead of it."""

    is_error: bool = attrs.field(default=False, kw_only=True)

    @classmethod
    def to(cls, call: ToolCall, content: str, *, is_error: bool = False) -> ToolResult:
        """Answer the result of *call*."""
        return cls(content, call_id=call.id, name=call.name, is_error=is_error)


@attrs.frozen
class Reasoning:
    """What the model thought before it answered, as far as the provider shows it."""

    text: str = attrs.field(default="", validator=_string)
    signature: str | None = attrs.field(default=None, kw_only=True, repr=False)
    """The provider's own sealed form of it, to be sent back unchanged."""

    id: str = attrs.field(default="", kw_only=True, validator=_string)
    hidden: bool = attrs.field(default=False, kw_only=True)
    """Whether there is a sealed form only."""


Part: TypeAlias = Text | Image | Audio | File | ToolCall | ToolResult | Reasoning
"""What a message can be made of."""
