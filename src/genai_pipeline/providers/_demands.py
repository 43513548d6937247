"""An answer held against what was asked for: a label, a JSON document, or anything."""

from __future__ import annotations

import attrs

from genai_pipeline.errors import InvalidAnswer, PipelineError, Refused, Truncated
from genai_pipeline.messages import Request, Response
from genai_pipeline.providers._answers import as_json, as_label
from genai_pipeline.providers._document import quoted

__all__ = ["held_against"]

_QUOTED = 300


def held_against(
    request: Request, response: Response, who: str, *, refusal: str, empty: bool
) -> Response | PipelineError:
    """
    Answer *response*, its text being what was asked for, or the error that it means.

    *refusal* is what the model said in place of an answer, *empty* whether it said nothing at
    all; *who* begins the message of an error.
    """
    finish = response.finish_reason
    if refusal or finish in {"filter", "refusal"}:
        return _refused(response, refusal, who)
    strict = request.labels is not None or request.schema is not None
    if finish == "length" and strict:
        told = f"{who}: cut at the output limit, so not whole; raise max_output_tokens"
        return Truncated(f"{told}{quoted(response.request_id)}", partial=response.text)
    if (finish == "tool" and response.tool_calls) or (finish in {"length", "tool"} and not strict):
        return response
    if empty:
        return InvalidAnswer(f"{who}: the answer holds no content{quoted(response.request_id)}")
    return _exact(request, response, who) if strict else response


def _refused(response: Response, refusal: str, who: str) -> Refused:
    said = refusal or response.text
    told = f": {said[:_QUOTED]}" if said else ""
    by = "the content filter" if response.finish_reason == "filter" else "the model"
    return Refused(f"{who}: {by} refused{told}{quoted(response.request_id)}", explanation=said)


def _exact(request: Request, response: Response, who: str) -> Response | PipelineError:
    """Take the label or the JSON document out of the text."""
    if request.labels is not None:
        text = as_label(response.text, request.labels)
        wanted = "none of the labels"
    else:
        text = as_json(response.text, request.schema or {})
        wanted = "no JSON document of the schema"
    if text is None:
        told = f"{who}: the answer {response.text[:100]!r} is {wanted}"
        return InvalidAnswer(f"{told}{quoted(response.request_id)}", text=response.text)
    return attrs.evolve(response, text=text)
