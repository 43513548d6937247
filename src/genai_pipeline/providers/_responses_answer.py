"""The document of an answer of OpenAI's Responses API as a `Response`, or the error it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genai_pipeline.errors import InvalidAnswer, PipelineError
from genai_pipeline.messages import FinishReason, Request, Response, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._chat_answer import logprobs_of
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_list, as_text, quoted
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failures import to_error
from genai_pipeline.providers._responses_items import PHASES
from genai_pipeline.providers._retry_after import rate_limits

__all__ = ["error_of", "read_response", "usage_of"]

_CUT: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "filter"}
_KNOWN = frozenset({"message", "reasoning", "function_call"})
_KEPT = ("service_tier", "moderation")
_PASSING = frozenset({"", "server_error", "vector_store_timeout"})
_REFUSING = ("_policy", "policy_violation")
_COMMENTARY = PHASES[0]


def read_response(
    request: Request, document: object, headers: Mapping[str, str], who: str
) -> Verdict:
    """
    Answer what *document*, a response or an error, means for *request*.

    *who* begins the message of each error. Never raises.
    """
    request_id = headers.get("x-request-id")
    if not isinstance(document, dict):
        return _nothing(InvalidAnswer(f"{who}: the answer is no JSON object"), request_id)
    request_id = request_id or as_text(document.get("id")) or None
    usage = usage_of(document.get("usage"))
    status = as_text(document.get("status"))
    if document.get("error") or status == "failed":
        return _nothing(error_of(document.get("error"), who, request_id), request_id, usage)
    if not isinstance(document.get("output"), list):
        told = f"{who}: the answer holds no output{quoted(request_id)}"
        return _nothing(InvalidAnswer(told), request_id, usage)
    if status not in {"completed", "incomplete", ""}:
        told = f"{who}: the answer is {status[:40]!r}, not whole{quoted(request_id)}"
        return _nothing(InvalidAnswer(told), request_id, usage)
    response = _response(document, headers, request_id)
    refusal = "".join(_said(document, "refusal"))
    empty = not any(True for _ in _said(document, "text")) and not response.tool_calls
    found = held_against(request, response, who, refusal=refusal, empty=empty)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def usage_of(usage: object) -> Usage:
    """Answer what the object *usage* tells; whatever is not understood counts as zero."""
    told = as_dict(usage)
    into, out = as_count(told.get("input_tokens")), as_count(told.get("output_tokens"))
    read = as_dict(told.get("input_tokens_details"))
    cached = min(into, as_count(read.get("cached_tokens")))
    thinking = as_dict(told.get("output_tokens_details")).get("reasoning_tokens")
    return Usage(
        input_tokens=into,
        output_tokens=out,
        cached_tokens=cached,
        cache_write_tokens=min(into - cached, as_count(read.get("cache_write_tokens"))),
        reasoning_tokens=min(out, as_count(thinking)),
    )


def error_of(error: object, who: str, request_id: str | None) -> PipelineError:
    """Answer what an *error* means that came with a status of success, by its code."""
    code = as_text(as_dict(error).get("code")).lower()
    told = as_dict(error) if error else {"message": "the response failed, and no reason is told"}
    if code.endswith(_REFUSING):
        told = {**told, "type": "content_policy_violation"}
    status = 500 if code in _PASSING else 400
    return to_error(failure_in(status, {"error": told}, request_id=request_id), who)


def _response(
    document: dict[str, Any], headers: Mapping[str, str], request_id: str | None
) -> Response:
    parts = tuple(_parts(document))
    plain = all(isinstance(part, Text) and part.signature is None for part in parts)
    told = [part for content in _contents(document) for part in as_list(content.get("logprobs"))]
    return Response(
        "".join(_said(document, "text")),
        usage=usage_of(document.get("usage")),
        finish_reason=_finish(document, parts),
        model=as_text(document.get("model")),
        request_id=request_id,
        raw_finish_reason=_raw_finish(document),
        attributes=_attributes(document, headers),
        parts=() if plain else parts,
        logprobs=logprobs_of({"content": told}),
    )


def _raw_finish(document: dict[str, Any]) -> str | None:
    reason = as_text(as_dict(document.get("incomplete_details")).get("reason"))
    return reason or as_text(document.get("status")) or None


def _finish(document: dict[str, Any], parts: Iterable[Part]) -> FinishReason:
    if document.get("status") == "incomplete":
        return _CUT.get(_raw_finish(document) or "", "other")
    return "tool" if any(isinstance(part, ToolCall) for part in parts) else "stop"


def _attributes(document: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    attributes = {name: document[name] for name in _KEPT if document.get(name)}
    if as_text(document.get("id")):
        attributes["response_id"] = document["id"]
    notes = [note for part in _contents(document) for note in as_list(part.get("annotations"))]
    if notes:
        attributes["annotations"] = notes
    if any(as_text(item.get("type")) not in _KNOWN for item in _output(document)):
        attributes["output"] = document["output"]
    limits = rate_limits(headers)
    if limits:
        attributes["rate_limits"] = limits
    if not isinstance(document.get("usage"), dict):
        attributes["usage_missing"] = True
    return attributes


def _output(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in as_list(document.get("output")) if isinstance(item, dict)]


def _contents(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer the pieces of what is said as an answer, the commentary left out."""
    return [
        part
        for item in _output(document)
        if item.get("type") == "message" and item.get("phase") != _COMMENTARY
        for part in map(as_dict, as_list(item.get("content")))
    ]


def _said(document: dict[str, Any], field: str) -> Iterable[str]:
    """Answer the texts, or the refusals, of what is said as an answer."""
    found = (part.get(field) for part in _contents(document))
    return (said for said in found if isinstance(said, str))


def _parts(document: dict[str, Any]) -> Iterable[Part]:
    for item in _output(document):
        kind = item.get("type")
        if kind == "message":
            yield from _texts(item)
        elif kind == "reasoning":
            yield from _thoughts(item)
        elif kind == "function_call":
            arguments = as_text(item.get("arguments")) or "{}"
            call_id = as_text(item.get("call_id")) or as_text(item.get("id"))
            yield ToolCall(as_text(item.get("name")), arguments, id=call_id)


def _texts(item: dict[str, Any]) -> Iterable[Text]:
    phase = item.get("phase")
    signature = phase if phase in PHASES else None
    for part in map(as_dict, as_list(item.get("content"))):
        text = as_text(part.get("text"))
        if text:
            yield Text(text, signature=signature)


def _thoughts(item: dict[str, Any]) -> Iterable[Reasoning]:
    """Answer a part for each text of the item, the first with its sealed form."""
    told = [*as_list(item.get("summary")), *as_list(item.get("content"))]
    texts = [text for each in told if (text := as_text(as_dict(each).get("text")))]
    sealed = as_text(item.get("encrypted_content")) or None
    item_id = as_text(item.get("id"))
    if not texts:
        yield Reasoning(signature=sealed, id=item_id, hidden=True)
    for index, text in enumerate(texts):
        yield Reasoning(text, signature=sealed if index == 0 else None, id=item_id)


def _nothing(error: PipelineError, request_id: str | None, usage: Usage | None = None) -> Verdict:
    return Verdict(Response("", usage=usage or Usage(), request_id=request_id), error)
