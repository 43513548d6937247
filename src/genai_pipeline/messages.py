"""What goes to a model and what comes back, in one vocabulary for every provider."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline._canonical import canonical, digest_of_text, json_copy
from genai_pipeline._options import at_least, check, one_of, optional
from genai_pipeline.errors import ConfigurationError, StreamInterrupted

__all__ = [
    "Chunk",
    "FinishReason",
    "Message",
    "Request",
    "Response",
    "Role",
    "Usage",
    "join_chunks",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

FinishReason: TypeAlias = Literal["stop", "length", "tool", "refusal", "filter", "other"]
"""
Why an answer ended: complete, cut at the output limit, a tool is wanted, the model declined, a
content filter stepped in, or something the provider's own words (``raw_finish_reason``) tell.
"""

_ROLES = ("system", "user", "assistant", "tool")


def _text(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(isinstance(value, str), owner, option.name, value, "text")


@attrs.frozen
class Message:
    """One turn of a conversation."""

    role: Role = attrs.field(validator=one_of(*_ROLES))
    content: str = attrs.field(validator=_text)


def _to_messages(prompt: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if isinstance(prompt, Message):
        return (prompt,)
    check(isinstance(prompt, Iterable), "Request", "messages", prompt, "text or several Messages")
    messages = tuple(prompt)
    for index, message in enumerate(messages):
        if not isinstance(message, Message):
            raise ConfigurationError(
                f"Request: message {index} is a {type(message).__qualname__}; "
                "give text, a Message or several Messages"
            )
    if not messages:
        raise ConfigurationError("Request: no messages; a request needs at least one")
    return messages


def _to_labels(labels: Iterable[str] | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    fine = isinstance(labels, Iterable) and not isinstance(labels, str)
    check(fine, "Request", "labels", labels, "several texts")
    chosen = tuple(labels)
    if any(not isinstance(label, str) or not label for label in chosen):
        raise ConfigurationError(f"Request: labels={chosen!r}; each is a text, none is empty")
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):  # noqa: PLR2004 - a choice
        raise ConfigurationError(
            f"Request: labels={chosen!r}; give at least two, each a different text"
        )
    return chosen


def _to_schema(schema: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return None if schema is None else _mapping("schema", schema)


def _to_extra(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping("extra", extra)


def _mapping(option: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    check(isinstance(value, Mapping), "Request", option, value, "a mapping")
    copy: Mapping[str, Any] = json_copy(value, where=f"Request: {option}")
    return copy


def _temperature(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    widest = 2  # of any API
    check(fine and 0 <= value <= widest, owner, option.name, value, "0 to 2, or None")


@attrs.frozen
class Request:
    """
    What to ask a model, independent of which one.

    *messages* is given as a text (one user turn), a `Message`, or several. Mutable arguments
    are copied; do not change what the fields hold.
    """

    messages: tuple[Message, ...] = attrs.field(converter=_to_messages)

    system: str | None = attrs.field(default=None, kw_only=True, validator=optional(_text))
    """Instructions that stand before the conversation."""

    max_output_tokens: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(1))
    )
    """The most the model may answer, reasoning included; `None` leaves it to the provider."""

    temperature: float | None = attrs.field(
        default=None, kw_only=True, validator=optional(_temperature)
    )
    """How freely to choose, 0 to 2; `None` leaves it to the provider."""

    labels: tuple[str, ...] | None = attrs.field(default=None, kw_only=True, converter=_to_labels)
    """The answers allowed: ``Response.text`` is one of them to the letter."""

    schema: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True, converter=_to_schema)
    """A JSON Schema that the answer's text, a JSON document, must obey."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, converter=_to_extra)
    """Parameters only this provider knows, passed through as they are."""

    def __attrs_post_init__(self) -> None:
        if self.labels is not None and self.schema is not None:
            raise ConfigurationError("Request: labels= and schema= exclude each other; give one")

    @property
    def prompt(self) -> str:
        """The text of the last user turn; empty when there is none."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    def fingerprint(self) -> str:
        """
        Answer 32 hexadecimal digits that stand for the whole request, every parameter included.

        Equal requests have equal fingerprints in every process and every version of this
        library; a parameter left at its default counts as not given, so later parameters do
        not change the fingerprints of requests that do not use them.
        """
        kind: Any = type(self)
        given: dict[str, Any] = {}
        for name, default in _defaults(kind):
            value = getattr(self, name)
            if value != default:
                given[name] = value
        messages = [[message.role, message.content] for message in self.messages]
        return digest_of_text(canonical(json_copy(given, where="Request"), messages=messages))


@functools.cache
def _defaults(kind: type[Any]) -> tuple[tuple[str, object], ...]:
    """Answer the parameters of requests, apart from the messages, and each one's default."""
    return tuple(
        (field.name, {} if field.name == "extra" else field.default)
        for field in attrs.fields(kind)
        if field.name != "messages"
    )


def _to_cost(cost: Decimal | int | str | None) -> Decimal | None:
    return None if cost is None else Decimal(cost)


@attrs.frozen(kw_only=True)
class Usage:
    """
    What a call used, in tokens.

    *cached_tokens* and *cache_write_tokens* are parts of *input_tokens*, *reasoning_tokens*
    is a part of *output_tokens*: never add them up.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal | None = attrs.field(default=None, converter=_to_cost)
    """US dollars, when the provider says; `None` is unknown, which is not zero."""

    def __add__(self, other: Usage) -> Usage:
        """Answer the sum; unknown costs do not count."""
        known = [usage.cost for usage in (self, other) if usage.cost is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=sum(known, Decimal()) if known else None,
        )


@attrs.frozen
class Response:
    """What a model answered."""

    text: str
    """The answer; one of ``Request.labels`` when they were given."""

    usage: Usage = attrs.field(factory=Usage, kw_only=True)
    finish_reason: FinishReason = attrs.field(default="stop", kw_only=True)
    model: str = attrs.field(default="", kw_only=True)
    """The model that really served the call, as the provider named it."""

    request_id: str | None = attrs.field(default=None, kw_only=True)
    """The provider's own name for the call, to quote to its support."""

    raw_finish_reason: str | None = attrs.field(default=None, kw_only=True)
    attributes: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """What else the provider told: scores, refusal text, rate-limit headers …"""


@attrs.frozen
class Chunk:
    """
    A piece of an answer that is streamed.

    The last chunk of a whole answer has a *finish_reason*, and tells what a `Response` tells; no
    other has one. `join_chunks` makes the `Response` of all.
    """

    text: str = ""
    """What comes next of the answer's text; empty where other things are told."""

    finish_reason: FinishReason | None = attrs.field(default=None, kw_only=True)
    usage: Usage | None = attrs.field(default=None, kw_only=True)
    """What was used from the beginning up to here, where the provider says."""

    model: str = attrs.field(default="", kw_only=True)
    request_id: str | None = attrs.field(default=None, kw_only=True)
    raw_finish_reason: str | None = attrs.field(default=None, kw_only=True)
    attributes: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """What else this piece brings: reasoning, parts of tool calls; the last one's are complete."""


def join_chunks(chunks: Iterable[Chunk]) -> Response:
    """
    Answer the `Response` that *chunks* are the pieces of: what a call would have answered.

    Raises `StreamInterrupted`, with what there is, when the last one is missing.
    """
    text, usage, last = [], None, None
    for chunk in chunks:
        text.append(chunk.text)
        usage = chunk.usage or usage
        last = chunk
    if last is None or last.finish_reason is None:
        partial = "".join(text)
        raise StreamInterrupted("the last chunk is missing", partial=partial, usage=usage)
    return Response(
        "".join(text),
        usage=usage or Usage(),
        finish_reason=last.finish_reason,
        model=last.model,
        request_id=last.request_id,
        raw_finish_reason=last.raw_finish_reason,
        attributes=last.attributes,
    )
