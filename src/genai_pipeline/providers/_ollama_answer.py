"""The JSON of an answer of Ollama's ``/api/chat`` as a `Response`, or the error that it means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import InvalidAnswer, PipelineError
from genai_pipeline.messages import FinishReason, Request, Response, Usage
from genai_pipeline.parts import Part, Reasoning, Text, ToolCall
from genai_pipeline.providers._chat_answer import logprobs_of
from genai_pipeline.providers._demands import held_against
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._document import as_count, as_dict, as_list, as_text
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._failures import to_error

__all__ = ["FAILURES", "error_of", "read_call", "read_chat", "usage_of"]

_FINISH: dict[str, FinishReason] = {"": "stop", "stop": "stop", "length": "length"}
_SECONDS = {
    "server_seconds": "total_duration",
    "load_seconds": "load_duration",
    "prompt_seconds": "prompt_eval_duration",
    "answer_seconds": "eval_duration",
}
_NANO = 1e9
_SERVER_ERROR = 500

FAILURES = FailureFormat(request_id_headers=())
"""How Ollama tells of failures: by the status and a text."""


def error_of(document: Mapping[str, Any], who: str) -> PipelineError | None:
    """Answer the error that *document*, sent with a status of success, tells of, if it does."""
    error = document.get("error")
    if not error:
        return None
    return to_error(failure_in(_SERVER_ERROR, {"error": error}), who)


def read_chat(request: Request, document: object, who: str) -> Verdict:
    """Answer what *document*, a whole answer or an error, means for *request*. Never raises."""
    if not isinstance(document, dict):
        return Verdict(Response(""), InvalidAnswer(f"{who}: the answer is no JSON object"))
    failed = error_of(document, who)
    if failed is not None:
        return Verdict(Response(""), failed)
    message = document.get("message")
    response = _response(document, as_dict(message))
    if not isinstance(message, dict):
        return Verdict(response, InvalidAnswer(f"{who}: the answer holds no message"))
    empty = not isinstance(message.get("content"), str) and not response.parts
    found = held_against(request, response, who, refusal="", empty=empty)
    return Verdict(response, found) if isinstance(found, PipelineError) else Verdict(found)


def _response(document: dict[str, Any], message: dict[str, Any]) -> Response:
    text, thought = as_text(message.get("content")), as_text(message.get("thinking"))
    calls = [read_call(as_dict(each)) for each in as_list(message.get("tool_calls"))]
    parts: list[Part] = [Reasoning(thought)] if thought else []
    if text and (thought or calls):
        parts.append(Text(text))
    raw = as_text(document.get("done_reason"))
    finish = _FINISH.get(raw, "other")
    attributes: dict[str, Any] = {}
    for ours, name in _SECONDS.items():
        if as_count(document.get(name)):
            attributes[ours] = document[name] / _NANO
    if "eval_count" not in document:
        attributes["usage_missing"] = True
    return Response(
        text,
        usage=usage_of(document),
        finish_reason="tool" if calls and finish == "stop" else finish,
        model=as_text(document.get("model")),
        raw_finish_reason=raw or None,
        attributes=attributes,
        parts=(*parts, *calls),
        logprobs=logprobs_of({"content": document.get("logprobs")}),
    )


def read_call(told: dict[str, Any]) -> ToolCall:
    """Answer the call of a tool."""
    function = as_dict(told.get("function"))
    arguments = json.dumps(
        as_dict(function.get("arguments")), ensure_ascii=False, separators=(",", ":")
    )
    return ToolCall(as_text(function.get("name")), arguments, id=as_text(told.get("id")))


def usage_of(document: Mapping[str, Any]) -> Usage:
    """Answer what an answer used; whatever is not understood counts as zero."""
    return Usage(
        input_tokens=as_count(document.get("prompt_eval_count")),
        output_tokens=as_count(document.get("eval_count")),
    )
