"""What goes to a model and what comes back, in one vocabulary for every provider."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._options import at_least, check, from_to, one_of, optional
from genai_pipeline._part_forms import identity_of
from genai_pipeline._request_options import to_extra, to_labels, to_schema, to_stop
from genai_pipeline._tools import Tool, check_choice, to_tools
from genai_pipeline.errors import ConfigurationError, StreamInterrupted
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

__all__ = [
    "Chunk",
    "FinishReason",
    "Message",
    "ReasoningEffort",
    "Request",
    "Response",
    "Role",
    "TokenLogprob",
    "Usage",
    "join_chunks",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]

FinishReason: TypeAlias = Literal["stop", "length", "tool", "refusal", "filter", "other"]
"""
Why an answer ended: complete, cut at the output limit, a tool is wanted, the model declined, a
content filter stepped in, or something the provider's own words (``raw_finish_reason``) tell.
"""

ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much to think before answering; models know some of them."""

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_PARTS: dict[str, tuple[type[Any], ...]] = {
    "system": (Text,),
    "user": (Text, Image, Audio, File),
    "assistant": (Text, Reasoning, ToolCall),
    "tool": (ToolResult,),
}


def _text(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(isinstance(value, str), owner, option.name, value, "text")


def _to_content(content: str | Part | Iterable[str | Part]) -> str | tuple[Part, ...]:
    if isinstance(content, str):
        return content
    if isinstance(content, bytes):
        raise ConfigurationError(f"Message: content={content[:40]!r}; give text, or parts")
    if isinstance(content, Iterable):
        return tuple(Text(part) if isinstance(part, str) else part for part in content)
    return (content,)


@attrs.frozen
class Message:
    """
    One turn of a conversation.

    *content* is a text, or several of what `genai_pipeline.parts` has: a ``user`` says texts,
    images, audio and files, an ``assistant`` texts, reasoning and calls of tools; the turn of
    a ``tool`` is made of its results.
    """

    role: Role = attrs.field(validator=one_of(*_PARTS))
    content: str | tuple[Part, ...] = attrs.field(converter=_to_content)

    def __attrs_post_init__(self) -> None:
        if isinstance(self.content, str):
            return
        if not self.content:
            raise ConfigurationError("Message: content=(); give a text, or parts")
        for index, part in enumerate(self.content):
            if not isinstance(part, _PARTS[self.role]):
                allowed = ", ".join(kind.__name__ for kind in _PARTS[self.role])
                raise ConfigurationError(
                    f"Message: part {index} is of {type(part).__name__}, and the role "
                    f"{self.role!r} takes {allowed}"
                )

    @property
    def text(self) -> str:
        """All its text, in one; empty where there is none."""
        return self.content if isinstance(self.content, str) else _text_of(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts; a text is one."""
        return (Text(self.content),) if isinstance(self.content, str) else self.content


def _text_of(parts: Iterable[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text))


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
        default=None, kw_only=True, validator=optional(from_to(0, 2))
    )
    """How freely to choose, 0 to 2; `None` leaves it to the provider."""

    labels: tuple[str, ...] | None = attrs.field(default=None, kw_only=True, converter=to_labels)
    """The answers allowed: ``Response.text`` is one of them to the letter."""

    schema: Mapping[str, Any] | None = attrs.field(default=None, kw_only=True, converter=to_schema)
    """A JSON Schema that the answer's text, a JSON document, must obey."""

    top_p: float | None = attrs.field(default=None, kw_only=True, validator=optional(from_to(0, 1)))
    """Choose among the likeliest tokens that have this share together."""

    seed: int | None = attrs.field(default=None, kw_only=True, validator=optional(at_least(0)))
    """Choose alike each time, as far as the provider can."""

    stop: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=to_stop)
    """Texts to end the answer before."""

    reasoning_effort: ReasoningEffort | None = attrs.field(
        default=None, kw_only=True, validator=optional(one_of(*_EFFORTS))
    )
    """How much to think first; `None` leaves it to the provider."""

    tools: tuple[Tool, ...] = attrs.field(default=(), kw_only=True, converter=to_tools)
    """What the model may ask to have called: ``Response.tool_calls``."""

    tool_choice: str | None = attrs.field(default=None, kw_only=True)
    """``auto`` (as by default), ``none``, ``required``: any of them, or the name of one."""

    logprobs: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(0, 20))
    )
    """Ask for ``Response.logprobs``, with so many alternatives to each token."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, converter=to_extra)
    """Parameters only this provider knows, passed through as they are."""

    def __attrs_post_init__(self) -> None:
        if self.labels is not None and self.schema is not None:
            raise ConfigurationError("Request: labels= and schema= exclude each other; give one")
        check_choice(self.tool_choice, self.tools)

    @property
    def prompt(self) -> str:
        """The text of the last user turn; empty when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")

    def fingerprint(self) -> str:
        """
        Answer 32 hexadecimal digits that stand for the whole request, every parameter included.

        Equal requests have equal fingerprints in every process and every version of this
        library; a parameter left at its default counts as not given, so later parameters do
        not change the fingerprints of requests that do not use them.
        """
        kind: Any = type(self)
        names, defaults, values_in = _parameters(kind)
        values = values_in(self)
        plain: dict[str, Any] = {"messages": [_identity(message) for message in self.messages]}
        if values != defaults:  # many requests are messages alone
            told = zip(names, values, defaults, strict=True)
            given = {name: value for name, value, default in told if value != default}
            if self.tools:
                given["tools"] = [tool.plain() for tool in self.tools]
            plain |= json_copy(given, where="Request")
        return digest(plain)


def _identity(message: Message) -> list[Any]:
    content = message.content
    if isinstance(content, str):
        return [message.role, content]
    return [message.role, [identity_of(part) for part in content]]


@functools.cache
def _parameters(
    kind: type[Any],
) -> tuple[tuple[str, ...], tuple[object, ...], Callable[[Any], tuple[Any, ...]]]:
    """Answer the parameters of requests, apart from the messages, each one's default, a getter."""
    fields = [field for field in attrs.fields(kind) if field.name != "messages"]
    names = tuple(field.name for field in fields)
    defaults = tuple({} if field.name == "extra" else field.default for field in fields)
    return names, defaults, operator.attrgetter(*names)


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
class TokenLogprob:
    """One token of an answer, and how likely the model thought it (natural logarithm)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest tokens at this place, as far as asked for, and their logarithms."""


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

    parts: tuple[Part, ...] = attrs.field(default=(), kw_only=True)
    """All of the answer, in its order, where it is more than the text."""

    logprobs: tuple[TokenLogprob, ...] = attrs.field(default=(), kw_only=True)
    """Of ``Request.logprobs``; empty where the provider does not tell."""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools that the model wants."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def reasoning(self) -> str:
        """What the model thought, as far as the provider shows it."""
        return "".join(part.text for part in self.parts if isinstance(part, Reasoning))

    @property
    def message(self) -> Message:
        """The answer as a turn of the conversation, to go on with it."""
        return Message("assistant", self.parts or self.text)


@attrs.frozen
class Chunk:
    """
    A piece of an answer that is streamed.

    The last chunk of a whole answer has a *finish_reason*, and tells what a `Response` tells; no
    other has one. `join_chunks` makes the `Response` of all.
    """

    text: str = ""
    """What comes next of the answer's text; empty where other things are told."""

    reasoning: str = attrs.field(default="", kw_only=True)
    """What comes next of the reasoning."""

    tool_call: ToolCall | None = attrs.field(default=None, kw_only=True)
    """What comes next of a tool's call: its ``arguments`` are a piece of them."""

    finish_reason: FinishReason | None = attrs.field(default=None, kw_only=True)
    usage: Usage | None = attrs.field(default=None, kw_only=True)
    """What was used from the beginning up to here, where the provider says."""

    model: str = attrs.field(default="", kw_only=True)
    request_id: str | None = attrs.field(default=None, kw_only=True)
    raw_finish_reason: str | None = attrs.field(default=None, kw_only=True)
    attributes: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """What else this piece brings; the last one's are complete."""

    parts: tuple[Part, ...] = attrs.field(default=(), kw_only=True)
    """``Response.parts``; of the last one only."""

    logprobs: tuple[TokenLogprob, ...] = attrs.field(default=(), kw_only=True)
    """``Response.logprobs``; of the last one only."""


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
        parts=last.parts,
        logprobs=last.logprobs,
    )
