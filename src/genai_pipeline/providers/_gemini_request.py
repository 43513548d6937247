"""A `Request` as the JSON body of ``generateContent``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline._tools import Tool
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.providers._answers import label_schema
from genai_pipeline.providers._gemini_parts import gemini_contents, gemini_system

__all__ = ["gemini_body", "gemini_config"]

_NAMES = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "max_output_tokens": "maxOutputTokens",
}
_LEVELS = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def gemini_body(request: Request, who: str) -> dict[str, Any]:
    """
    Answer the body that asks for *request*; *who* begins the message of an error.

    What ``extra`` has of ``generationConfig`` is put to the request's own. Raises
    `ConfigurationError` when it holds what has a field of its own.
    """
    body: dict[str, Any] = {"contents": gemini_contents(request, who)}
    system = gemini_system(request)
    if system:
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        body["tools"] = [{"functionDeclarations": [_function(tool) for tool in request.tools]}]
        mode = _calling(request)
        if mode:
            body["toolConfig"] = {"functionCallingConfig": mode}
    config = gemini_config(request, who)
    if config:
        body["generationConfig"] = config
    extra = {name: each for name, each in request.extra.items() if name != "generationConfig"}
    for name, value in extra.items():
        if name in body:
            raise ConfigurationError(_overriding(who, f"extra[{name!r}]={value!r}"))
    return body | extra


def gemini_config(request: Request, who: str) -> dict[str, Any]:
    """Answer ``generationConfig``."""
    config = {name: getattr(request, ours) for ours, name in _NAMES.items()}
    config = {name: value for name, value in config.items() if value is not None}
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.logprobs is not None:
        config |= {"responseLogprobs": True, "logprobs": request.logprobs}
    if request.reasoning_effort is not None:
        config["thinkingConfig"] = _thinking(request.reasoning_effort, who)
    schema = request.schema if request.labels is None else label_schema(request.labels)
    if schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": dict(schema)}
    more = request.extra.get("generationConfig", {})
    if not isinstance(more, Mapping):
        raise ConfigurationError(f"{who}: extra['generationConfig']={more!r}; give a mapping")
    if more.get("candidateCount", 1) != 1:
        raise ConfigurationError(
            f"{who}: candidateCount={more['candidateCount']!r}; one answer is read of each call, "
            "give none, and make several calls"
        )
    for name, value in more.items():
        if name in config:
            told = f"extra['generationConfig'][{name!r}]={value!r}"
            raise ConfigurationError(_overriding(who, told))
    return config | dict(more)


def _thinking(effort: str, who: str) -> dict[str, Any]:
    if effort == "none":
        return {"thinkingBudget": 0}
    if effort not in _LEVELS:
        raise ConfigurationError(
            f"{who}: reasoning_effort={effort!r}; this API knows none, {', '.join(_LEVELS)}"
        )
    return {"thinkingLevel": _LEVELS[effort]}


def _function(tool: Tool) -> dict[str, Any]:
    told = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **told, "parametersJsonSchema": dict(tool.parameters)}


def _calling(request: Request) -> dict[str, Any] | None:
    """Answer how to choose among the tools; held to their schemas where one of them asks for it."""
    choice = request.tool_choice
    if choice is None or choice == "auto":
        strict = any(tool.strict for tool in request.tools)
        return {"mode": "VALIDATED"} if strict else {"mode": "AUTO"} if choice else None
    if choice in _MODES:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


def _overriding(who: str, told: str) -> str:
    return (
        f"{who}: {told} would override what the request itself says; set it there, or at the "
        "provider"
    )
