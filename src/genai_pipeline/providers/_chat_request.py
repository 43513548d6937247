"""A `Request` as the JSON body of a Chat Completions call."""

from __future__ import annotations

from typing import Any

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.providers._answers import is_strict, label_schema, schema_name
from genai_pipeline.providers._chat_messages import chat_choice, chat_messages, chat_tools
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_streamed_labels

__all__ = ["chat_body", "chat_document"]

_AS_THEY_ARE = ("temperature", "top_p", "seed", "reasoning_effort")


def chat_body(
    request: Request, *, model: str, profile: ChatProfile, streamed: bool = False
) -> bytes:
    """Answer the body that `chat_document` is."""
    return json_bytes(chat_document(request, model=model, profile=profile, streamed=streamed))


def chat_document(
    request: Request, *, model: str, profile: ChatProfile, streamed: bool = False
) -> dict[str, Any]:
    """
    Answer what asks *model* for *request*, at a server of this *profile*.

    Raises `ConfigurationError` when ``Request.extra`` holds what has a field of its own, what
    would change the form of the answer, or what the server ignores; for labels when the answer is
    *streamed*; and for labels and schemas where the server has no form for them.
    """
    messages = chat_messages(request, reasoning_field=profile.reasoning_field)
    body: dict[str, Any] = {"model": model, "messages": messages}
    if request.max_output_tokens is not None:
        body[profile.limit_field] = request.max_output_tokens
    body.update(_options(request))
    form = _structure(request, profile)
    if form is not None:
        body["response_format"] = form
    if streamed:
        refuse_streamed_labels(request, "Request")
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if request.extra:
        _check_extra(request, body, profile)
        body.update(request.extra)
    return body


def _options(request: Request) -> dict[str, Any]:
    options = {
        name: value for name in _AS_THEY_ARE if (value := getattr(request, name)) is not None
    }
    if request.stop:
        options["stop"] = request.stop
    if request.logprobs is not None:
        options |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.tools:
        options["tools"] = chat_tools(request.tools)
    if request.tool_choice is not None:
        options["tool_choice"] = chat_choice(request.tool_choice)
    return options


def _structure(request: Request, profile: ChatProfile) -> dict[str, Any] | None:
    """Answer how to ask for the label or the document that *request* wants, if it wants one."""
    if request.labels is not None:
        name, schema, strict = "label", label_schema(request.labels), True
    elif request.schema is not None:
        schema = dict(request.schema)
        name = schema_name(schema, digest(json_copy(schema, where="Request: schema")))
        strict = is_strict(schema)
    else:
        return None
    if profile.structured is None:
        given = "labels" if request.labels is not None else "schema"
        raise ConfigurationError(
            f"Request: {given}= cannot be held to by this server (its profile says "
            "structured=None); ask for it in the prompt, and check the answer"
        )
    if profile.structured == "json_object":
        return {"type": "json_object", "schema": schema}
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": strict},
    }


def _check_extra(request: Request, body: dict[str, Any], profile: ChatProfile) -> None:
    for name, mend in profile.ignored.items():
        if name in request.extra:
            raise ConfigurationError(
                f"Request: extra[{name!r}]={request.extra[name]!r} has no effect: {mend}"
            )
    taken = sorted(body.keys() & request.extra.keys())
    if taken:
        raise ConfigurationError(
            f"Request: extra[{taken[0]!r}]={request.extra[taken[0]]!r} would override what the "
            "request itself says; set it there, or at the provider"
        )
    if request.extra.get("stream"):
        raise ConfigurationError("Request: extra['stream']; this provider answers whole, give none")
    if request.extra.get("n", 1) != 1:
        raise ConfigurationError(
            f"Request: extra['n']={request.extra['n']!r}; one answer is read of each call, "
            "give none, and make several calls"
        )
