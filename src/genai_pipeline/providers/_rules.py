"""What an API cannot do is refused before anything is sent, and never silently left out."""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import Any

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request

__all__ = ["refuse_extra", "refuse_options", "refuse_parts"]

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


def refuse_extra(request: Request, who: str, *, taken: Container[str]) -> None:
    """Raise `ConfigurationError` for what is in ``extra`` and has a field of its own in *taken*."""
    for name, value in request.extra.items():
        if name in taken:
            raise ConfigurationError(
                f"{who}: extra[{name!r}]={value!r} would override what the request itself says; "
                "set it there, or at the provider"
            )
