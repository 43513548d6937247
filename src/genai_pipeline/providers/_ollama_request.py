"""A `Request` as the JSON body of Ollama's ``/api/chat``."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from genai_pipeline._tools import Tool
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Message, Request
from genai_pipeline.parts import Image, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers._answers import label_schema
from genai_pipeline.providers._rules import arguments_of, refuse_extra, refuse_options, refuse_parts

__all__ = ["ollama_body"]

_TAKES = (
    *("max_output_tokens", "temperature", "top_p", "seed", "stop", "labels", "schema"),
    *("reasoning_effort", "tools", "logprobs"),
)
_NAMES = {
    "max_output_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
}
_EFFORTS: dict[str, bool | str] = {"none": False, "low": "low", "medium": "medium", "high": "high"}


def ollama_body(request: Request, who: str, *, streamed: bool) -> dict[str, Any]:
    """
    Answer the body that asks for *request*; *who* begins the message of an error.

    What ``extra`` has of ``options`` is put to the request's own. Raises `ConfigurationError` for
    what the API cannot do.
    """
    refuse_options(request, who, takes=_TAKES)
    refuse_parts(request, who, takes=(Text, Image, Reasoning, ToolCall, ToolResult))
    messages = [] if request.system is None else [{"role": "system", "content": request.system}]
    for message in request.messages:
        messages.extend(_turns(message, who))
    body: dict[str, Any] = {"messages": messages, "stream": streamed}
    schema = request.schema if request.labels is None else label_schema(request.labels)
    if schema is not None:
        body["format"] = dict(schema)
    if request.tools:
        body["tools"] = [{"type": "function", "function": _function(t, who)} for t in request.tools]
    if request.reasoning_effort is not None:
        body["think"] = _thinking(request.reasoning_effort, who)
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    options = _options(request, who)
    if options:
        body["options"] = options
    refuse_extra(request, who, taken=body.keys() - {"options"} | {"model"})
    return {**request.extra, **body}


def _options(request: Request, who: str) -> dict[str, Any]:
    options = {name: getattr(request, ours) for ours, name in _NAMES.items()}
    options = {name: value for name, value in options.items() if value is not None}
    if request.stop:
        options["stop"] = list(request.stop)
    more = request.extra.get("options", {})
    if not isinstance(more, Mapping):
        raise ConfigurationError(f"{who}: extra['options']={more!r}; give a mapping")
    for name, value in more.items():
        if name in options:
            raise ConfigurationError(
                f"{who}: extra['options'][{name!r}]={value!r} would override what the request "
                "itself says; set it there"
            )
    return options | dict(more)


def _thinking(effort: str, who: str) -> bool | str:
    if effort not in _EFFORTS:
        raise ConfigurationError(
            f"{who}: reasoning_effort={effort!r}; this API knows {', '.join(_EFFORTS)}"
        )
    return _EFFORTS[effort]


def _function(tool: Tool, who: str) -> dict[str, Any]:
    if tool.strict:
        raise ConfigurationError(
            f"{who}: the tool {tool.name!r} is strict; this API holds no call to a schema, give "
            "strict=False"
        )
    told = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **told, "parameters": dict(tool.parameters)}


def _turns(message: Message, who: str) -> Iterator[dict[str, Any]]:
    content = message.content
    if isinstance(content, str):
        yield {"role": message.role, "content": content}
        return
    results = [part for part in content if isinstance(part, ToolResult)]
    for result in results:
        yield {"role": "tool", "content": result.content, "tool_name": result.name}
    if results:
        return
    turn: dict[str, Any] = {"role": message.role, "content": message.text}
    images = [_image(part, who) for part in content if isinstance(part, Image)]
    thought = "".join(part.text for part in content if isinstance(part, Reasoning))
    calls = [_call(part, who) for part in content if isinstance(part, ToolCall)]
    told = {"images": images, "thinking": thought, "tool_calls": calls}
    yield turn | {name: value for name, value in told.items() if value}


def _image(part: Image, who: str) -> str:
    if part.data is None:
        raise ConfigurationError(
            f"{who}: Image(url={part.url!r}); this API reads no addresses, give data="
        )
    if part.detail is not None:
        raise ConfigurationError(
            f"{who}: Image(detail={part.detail!r}); this API has no such parameter, leave it out"
        )
    return base64.b64encode(part.data).decode("ascii")


def _call(part: ToolCall, who: str) -> dict[str, Any]:
    return {"function": {"name": part.name, "arguments": arguments_of(part, who)}}
