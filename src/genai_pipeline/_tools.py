"""`Tool`: a function that a model may ask to have called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from genai_pipeline._canonical import json_copy
from genai_pipeline._options import check, flag
from genai_pipeline.errors import ConfigurationError

__all__ = ["Tool", "check_choice", "to_tools"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = ("auto", "none", "required")


def _name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and _NAME.fullmatch(value) is not None
    check(fine, owner, option.name, value, "1 to 64 ASCII letters, digits, - and _")


def _text(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(isinstance(value, str), owner, option.name, value, "text")


def _to_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    check(isinstance(schema, Mapping), "Tool", "parameters", schema, "a JSON Schema")
    copy: Mapping[str, Any] = json_copy(schema, where="Tool: parameters")
    return copy


def _no_parameters() -> Mapping[str, Any]:
    return {"type": "object", "properties": {}}


@attrs.frozen
class Tool:
    """
    Describes a function to the model, which answers with a `parts.ToolCall` where it wants one.

    Nothing is called by itself.
    """

    name: str = attrs.field(validator=_name)
    description: str = attrs.field(default="", validator=_text)
    parameters: Mapping[str, Any] = attrs.field(factory=_no_parameters, converter=_to_schema)
    """The JSON Schema of the arguments, of the type ``object``."""

    strict: bool = attrs.field(default=False, kw_only=True, validator=flag)
    """Hold the model to the schema, where the provider can; it then wants closed objects."""

    def plain(self) -> dict[str, Any]:
        """Answer it as plain JSON types, what is left at its default left out."""
        plain: dict[str, Any] = {"name": self.name, "parameters": self.parameters}
        if self.description:
            plain["description"] = self.description
        if self.strict:
            plain["strict"] = True
        return plain


def to_tools(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """Answer *tools*, each once; raises `ConfigurationError` for anything else."""
    if type(tools) is tuple and not tools:
        return ()
    check(isinstance(tools, Iterable), "Request", "tools", tools, "several Tools")
    chosen = tuple(tools)
    for tool in chosen:
        check(isinstance(tool, Tool), "Request", "tools", tool, "several Tools")
    names = [tool.name for tool in chosen]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"Request: tools={names!r}; give each tool once")
    return chosen


def check_choice(choice: str | None, tools: tuple[Tool, ...]) -> None:
    """Raise `ConfigurationError` unless *choice* can be made among *tools*."""
    if choice is None:
        return
    allowed = (*_CHOICES, *(tool.name for tool in tools))
    fine = bool(tools) and choice in allowed
    told = f"one of {', '.join(map(repr, allowed))}" if tools else "None, or tools="
    check(fine, "Request", "tool_choice", choice, told)
