"""The document of an answer of Anthropic's Messages API as a `Response`, or what error it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import ContextOverflow, InvalidAnswer, PipelineError, Refused, Truncated
from genai_pipeline.messages import FinishReason, Request, Response, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._answers import as_json, as_label
from genai_pipeline.providers._anthropic_failures import FAILURES, told_error
from genai_pipeline.providers._dialect import Verdict
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
_MAX_TOKENS = 2**53
_QUOTED = 300


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
    request_id = request_id or _text(document.get("id")) or None
    if not isinstance(document.get("content"), list):
        told = f"{who}: the answer holds no content{_quoted(request_id)}"
        return _nothing(InvalidAnswer(told), request_id, usage)
    return _judge(request, _response(document, headers, request_id), who)


def usage_of(usage: object) -> Usage:
    """Answer what the object *usage* tells, where the API counts what is cached beside."""
    told = _dict(usage)
    cached = _count(told.get("cache_read_input_tokens"))
    written = _count(told.get("cache_creation_input_tokens"))
    output = _count(told.get("output_tokens"))
    thinking = _count(_dict(told.get("output_tokens_details")).get("thinking_tokens"))
    return Usage(
        input_tokens=_count(told.get("input_tokens")) + cached + written,
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
        model=_text(document.get("model")),
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
    attributes |= {name: told for name in _KEPT_OF_USAGE if (told := _dict(usage).get(name))}
    if any(block.get("type") not in _KNOWN or block.get("citations") for block in blocks):
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
        text = _text(block.get("text"))
        return Text(text) if text else None
    if kind == "thinking":
        signature = _text(block.get("signature")) or None
        return Reasoning(_text(block.get("thinking")), signature=signature)
    if kind == "redacted_thinking":
        return Reasoning(signature=_text(block.get("data")), hidden=True)
    if kind == "tool_use":
        arguments = _arguments(block.get("input"))
        return ToolCall(_text(block.get("name")), arguments, id=_text(block.get("id")))
    return None


def _arguments(told: object) -> str:
    """Answer JSON text; what the model wrote of an object that was cut is text already."""
    if isinstance(told, str):
        return told
    return json.dumps({} if told is None else told, ensure_ascii=False)


def _judge(request: Request, response: Response, who: str) -> Verdict:
    """Hold *response* against what was asked for."""
    finish = response.finish_reason
    if finish == "refusal":
        return Verdict(response, _refusal(response, who))
    if (request.labels is None and request.schema is None) or finish == "tool":
        return Verdict(response)
    if finish == "length":
        return Verdict(response, _cut(response, who))
    if request.labels is not None:
        text = as_label(response.text, request.labels)
        wanted = "none of the labels"
    else:
        text = as_json(response.text, request.schema or {})
        wanted = "no JSON document of the schema"
    if text is None:
        told = f"{who}: the answer {response.text[:100]!r} is {wanted}"
        return Verdict(response, InvalidAnswer(f"{told}{_quoted(response.request_id)}"))
    return Verdict(attrs.evolve(response, text=text))


def _refusal(response: Response, who: str) -> Refused:
    details = _dict(response.attributes.get("stop_details"))
    kind = _text(details.get("category"))
    said = _text(details.get("explanation")) or response.text
    told = (f" ({kind[:80]})" if kind else "") + (f": {said[:_QUOTED]}" if said else "")
    where = _quoted(response.request_id)
    return Refused(f"{who}: the model refused{told}{where}", explanation=said or kind)


def _cut(response: Response, who: str) -> PipelineError:
    where = _quoted(response.request_id)
    if response.raw_finish_reason == _FULL:
        return ContextOverflow(
            f"{who}: cut where the model's context was full, so not whole; ask with less{where}"
        )
    return Truncated(
        f"{who}: cut at the output limit, so not whole; raise max_output_tokens{where}",
        partial=response.text,
    )


def _nothing(error: PipelineError, request_id: str | None, usage: Usage | None = None) -> Verdict:
    return Verdict(Response("", usage=usage or Usage(), request_id=request_id), error)


def _quoted(request_id: str | None) -> str:
    return f" (request {request_id[:80]})" if request_id else ""


def _count(value: object) -> int:
    if type(value) is not int and type(value) is not float:
        return 0
    return int(value) if 0 < value < _MAX_TOKENS else 0


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
