"""The JSON of a Converse answer as a `Response`, or the error that it means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import InvalidAnswer, Overloaded, PipelineError, QuotaExhausted
from genai_pipeline.messages import FinishReason, Request, Response, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_list, as_text, quoted
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._failures import COMMON_RULES, Rule

__all__ = ["FAILURES", "read_converse", "usage_of"]

_FINISH: dict[str, FinishReason] = {
    "": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
}
_MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
_KEPT = ("serviceTier", "performanceConfig", "trace", "additionalModelResponseFields")

_DAILY = Rule(kind=QuotaExhausted, statuses={429}, text=re.compile(r"\bper day\b"))
_QUOTA = Rule(kind=QuotaExhausted, codes=frozenset({"servicequotaexceededexception"}))
_LOADING = Rule(kind=Overloaded, codes=frozenset({"modelnotreadyexception"}))

FAILURES = FailureFormat(
    rules=(_DAILY, _QUOTA, _LOADING, *COMMON_RULES),
    request_id_headers=("x-amzn-requestid",),
    code_header="x-amzn-errortype",
)
"""How Bedrock tells of failures: the kind is in a header."""


def read_converse(
    request: Request, document: object, headers: Mapping[str, str], who: str
) -> Verdict:
    """Answer what *document*, sent with a status of success, means for *request*. Never raises."""
    request_id = FAILURES.request_id(headers)
    if not isinstance(document, dict):
        invalid = InvalidAnswer(f"{who}: the answer is no JSON object")
        return Verdict(Response("", request_id=request_id), invalid)
    response = _response(document, request_id)
    message = as_dict(document.get("output")).get("message")
    if not isinstance(message, dict):
        invalid = InvalidAnswer(f"{who}: the answer holds no message{quoted(request_id)}")
        return Verdict(response, invalid)
    reason = response.raw_finish_reason or ""
    if reason in _MALFORMED:
        told = f"{who}: {reason}: the model's answer has no proper form{quoted(request_id)}"
        return Verdict(response, InvalidAnswer(told))
    refusal = ""
    if response.finish_reason == "filter":
        refusal = response.text or reason
    empty = not response.text and not response.parts
    found = held_against(request, response, who, refusal=refusal, empty=empty)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def _response(document: dict[str, Any], request_id: str | None) -> Response:
    raw = as_text(document.get("stopReason"))
    content = as_dict(as_dict(document.get("output")).get("message")).get("content")
    parts = tuple(part for each in as_list(content) if (part := _part(as_dict(each))) is not None)
    attributes = {name: document[name] for name in _KEPT if document.get(name)}
    latency = as_count(as_dict(document.get("metrics")).get("latencyMs"))
    if latency:
        attributes["server_seconds"] = latency / 1000
    if not isinstance(document.get("usage"), dict):
        attributes["usage_missing"] = True
    return Response(
        "".join(part.text for part in parts if isinstance(part, Text)),
        usage=usage_of(document.get("usage")),
        finish_reason=_FINISH.get(raw, "other"),
        request_id=request_id,
        raw_finish_reason=raw or None,
        attributes=attributes,
        parts=() if all(isinstance(part, Text) for part in parts) else parts,
    )


def _part(told: dict[str, Any]) -> Part | None:
    """Answer the part that a block is; kinds that are not known are passed over."""
    if isinstance(told.get("text"), str):
        return Text(told["text"]) if told["text"] else None
    if isinstance(told.get("toolUse"), dict):
        call = told["toolUse"]
        arguments = call.get("input")
        if not isinstance(arguments, str):
            arguments = json.dumps(as_dict(arguments), ensure_ascii=False, separators=(",", ":"))
        return ToolCall(as_text(call.get("name")), arguments, id=as_text(call.get("toolUseId")))
    thought = told.get("reasoningContent")
    if not isinstance(thought, dict):
        return None
    if isinstance(thought.get("redactedContent"), str):
        return Reasoning(signature=thought["redactedContent"], hidden=True)
    said = as_dict(thought.get("reasoningText"))
    return Reasoning(as_text(said.get("text")), signature=as_text(said.get("signature")) or None)


def usage_of(usage: object) -> Usage:
    """
    Answer what ``usage`` tells; whatever is not understood counts as zero.

    What was read from a cache, or written to one, is told beside ``inputTokens``, and is a part
    of the input here.
    """
    told = as_dict(usage)
    cached = as_count(told.get("cacheReadInputTokens"))
    written = as_count(told.get("cacheWriteInputTokens"))
    return Usage(
        input_tokens=as_count(told.get("inputTokens")) + cached + written,
        output_tokens=as_count(told.get("outputTokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
    )
