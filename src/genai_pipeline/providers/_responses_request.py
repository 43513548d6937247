"""A `Request` as the JSON body of a call of OpenAI's Responses API."""

from __future__ import annotations

from typing import Any

import attrs

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers._answers import is_strict, label_schema, schema_name
from genai_pipeline.providers._responses_items import input_items, response_choice, response_tools
from genai_pipeline.providers._rules import refuse_options, refuse_parts, refuse_streamed_labels

__all__ = ["Asked", "count_body", "response_body"]

_TAKES = (
    *("max_output_tokens", "temperature", "top_p", "reasoning_effort", "logprobs"),
    *("tools", "tool_choice", "labels", "schema"),
)
_PARTS = (Text, Image, File, Reasoning, ToolCall, ToolResult)
_JOINED = ("include", "reasoning", "text")
_SCORES = "message.output_text.logprobs"
_COUNTED = (
    *("model", "input", "instructions", "reasoning", "text", "tools", "tool_choice"),
    *("conversation", "parallel_tool_calls", "previous_response_id", "truncation"),
)


@attrs.frozen
class Asked:
    """What is asked of every call of a model."""

    model: str
    stored: bool = False
    summary: str | None = None
    """How to summarise the reasoning."""


def response_body(
    request: Request, asked: Asked, who: str, *, streamed: bool = False
) -> dict[str, Any]:
    """
    Answer the body that asks for *request*; *who* begins the message of each error.

    Raises `ConfigurationError` for what the API has no form for, for what is in
    ``Request.extra`` and has a field of its own, or would change the form of the answer, and for
    labels when the answer is *streamed*.
    """
    refuse_options(request, who, takes=_TAKES)
    refuse_parts(request, who, takes=_PARTS)
    body: dict[str, Any] = {
        "model": asked.model,
        "input": input_items(request.messages, stored=asked.stored),
        "store": asked.stored,
        **_options(request, asked),
    }
    if streamed:
        refuse_streamed_labels(request, who)
        body["stream"] = True
    return _with_extra(request, body, who)


def count_body(request: Request, asked: Asked, who: str) -> dict[str, Any]:
    """Answer the body that asks how many tokens *request* comes to."""
    body = response_body(request, asked, who)
    return {name: body[name] for name in _COUNTED if name in body}


def _options(request: Request, asked: Asked) -> dict[str, Any]:
    options: dict[str, Any] = {
        "instructions": request.system,
        "max_output_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_logprobs": request.logprobs,
        "include": None if request.logprobs is None else [_SCORES],
        "reasoning": _known(effort=request.reasoning_effort, summary=asked.summary) or None,
        "tools": response_tools(request.tools) or None,
        "text": _form(request),
    }
    if request.tool_choice is not None:
        options["tool_choice"] = response_choice(request.tool_choice)
    return _known(**options)


def _known(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _form(request: Request) -> dict[str, Any] | None:
    if request.labels is not None:
        return _schema("label", label_schema(request.labels), strict=True)
    if request.schema is None:
        return None
    schema = dict(request.schema)
    name = schema_name(schema, digest(json_copy(schema, where="Request: schema")))
    return _schema(name, schema, strict=is_strict(schema))


def _schema(name: str, schema: dict[str, Any], *, strict: bool) -> dict[str, Any]:
    form = {"type": "json_schema", "name": name, "schema": schema, "strict": strict}
    return {"format": form}


def _with_extra(request: Request, body: dict[str, Any], who: str) -> dict[str, Any]:
    """Answer *body* with what is extra; objects and lists that both have are put together."""
    for name, value in request.extra.items():
        if name in {"stream", "background"} and value:
            raise ConfigurationError(
                f"{who}: extra[{name!r}]={value!r}; a call waits for the whole answer, give none"
            )
        body[name] = _joined(body.get(name), value, name, who) if name in body else value
    return body


def _joined(ours: Any, extra: Any, name: str, who: str) -> Any:
    if name in _JOINED and isinstance(ours, list) and isinstance(extra, list):
        return [*ours, *(each for each in extra if each not in ours)]
    if name in _JOINED and isinstance(ours, dict) and isinstance(extra, dict):
        joined = {**extra, **ours}
        if len(joined) == len(ours) + len(extra):
            return joined
    raise ConfigurationError(
        f"{who}: extra[{name!r}]={extra!r} would override what the request itself says; set it "
        "there, or at the provider"
    )
