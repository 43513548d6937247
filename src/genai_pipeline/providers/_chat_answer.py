"""The document of a Chat Completions answer as a `Response`, or the error that it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from genai_pipeline.errors import InvalidAnswer, PipelineError, Refused, Truncated
from genai_pipeline.messages import FinishReason, Request, Response, TokenLogprob, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._answers import as_json, as_label
from genai_pipeline.providers._dialect import Verdict
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
_KEPT = ("service_tier", "system_fingerprint")
_MAX_TOKENS = 2**53
_NOTHING_USED = Usage()


def read_document(
    request: Request, document: object, headers: Mapping[str, str], who: str
) -> Verdict:
    """Answer what *document*, a whole answer or an error, means for *request*. Never raises."""
    request_id = headers.get("x-request-id")
    if not isinstance(document, dict):
        return _nothing(InvalidAnswer(f"{who}: the answer is no JSON object"), request_id)
    request_id = request_id or _text(document.get("id")) or None
    choice = _first(document.get("choices"))
    error = document.get("error") or choice.get("error")
    if error:
        found = failure_in(_status_in(error), {"error": error}, request_id=request_id)
        return _nothing(to_error(found, who), request_id, usage_of(document.get("usage")))
    if not choice:
        invalid = InvalidAnswer(f"{who}: the answer holds no choices{_quoted(request_id)}")
        return _nothing(invalid, request_id, usage_of(document.get("usage")))
    message = _dict(choice.get("message"))
    response = _response(document, choice, message, headers, request_id)
    return _judge(request, response, message, who)


def _judge(request: Request, response: Response, message: dict[str, Any], who: str) -> Verdict:
    """Hold *response* against what was asked for."""
    finish = response.finish_reason
    if message.get("refusal") or finish in {"filter", "refusal"}:
        return Verdict(response, _refusal(response, _text(message.get("refusal")), who))
    strict = request.labels is not None or request.schema is not None
    if finish == "length" and strict:
        told = f"{who}: cut at the output limit, so not whole; raise max_output_tokens"
        cut = Truncated(f"{told}{_quoted(response.request_id)}", partial=response.text)
        return Verdict(response, cut)
    if finish in {"length", "tool"} and not strict:
        return Verdict(response)
    if message.get("content") is None:
        told = f"{who}: the answer holds no content{_quoted(response.request_id)}"
        return Verdict(response, InvalidAnswer(told))
    return _exact(request, response, who) if strict else Verdict(response)


def _refusal(response: Response, refusal: str, who: str) -> Refused:
    said = refusal or response.text
    told = f": {said[:300]}" if said else ""
    by = "the content filter" if response.finish_reason == "filter" else "the model"
    return Refused(f"{who}: {by} refused{told}{_quoted(response.request_id)}", explanation=said)


def _exact(request: Request, response: Response, who: str) -> Verdict:
    """Take the label or the JSON document out of the text."""
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
        model=_text(document.get("model")),
        request_id=request_id,
        raw_finish_reason=raw,
        attributes=attributes,
        parts=_parts(message, text),
        logprobs=logprobs_of(choice.get("logprobs")),
    )


def _parts(message: dict[str, Any], text: str) -> tuple[Part, ...]:
    """Answer all of the answer where it is more than *text*."""
    reasoning = reasoning_of(message)
    calls = [call for call in map(_call, _list(message.get("tool_calls"))) if call.name or call.id]
    if not reasoning and not calls:
        return ()
    parts: list[Part] = [Reasoning(reasoning)] if reasoning else []
    if text:
        parts.append(Text(text))
    return (*parts, *calls)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Answer what the model thought: ``reasoning``, or its older name ``reasoning_content``."""
    return _text(message.get("reasoning")) or _text(message.get("reasoning_content"))


def _call(told: object) -> ToolCall:
    function = _dict(_dict(told).get("function"))
    return ToolCall(
        _text(function.get("name")),
        _text(function.get("arguments")) or "{}",
        id=_text(_dict(told).get("id")),
    )


def logprobs_of(told: object) -> tuple[TokenLogprob, ...]:
    """Answer the scores in ``told["content"]``; figures that make no sense are -inf."""
    tokens = map(_dict, _list(_dict(told).get("content")))
    return tuple(
        TokenLogprob(
            _text(token.get("token")),
            _logarithm(token.get("logprob")),
            tuple(
                (_text(other.get("token")), _logarithm(other.get("logprob")))
                for other in map(_dict, _list(token.get("top_logprobs")))
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
            _text(part.get("text"))
            for part in content
            if isinstance(part, dict) and part.get("type", "text") in {"text", "output_text"}
        )
    return _text(content)


def usage_of(usage: object) -> Usage:
    """Answer what the object *usage* tells; whatever is not understood counts as zero."""
    if not isinstance(usage, dict):
        return _NOTHING_USED
    told: dict[str, Any] = usage
    into, out = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    read = _dict(told.get("prompt_tokens_details"))
    written = _dict(told.get("completion_tokens_details"))
    # Subsets by definition; some gateways count them beside.
    cached = min(into, _count(read.get("cached_tokens"))) if read else 0
    return Usage(
        input_tokens=into,
        output_tokens=out,
        cached_tokens=cached,
        cache_write_tokens=min(into - cached, _count(read.get("cache_write_tokens"))),
        reasoning_tokens=min(out, _count(written.get("reasoning_tokens"))) if written else 0,
        cost=_cost(told["cost"]) if "cost" in told else None,
    )


def _count(value: object) -> int:
    if type(value) is not int and type(value) is not float:
        return 0
    return int(value) if 0 < value < _MAX_TOKENS else 0


def _cost(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value)[:40])
    except InvalidOperation:
        return None
    return cost if cost.is_finite() and cost >= 0 else None


def _status_in(error: object) -> int:
    code = _dict(error).get("code")
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) == 3:  # noqa: PLR2004
        code = int(code)
    fine = isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599  # noqa: PLR2004
    return code if fine and isinstance(code, int) else 500


def _nothing(error: PipelineError, request_id: str | None, usage: Usage | None = None) -> Verdict:
    return Verdict(Response("", usage=usage or Usage(), request_id=request_id), error)


def _quoted(request_id: str | None) -> str:
    return f" (request {request_id[:80]})" if request_id else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _first(choices: object) -> dict[str, Any]:
    return _dict(choices[0]) if isinstance(choices, list) and choices else {}


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
