"""The document of an answer of Anthropic's Messages API as a `Response`, or what error it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import ContextOverflow, InvalidAnswer, PipelineError
from genai_pipeline.messages import FinishReason, Request, Response, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._anthropic_failures import FAILURES, told_error
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_text, quoted
from genai_pipeline.providers._retry_after import rate_limits

__all__ = ["read_message", "usage_of"]

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "refusal",
}
_FULL = "model_context_window_exceeded"
_KEPT = ("container", "stop_details", "stop_sequence")
_KEPT_OF_USAGE = ("inference_geo", "server_tool_use", "service_tier", "speed")
_KNOWN = frozenset({"redacted_thinking", "text", "thinking", "tool_use"})


def read_message(
    request: Request, document: object, headers: Mapping[str, str], who: str
) -> Verdict:
    """
    Answer what *document*, a message or an error, means for *request*.

    *who* begins the message of each error. Never raises.
    """
    request_id = FAILURES.request_id(headers)
    if not isinstance(document, dict):
        return _nothing(InvalidAnswer(f"{who}: the answer is no JSON object"), request_id)
    usage = usage_of(document.get("usage"))
    if document.get("error") or document.get("type") == "error":
        return _nothing(told_error(document, headers, who), request_id, usage)
    request_id = request_id or as_text(document.get("id")) or None
    if not isinstance(document.get("content"), list):
        told = f"{who}: the answer holds no content{quoted(request_id)}"
        return _nothing(InvalidAnswer(told), request_id, usage)
    return _judge(request, _response(document, headers, request_id), who)


def usage_of(usage: object) -> Usage:
    """Answer what the object *usage* tells, where the API counts what is cached beside."""
    told = as_dict(usage)
    cached = as_count(told.get("cache_read_input_tokens"))
    written = as_count(told.get("cache_creation_input_tokens"))
    output = as_count(told.get("output_tokens"))
    thinking = as_count(as_dict(told.get("output_tokens_details")).get("thinking_tokens"))
    return Usage(
        input_tokens=as_count(told.get("input_tokens")) + cached + written,
        output_tokens=output,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=min(output, thinking),
    )


def _response(
    document: dict[str, Any], headers: Mapping[str, str], request_id: str | None
) -> Response:
    blocks = [block for block in document["content"] if isinstance(block, dict)]
    raw = document.get("stop_reason")
    raw = raw if isinstance(raw, str) else None
    parts = tuple(part for block in blocks if (part := _part(block)) is not None)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    return Response(
        text,
        usage=usage_of(document.get("usage")),
        finish_reason=_FINISH.get(raw or "", "other"),
        model=as_text(document.get("model")),
        request_id=request_id,
        raw_finish_reason=raw,
        attributes=_attributes(document, blocks, headers),
        parts=() if all(isinstance(part, Text) for part in parts) else parts,
    )


def _attributes(
    document: dict[str, Any], blocks: list[dict[str, Any]], headers: Mapping[str, str]
) -> dict[str, Any]:
    usage = document.get("usage")
    attributes = {name: document[name] for name in _KEPT if document.get(name)}
    attributes |= {name: told for name in _KEPT_OF_USAGE if (told := as_dict(usage).get(name))}
    if any(as_text(block.get("type")) not in _KNOWN or block.get("citations") for block in blocks):
        attributes["content"] = blocks
    limits = rate_limits(headers)
    if limits:
        attributes["rate_limits"] = limits
    if not isinstance(usage, dict):
        attributes["usage_missing"] = True
    return attributes


def _part(block: dict[str, Any]) -> Part | None:
    kind = block.get("type")
    if kind == "text":
        text = as_text(block.get("text"))
        return Text(text) if text else None
    if kind == "thinking":
        signature = as_text(block.get("signature")) or None
        return Reasoning(as_text(block.get("thinking")), signature=signature)
    if kind == "redacted_thinking":
        return Reasoning(signature=as_text(block.get("data")), hidden=True)
    if kind == "tool_use":
        arguments = _arguments(block.get("input"))
        return ToolCall(as_text(block.get("name")), arguments, id=as_text(block.get("id")))
    return None


def _arguments(told: object) -> str:
    """Answer JSON text; what the model wrote of an object that was cut is text already."""
    if isinstance(told, str):
        return told
    return json.dumps({} if told is None else told, ensure_ascii=False, separators=(",", ":"))


def _judge(request: Request, response: Response, who: str) -> Verdict:
    """Hold *response* against what was asked for."""
    strict = request.labels is not None or request.schema is not None
    if strict and response.raw_finish_reason == _FULL:
        told = f"{who}: cut where the model's context was full, so not whole; ask with less"
        return Verdict(response, ContextOverflow(f"{told}{quoted(response.request_id)}"))
    details = as_dict(response.attributes.get("stop_details"))
    said = (as_text(details.get("category")), as_text(details.get("explanation")))
    refusal = ": ".join(filter(None, said)) if response.finish_reason == "refusal" else ""
    found = held_against(request, response, who, refusal=refusal, empty=False)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def _nothing(error: PipelineError, request_id: str | None, usage: Usage | None = None) -> Verdict:
    return Verdict(Response("", usage=usage or Usage(), request_id=request_id), error)
