"""The fragments of a ``streamGenerateContent`` answer, put together to the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import Reasoning, Text, ToolCall
from genai_pipeline.providers._document import as_dict, as_list
from genai_pipeline.providers._gemini_answer import parts_of, usage_of

__all__ = ["ContentPieces"]

_LISTS = ("chosenCandidates", "topCandidates")
_OF_CANDIDATE = ("content", "logprobsResult")


class ContentPieces:
    """
    Takes the fragments of a stream in turn, each an answer of its own, and grows the whole.

    What is said twice, such as the usage, is cumulative: the last counts.
    """

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._scores: dict[str, list[Any]] = {}

    @property
    def finished(self) -> bool:
        """Whether a finish reason was among them, or that the prompt is blocked."""
        blocked = as_dict(self._document.get("promptFeedback")).get("blockReason")
        return bool(self._candidate.get("finishReason") or blocked)

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as the server told."""
        told = self._document.get("usageMetadata")
        return usage_of(told) if isinstance(told, dict) else None

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:  # noqa: ARG002 - none has one
        """Answer the chunk to hand on for *document*, if it brings anything to see."""
        self._document.update({key: value for key, value in document.items() if value})
        candidate = as_dict(next(iter(as_list(document.get("candidates"))), None))
        for key, value in candidate.items():
            if key not in _OF_CANDIDATE and value:
                self._candidate[key] = value
        for key in _LISTS:
            told = as_dict(candidate.get("logprobsResult")).get(key)
            self._scores.setdefault(key, []).extend(as_list(told))
        parts = [as_dict(each) for each in as_list(as_dict(candidate.get("content")).get("parts"))]
        for part in parts:
            self._grow(part)
        return _seen(parts)

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        content = {"role": "model", "parts": self._parts}
        candidate = {**self._candidate, "content": content, "logprobsResult": self._scores}
        if not self._candidate and not self._parts:
            return {**self._document, "candidates": []}
        return {**self._document, "candidates": [candidate]}

    def _grow(self, part: dict[str, Any]) -> None:
        """Put *part* to what came before: text goes on where it is of one kind, and not signed."""
        last = self._parts[-1] if self._parts else {}
        joins = (
            isinstance(part.get("text"), str)
            and isinstance(last.get("text"), str)
            and bool(part.get("thought")) == bool(last.get("thought"))
            and not last.get("thoughtSignature")
        )
        if joins:
            self._parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
        elif part:
            self._parts.append(part)


def _seen(told: list[dict[str, Any]]) -> Chunk | None:
    parts = parts_of(told)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    thought = "".join(part.text for part in parts if isinstance(part, Reasoning))
    call = next((part for part in reversed(parts) if isinstance(part, ToolCall)), None)
    if not text and not thought and call is None:
        return None
    return Chunk(text, reasoning=thought, tool_call=call)
