"""The document of a Chat Completions answer as a `Response`, or the error that it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from genai_pipeline.errors import InvalidAnswer, PipelineError
from genai_pipeline.messages import FinishReason, Request, Response, TokenLogprob, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_list, as_text, quoted
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failures import to_error
from genai_pipeline.providers._retry_after import rate_limits

__all__ = ["content_of", "logprobs_of", "read_document", "reasoning_of", "usage_of"]

_FINISH: dict[str, FinishReason] = {
    "": "stop",
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "filter",
    "refusal": "refusal",
}
_KEPT = ("moderation", "service_tier", "system_fingerprint")
_MAX_TOKENS = 2**53
_NOTHING_USED = Usage()


def read_document(
    request: Request, document: object, headers: Mapping[str, str], who: str
) -> Verdict:
    """Answer what *document*, a whole answer or an error, means for *request*. Never raises."""
    request_id = headers.get("x-request-id")
    if not isinstance(document, dict):
        return _nothing(InvalidAnswer(f"{who}: the answer is no JSON object"), request_id)
    request_id = request_id or as_text(document.get("id")) or None
    choice = _first(document.get("choices"))
    error = document.get("error") or choice.get("error")
    if error:
        found = failure_in(_status_in(error), {"error": error}, request_id=request_id)
        return _nothing(to_error(found, who), request_id, usage_of(document.get("usage")))
    if not choice:
        invalid = InvalidAnswer(f"{who}: the answer holds no choices{quoted(request_id)}")
        return _nothing(invalid, request_id, usage_of(document.get("usage")))
    message = as_dict(choice.get("message"))
    response = _response(document, choice, message, headers, request_id)
    return _judge(request, response, message, who)


def _judge(request: Request, response: Response, message: dict[str, Any], who: str) -> Verdict:
    """Hold *response* against what was asked for."""
    refusal, empty = message.get("refusal"), message.get("content") is None
    told = as_text(refusal) or ("refused" if refusal else "")
    found = held_against(request, response, who, refusal=told, empty=empty)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def _response(
    document: dict[str, Any],
    choice: dict[str, Any],
    message: dict[str, Any],
    headers: Mapping[str, str],
    request_id: str | None,
) -> Response:
    raw = choice.get("finish_reason")
    raw = raw if isinstance(raw, str) else None
    usage = document.get("usage")
    attributes = {name: document[name] for name in _KEPT if document.get(name)}
    if message.get("annotations"):
        attributes["annotations"] = message["annotations"]
    limits = rate_limits(headers)
    if limits:
        attributes["rate_limits"] = limits
    if not isinstance(usage, dict):
        attributes["usage_missing"] = True
    text = content_of(message.get("content"))
    return Response(
        text,
        usage=usage_of(usage),
        finish_reason=_FINISH.get((raw or "").lower(), "other"),
        model=as_text(document.get("model")),
        request_id=request_id,
        raw_finish_reason=raw,
        attributes=attributes,
        parts=_parts(message, text),
        logprobs=logprobs_of(choice.get("logprobs")),
    )


def _parts(message: dict[str, Any], text: str) -> tuple[Part, ...]:
    """Answer all of the answer where it is more than *text*."""
    reasoning, told = reasoning_of(message), as_list(message.get("tool_calls"))
    calls = [call for call in map(_call, told) if call.name or call.id] if told else []
    if not reasoning and not calls:
        return ()
    parts: list[Part] = [Reasoning(reasoning)] if reasoning else []
    if text:
        parts.append(Text(text))
    return (*parts, *calls)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Answer what the model thought: ``reasoning``, or its older name ``reasoning_content``."""
    return as_text(message.get("reasoning")) or as_text(message.get("reasoning_content"))


def _call(told: object) -> ToolCall:
    function = as_dict(as_dict(told).get("function"))
    return ToolCall(
        as_text(function.get("name")),
        as_text(function.get("arguments")) or "{}",
        id=as_text(as_dict(told).get("id")),
    )


def logprobs_of(told: object) -> tuple[TokenLogprob, ...]:
    """Answer the scores in ``told["content"]``; figures that make no sense are -inf."""
    if not told:
        return ()
    tokens = map(as_dict, as_list(as_dict(told).get("content")))
    return tuple(
        TokenLogprob(
            as_text(token.get("token")),
            _logarithm(token.get("logprob")),
            tuple(
                (as_text(other.get("token")), _logarithm(other.get("logprob")))
                for other in map(as_dict, as_list(token.get("top_logprobs")))
            ),
        )
        for token in tokens
    )


def _logarithm(value: object) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if fine and -_MAX_TOKENS < value <= 0 else -math.inf  # type: ignore[arg-type,operator]


def content_of(content: object) -> str:
    """Answer the text of a message's *content*, whether it is one or several parts."""
    if isinstance(content, list):
        return "".join(
            as_text(part.get("text"))
            for part in content
            if isinstance(part, dict) and part.get("type", "text") in {"text", "output_text"}
        )
    return as_text(content)


def usage_of(usage: object) -> Usage:
    """Answer what the object *usage* tells; whatever is not understood counts as zero."""
    if not isinstance(usage, dict):
        return _NOTHING_USED
    told: dict[str, Any] = usage
    into, out = as_count(told.get("prompt_tokens")), as_count(told.get("completion_tokens"))
    read = as_dict(told.get("prompt_tokens_details"))
    written = as_dict(told.get("completion_tokens_details"))
    # Subsets by definition; some gateways count them beside.
    cached = min(into, as_count(read.get("cached_tokens"))) if read else 0
    fresh = min(into - cached, as_count(read.get("cache_write_tokens"))) if read else 0
    return Usage(
        input_tokens=into,
        output_tokens=out,
        cached_tokens=cached,
        cache_write_tokens=fresh,
        reasoning_tokens=min(out, as_count(written.get("reasoning_tokens"))) if written else 0,
        cost=_cost(told["cost"]) if "cost" in told else None,
    )


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value)[:40])
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost >= 0 else None


def _status_in(error: object) -> int:
    code = as_dict(error).get("code")
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) == 3:  # noqa: PLR2004
        code = int(code)
    fine = isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599  # noqa: PLR2004
    return code if fine and isinstance(code, int) else 500


def _nothing(error: PipelineError, request_id: str | None, usage: Usage | None = None) -> Verdict:
    return Verdict(Response("", usage=usage or Usage(), request_id=request_id), error)


def _first(choices: object) -> dict[str, Any]:
    return as_dict(choices[0]) if isinstance(choices, list) and choices else {}
