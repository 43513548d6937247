"""The chunks of a Chat Completions stream, put together to what a whole answer would have been."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import ToolCall
from genai_pipeline.providers._chat_answer import content_of, reasoning_of, usage_of
from genai_pipeline.providers._document import as_count, as_dict, as_list

__all__ = ["ChatPieces", "error_in"]

_HEAD = (
    *("id", "model", "moderation", "prompt_filter_results", "service_tier"),
    "system_fingerprint",
)
_FILTER = "content_filter_results"
_JOINED = ("refusal", "reasoning", "reasoning_content")


def error_in(document: Mapping[str, Any], name: str) -> object:
    """Answer the error that an event tells of, if it does: in OpenAI's form or one of others."""
    error = document.get("error") or _first(document.get("choices")).get("error")
    if error:
        return error
    # An event of that name, or vLLM's older form, holds the error bare.
    return document if name == "error" or document.get("object") == "error" else None


class ChatPieces:
    """
    Takes the documents of a stream in turn, and grows the document of a whole answer.

    Fields of unexpected types are passed over, as they are in a whole answer.
    """

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._finish_reason = ""
        self._usage: dict[str, Any] | None = None
        self._text: list[str] = []
        self._joined: dict[str, list[str]] = {}
        self._annotations: list[Any] = []
        self._logprobs: dict[str, list[Any]] = {}
        self._calls: dict[int, _Call] = {}
        self._filter: dict[str, Any] = {}

    @property
    def finished(self) -> bool:
        """Whether a finish reason was among them: the answer is whole."""
        return bool(self._finish_reason)

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as the server told."""
        return None if self._usage is None else usage_of(self._usage)

    def take(self, document: Mapping[str, Any], name: str = "", /) -> Chunk | None:  # noqa: ARG002
        """Answer the chunk to hand on for *document*, if it brings anything to see."""
        for each in _HEAD:
            if document.get(each):
                self._head.setdefault(each, document[each])
        if isinstance(document.get("usage"), dict):
            self._usage = document["usage"]
        choice = _first(document.get("choices"))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self._finish_reason = reason or self._finish_reason
        for each, told in as_dict(choice.get("logprobs")).items():
            self._logprobs.setdefault(each, []).extend(as_list(told))
        self._filter |= as_dict(choice.get(_FILTER))
        return self._take_delta(as_dict(choice.get("delta")))

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        message: dict[str, Any] = {name: "".join(parts) for name, parts in self._joined.items()}
        message["content"] = "".join(self._text)
        message["annotations"] = self._annotations
        message["tool_calls"] = [call.whole() for _, call in sorted(self._calls.items())]
        choice = {
            "finish_reason": self._finish_reason,
            "message": message,
            "logprobs": self._logprobs,
            _FILTER: self._filter,
        }
        return {**self._head, "usage": self._usage, "choices": [choice]}

    def _take_delta(self, delta: dict[str, Any]) -> Chunk | None:
        text = content_of(delta.get("content"))
        if text:
            self._text.append(text)
        for name in _JOINED:
            if isinstance(delta.get(name), str):
                self._joined.setdefault(name, []).append(delta[name])
        self._annotations += as_list(delta.get("annotations"))
        grown = None
        for place, piece in enumerate(as_list(delta.get("tool_calls"))):
            index = as_dict(piece).get("index")
            call = self._calls.setdefault(index if type(index) is int else place, _Call())
            grown = call.take(as_dict(piece))
        thought = reasoning_of(delta)
        if not text and not thought and grown is None:
            return None
        return Chunk(text, reasoning=thought, tool_call=grown)


class _Call:
    """A tool call, of which the names come once and the arguments in fragments."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._function: dict[str, Any] = {}
        self._arguments: list[str] = []

    def take(self, piece: dict[str, Any]) -> ToolCall:
        """Answer what *piece* brings."""
        grown = ""
        for name, value in piece.items():
            if value and name not in {"index", "function"}:
                self._head.setdefault(name, value)
        for name, value in as_dict(piece.get("function")).items():
            if name == "arguments" and isinstance(value, str):
                self._arguments.append(value)
                grown = value
            elif value:
                self._function.setdefault(name, value)
        called, call_id = self._function.get("name"), self._head.get("id")
        return ToolCall(
            called if isinstance(called, str) else "",
            grown,
            id=call_id if isinstance(call_id, str) else "",
        )

    def whole(self) -> dict[str, Any]:
        arguments = {"arguments": "".join(self._arguments)}
        return {**self._head, "function": {**self._function, **arguments}}


def _first(choices: object) -> dict[str, Any]:
    """Answer the first choice; there may be chunks without, and choices without a right index."""
    found = map(as_dict, as_list(choices))
    return next((each for each in found if not as_count(each.get("index"))), {})
