"""The JSON of a ``generateContent`` answer as a `Response`, or the error that it means."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import InvalidAnswer, PipelineError, QuotaExhausted
from genai_pipeline.messages import FinishReason, Request, Response, TokenLogprob, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_list, as_text, quoted
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._failures import COMMON_RULES, Rule, to_error

__all__ = ["FAILURES", "error_of", "parts_of", "read_content", "usage_of"]

_FINISH: dict[str, FinishReason] = {
    "": "stop",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
        ),
        "filter",
    ),
}
_MALFORMED = frozenset(
    {
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"),
    }
)
_KEPT = (
    *("finishMessage", "safetyRatings", "citationMetadata", "groundingMetadata", "avgLogprobs"),
    "continuationToken",
)
_SERVER_ERROR = 500
_LEAST = -1e300

# A quota of a day, or one of nothing at all, does not pass while anybody waits.
_DAILY = Rule(kind=QuotaExhausted, statuses={429}, codes=re.compile("perday"))
_NONE_AT_ALL = Rule(kind=QuotaExhausted, statuses={429}, text=re.compile(r"\blimit: 0\b"))

FAILURES = FailureFormat(rules=(_DAILY, _NONE_AT_ALL, *COMMON_RULES), request_id_headers=())
"""How Gemini tells of failures: it has no headers for it, and the waits are in the bodies."""


def error_of(document: Mapping[str, Any], who: str) -> PipelineError | None:
    """Answer the error that *document*, sent with a status of success, tells of, if it does."""
    error = document.get("error")
    if not error:
        return None
    code = as_dict(error).get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else _SERVER_ERROR  # noqa: PLR2004
    return to_error(failure_in(status, {"error": error}), who, FAILURES.rules)


def read_content(request: Request, document: object, who: str) -> Verdict:
    """Answer what *document*, a whole answer or an error, means for *request*. Never raises."""
    if not isinstance(document, dict):
        return Verdict(Response(""), InvalidAnswer(f"{who}: the answer is no JSON object"))
    request_id = as_text(document.get("responseId")) or None
    usage = usage_of(document.get("usageMetadata"))
    failed = error_of(document, who)
    if failed is not None:
        return Verdict(Response("", usage=usage, request_id=request_id), failed)
    candidate = as_dict(next(iter(as_list(document.get("candidates"))), None))
    blocked = as_text(as_dict(document.get("promptFeedback")).get("blockReason"))
    response = _response(document, candidate, blocked, usage, request_id)
    reason = response.raw_finish_reason or ""
    if reason in _MALFORMED:
        told = as_text(candidate.get("finishMessage")) or "the model's answer has no proper form"
        invalid = InvalidAnswer(f"{who}: {reason}: {told[:300]}{quoted(request_id)}")
        return Verdict(response, invalid)
    if not candidate and not blocked:
        invalid = InvalidAnswer(f"{who}: the answer holds no candidates{quoted(request_id)}")
        return Verdict(response, invalid)
    refusal = f"the prompt is blocked ({blocked})" if blocked else ""
    if response.finish_reason == "filter" and not refusal:
        refusal = as_text(candidate.get("finishMessage")) or reason
    empty = not response.parts and not response.text
    found = held_against(request, response, who, refusal=refusal, empty=empty)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def _response(
    document: dict[str, Any],
    candidate: dict[str, Any],
    blocked: str,
    usage: Usage,
    request_id: str | None,
) -> Response:
    raw = blocked or as_text(candidate.get("finishReason"))
    parts = parts_of(as_dict(candidate.get("content")).get("parts"))
    finish: FinishReason = "filter" if blocked else _FINISH.get(raw, "other")
    if finish == "stop" and any(isinstance(part, ToolCall) for part in parts):
        finish = "tool"
    attributes = {name: candidate[name] for name in _KEPT if candidate.get(name)}
    tier = as_text(as_dict(document.get("usageMetadata")).get("serviceTier"))
    if tier:
        attributes["service_tier"] = tier
    if not isinstance(document.get("usageMetadata"), dict):
        attributes["usage_missing"] = True
    return Response(
        "".join(part.text for part in parts if isinstance(part, Text)),
        usage=usage,
        finish_reason=finish,
        model=as_text(document.get("modelVersion")),
        request_id=request_id,
        raw_finish_reason=raw or None,
        attributes=attributes,
        parts=() if all(type(part) is Text and part.signature is None for part in parts) else parts,
        logprobs=_logprobs(candidate.get("logprobsResult")),
    )


def parts_of(told: object) -> tuple[Part, ...]:
    """Answer the parts of a candidate's content; kinds that are not known are passed over."""
    return tuple(part for each in as_list(told) if (part := _part(as_dict(each))) is not None)


def _part(told: dict[str, Any]) -> Part | None:
    signature = as_text(told.get("thoughtSignature")) or None
    if isinstance(told.get("functionCall"), dict):
        call = told["functionCall"]
        return ToolCall(
            as_text(call.get("name")),
            json.dumps(as_dict(call.get("args")), ensure_ascii=False, separators=(",", ":")),
            id=as_text(call.get("id")),
            signature=signature,
        )
    if not isinstance(told.get("text"), str):
        return None
    if told.get("thought") is True:
        return Reasoning(told["text"], signature=signature)
    return Text(told["text"], signature=signature) if told["text"] or signature else None


def usage_of(usage: object) -> Usage:
    """
    Answer what ``usageMetadata`` tells; whatever is not understood counts as zero.

    What the model thought is told beside the answer's tokens, and counted with them here.
    """
    told = as_dict(usage)
    reads = as_count(told.get("promptTokenCount")) + as_count(told.get("toolUsePromptTokenCount"))
    thought = as_count(told.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=reads,
        output_tokens=as_count(told.get("candidatesTokenCount")) + thought,
        cached_tokens=min(reads, as_count(told.get("cachedContentTokenCount"))),
        reasoning_tokens=thought,
    )


def _logprobs(told: object) -> tuple[TokenLogprob, ...]:
    chosen = map(as_dict, as_list(as_dict(told).get("chosenCandidates")))
    others = [as_dict(each) for each in as_list(as_dict(told).get("topCandidates"))]
    return tuple(
        TokenLogprob(*_score(each), tuple(map(_score, _alternatives(others, index))))
        for index, each in enumerate(chosen)
    )


def _alternatives(others: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    found = others[index].get("candidates") if index < len(others) else None
    return [as_dict(each) for each in as_list(found)]


def _score(told: dict[str, Any]) -> tuple[str, float]:
    value = told.get("logProbability", 0.0)  # a zero is left out on the wire
    fine = type(value) in {int, float} and _LEAST < value <= 0
    return as_text(told.get("token")), float(value) if fine else -math.inf
