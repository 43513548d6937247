"""What an API cannot do is refused before anything is sent, and never silently left out."""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline.errors import ConfigurationError, InvalidAnswer
from genai_pipeline.messages import Request
from genai_pipeline.parts import ToolCall

if TYPE_CHECKING:
    from genai_pipeline.embeddings import EmbeddingRequest

__all__ = [
    "arguments_of",
    "refuse_extra",
    "refuse_options",
    "refuse_parts",
    "refuse_streamed_labels",
    "refuse_task",
]

_ALWAYS = ("messages", "system", "extra")


def refuse_options(request: Request, who: str, *, takes: Collection[str]) -> None:
    """
    Raise `ConfigurationError` for an option of *request* that is given and not among *takes*.

    *who* begins the message. The messages, ``system`` and ``extra`` are always taken.
    """
    for field in attrs.fields(type(request)):
        name = field.name
        if name in _ALWAYS or name in takes:
            continue
        value = getattr(request, name)
        if value != field.default:
            raise ConfigurationError(
                f"{who}: {name}={value!r}; this API has no such parameter, leave it out"
            )


def refuse_parts(request: Request, who: str, *, takes: tuple[type[Any], ...]) -> None:
    """Raise `ConfigurationError` for a part of a message that is of none of the kinds *takes*."""
    for index, message in enumerate(request.messages):
        if isinstance(message.content, str):
            continue
        for part in message.content:
            if not isinstance(part, takes):
                allowed = ", ".join(kind.__name__ for kind in takes)
                raise ConfigurationError(
                    f"{who}: message {index} holds {type(part).__name__}, which this API cannot "
                    f"take; it takes {allowed}"
                )


def refuse_streamed_labels(request: Request, who: str) -> None:
    """Raise `ConfigurationError` for labels in *request*, whose answer is to be streamed."""
    if request.labels is not None:
        raise ConfigurationError(
            f"{who}: labels={request.labels!r}; which one it is shows only at the end, so it "
            "cannot be streamed; call the provider itself"
        )


def arguments_of(call: ToolCall, who: str) -> dict[str, Any]:
    """Answer the arguments of *call*, or raise `ConfigurationError` where they are no object."""
    try:
        return call.parse()
    except InvalidAnswer:
        raise ConfigurationError(
            f"{who}: the arguments of the call of {call.name!r} are no JSON object, and this API "
            f"takes no others: {call.arguments[:100]!r}"
        ) from None


def refuse_extra(request: Request | EmbeddingRequest, who: str, *, taken: Container[str]) -> None:
    """Raise `ConfigurationError` for what is in ``extra`` and has a field of its own in *taken*."""
    for name, value in request.extra.items():
        if name in taken:
            raise ConfigurationError(
                f"{who}: extra[{name!r}]={value!r} would override what the request itself says; "
                "set it there, or at the provider"
            )


def refuse_task(request: EmbeddingRequest, who: str, *, of: str = "API") -> None:
    """Raise `ConfigurationError` where *request* says what the vectors are for."""
    if request.task is not None:
        raise ConfigurationError(
            f"{who}: task={request.task!r}; this {of} has no such parameter, leave it out"
        )
