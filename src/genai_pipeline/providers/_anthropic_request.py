"""A `Request` as the body of a call of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers._answers import label_schema
from genai_pipeline.providers._anthropic_content import (
    Block,
    choice_of,
    system_of,
    tools_of,
    turns_of,
)
from genai_pipeline.providers._anthropic_models import has_fixed_sampling, thinks_adaptively
from genai_pipeline.providers._rules import (
    refuse_extra,
    refuse_options,
    refuse_parts,
    refuse_streamed_labels,
)

__all__ = ["NEWEST", "VERSIONS", "CacheTime", "MessageForm", "Version"]

Version: TypeAlias = Literal["2026-10-21", "2023-06-01"]
CacheTime: TypeAlias = Literal["5m", "1h"]

NEWEST: Version = "2026-10-21"
VERSIONS: tuple[Version, ...] = (NEWEST, "2023-06-01")

_OPTIONS = (
    *("labels", "max_output_tokens", "reasoning_effort", "schema", "stop", "temperature"),
    *("tool_choice", "tools", "top_p"),
)
_PARTS = (Text, Image, File, ToolCall, ToolResult, Reasoning)
_OWN_FIELDS = frozenset({"max_tokens", "stop_sequences", "stream", "temperature", "top_p"})
_JOINED = frozenset({"output_config", "thinking", "tools"})
_UNCOUNTED = frozenset(
    {
        *("container", "diagnostics", "inference_geo", "max_tokens", "metadata", "service_tier"),
        *("stop_sequences", "stream", "temperature", "top_k", "top_p"),
    }
)
_MARKABLE = frozenset({"text", "image", "document", "tool_use", "tool_result"})


@attrs.frozen(kw_only=True)
class MessageForm:
    """What a provider says in each of its calls, and how it makes the rest of a request."""

    model: str
    version: Version
    cache_prompt: CacheTime | None

    def body(self, request: Request, who: str, *, streamed: bool) -> dict[str, Any]:
        """
        Answer the body that asks for *request*.

        Raises `ConfigurationError`, whose message *who* begins, for what the API cannot do.
        """
        limit = request.max_output_tokens
        if limit is None:
            raise ConfigurationError(
                f"{who}: max_output_tokens=None; this API wants a limit with each call, so give "
                "one in the request, or max_output_tokens= to the provider"
            )
        body = {"max_tokens": limit, **self._common(request, who)}
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if streamed:
            refuse_streamed_labels(request, who)
            body["stream"] = True
        return self._with_extra(body, request, who)

    def counted(self, request: Request, who: str) -> dict[str, Any]:
        """Answer the body that asks how many tokens *request* has; raises as `body` does."""
        body = self._with_extra(self._common(request, who), request, who)
        return {name: value for name, value in body.items() if name not in _UNCOUNTED}

    def _common(self, request: Request, who: str) -> dict[str, Any]:
        refuse_options(request, who, takes=_OPTIONS)
        refuse_parts(request, who, takes=_PARTS)
        body: dict[str, Any] = {"model": self.model, "messages": turns_of(request, who)}
        system = system_of(request)
        if system is not None:
            body["system"] = system
        if request.tools:
            body["tools"] = tools_of(request.tools)
        if request.tool_choice is not None:
            body["tool_choice"] = choice_of(request.tool_choice)
        body |= self._sampling(request, who)
        body |= self._thought(request, who)
        if self.cache_prompt is not None:
            _mark(body, {"type": "ephemeral", "ttl": self.cache_prompt})
        return body

    def _sampling(self, request: Request, who: str) -> dict[str, Any]:
        given = {"temperature": request.temperature, "top_p": request.top_p}
        given = {name: value for name, value in given.items() if value is not None}
        extra = {name: value for name, value in request.extra.items() if name == "top_k"}
        for name, value in {**given, **extra}.items():
            self._check_sampling(name, value, who)
        return given

    def _check_sampling(self, name: str, value: Any, who: str) -> None:
        if self.version == NEWEST:
            raise ConfigurationError(
                f"{who}: {name}={value!r}; version {NEWEST} of this API has no such parameter, "
                "leave it out, or give version='2023-06-01' for a model older than 4.7"
            )
        if has_fixed_sampling(self.model) and not (name == "temperature" and value == 1):
            raise ConfigurationError(
                f"{who}: {name}={value!r}; models from 4.7 on choose in one way only, leave it out"
            )
        if name == "temperature" and value > 1:
            raise ConfigurationError(f"{who}: temperature={value!r}; this API takes 0 to 1")

    def _thought(self, request: Request, who: str) -> dict[str, Any]:
        """Answer how much to think, and the form of the answer, which share a field."""
        output: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        effort = request.reasoning_effort
        if effort == "none":
            fields["thinking"] = {"type": "disabled"}
        elif effort is not None:
            self._check_effort(effort, who)
            fields["thinking"] = {"type": "adaptive"}
            output["effort"] = effort
        schema = request.schema if request.labels is None else label_schema(request.labels)
        if schema is not None:
            output["format"] = {"type": "json_schema", "schema": dict(schema)}
        return {**fields, "output_config": output} if output else fields

    def _check_effort(self, effort: str, who: str) -> None:
        if effort == "minimal":
            raise ConfigurationError(
                f"{who}: reasoning_effort='minimal'; this API takes none, low, medium, high, "
                "xhigh and max"
            )
        if not thinks_adaptively(self.model):
            raise ConfigurationError(
                f"{who}: reasoning_effort={effort!r}; models older than 4.6 take a number of "
                "tokens instead: extra={'thinking': {'type': 'enabled', 'budget_tokens': 4096}}"
            )

    def _with_extra(self, body: dict[str, Any], request: Request, who: str) -> dict[str, Any]:
        joined = {
            name: both
            for name in _JOINED & body.keys() & request.extra.keys()
            if (both := _together(body[name], request.extra[name])) is not None
        }
        refuse_extra(request, who, taken=_OWN_FIELDS | (body.keys() - joined.keys()))
        return {**body, **request.extra, **joined}


def _together(ours: Any, extra: Any) -> Any:
    """Answer both in one, if they are of one kind and no key is in both; else `None`."""
    if isinstance(ours, list) and isinstance(extra, list):
        return [*ours, *extra]
    if isinstance(ours, dict) and isinstance(extra, dict) and not ours.keys() & extra.keys():
        return {**ours, **extra}
    return None


def _mark(body: dict[str, Any], marker: Mapping[str, str]) -> None:
    """Mark the end of what stands before the last turn, which is what calls have in common."""
    for turn in reversed(body["messages"][:-1]):
        if _mark_last(turn, "content", marker):
            return
    if not _mark_last(body, "system", marker) and "tools" in body:
        body["tools"][-1]["cache_control"] = marker


def _mark_last(holder: dict[str, Any], name: str, marker: Mapping[str, str]) -> bool:
    content: str | list[Block] = holder.get(name, ())
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for block in reversed(content):
        if block["type"] in _MARKABLE and block.get("text", "…"):
            block["cache_control"] = marker
            holder[name] = content
            return True
    return False
