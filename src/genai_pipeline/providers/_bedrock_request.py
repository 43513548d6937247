"""A `Request` as the JSON body of Bedrock's Converse API."""

from __future__ import annotations

import json
from typing import Any

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._tools import Tool
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.providers._answers import label_schema, schema_name
from genai_pipeline.providers._bedrock_content import converse_messages
from genai_pipeline.providers._rules import refuse_extra, refuse_options

__all__ = ["converse_body"]

_TAKES = (
    *("max_output_tokens", "temperature", "top_p", "stop", "labels", "schema"),
    *("reasoning_effort", "tools", "tool_choice"),
)
_NAMES = {"max_output_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def converse_body(request: Request, who: str) -> dict[str, Any]:
    """
    Answer the body that asks for *request*; *who* begins the message of an error.

    Raises `ConfigurationError` for what the API cannot do.
    """
    refuse_options(request, who, takes=_TAKES)
    body: dict[str, Any] = {"messages": converse_messages(request.messages, who)}
    if request.system is not None:
        body["system"] = [{"text": request.system}]
    inference = {name: getattr(request, ours) for ours, name in _NAMES.items()}
    inference = {name: value for name, value in inference.items() if value is not None}
    if request.stop:
        inference["stopSequences"] = list(request.stop)
    if inference:
        body["inferenceConfig"] = inference
    if request.tools:
        body["toolConfig"] = _tools(request, who)
    output = _output(request, who)
    if output:
        body["outputConfig"] = output
    refuse_extra(request, who, taken=body)
    return body | dict(request.extra)


def _tools(request: Request, who: str) -> dict[str, Any]:
    config: dict[str, Any] = {"tools": [{"toolSpec": _tool(tool)} for tool in request.tools]}
    choice = request.tool_choice
    if choice == "none":
        raise ConfigurationError(
            f"{who}: tool_choice='none'; this API has no such choice, leave the tools out"
        )
    if choice is not None:
        kinds: dict[str, dict[str, Any]] = {"auto": {"auto": {}}, "required": {"any": {}}}
        config["toolChoice"] = kinds.get(choice, {"tool": {"name": choice}})
    return config


def _tool(tool: Tool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": dict(tool.parameters)}}
    if tool.description:
        told["description"] = tool.description
    if tool.strict:
        told["strict"] = True
    return told


def _output(request: Request, who: str) -> dict[str, Any]:
    output: dict[str, Any] = {}
    effort = request.reasoning_effort
    if effort is not None:
        if effort not in _EFFORTS:
            raise ConfigurationError(
                f"{who}: reasoning_effort={effort!r}; this API knows {', '.join(_EFFORTS)}"
            )
        output["effort"] = effort
    schema = request.schema if request.labels is None else label_schema(request.labels)
    if schema is not None:
        plain = json_copy(schema, where="Request: schema")
        name = "label" if request.labels is not None else schema_name(schema, digest(plain))
        named = {"name": name, "schema": json.dumps(plain, separators=(",", ":"))}
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": named}}
    return output
