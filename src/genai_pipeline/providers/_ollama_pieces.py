"""The documents of an Ollama stream, put together to what a whole answer would have been."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import ToolCall
from genai_pipeline.providers._document import as_dict, as_list, as_text
from genai_pipeline.providers._ollama_answer import read_call, usage_of

__all__ = ["OllamaPieces"]


class OllamaPieces:
    """Takes the documents of a stream in turn; the last one tells of all."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: list[Any] = []
        self._scores: list[Any] = []

    @property
    def finished(self) -> bool:
        """Whether the last document was among them."""
        return self._last.get("done") is True

    @property
    def usage(self) -> Usage | None:
        """What was used, when the server told."""
        return usage_of(self._last) if "eval_count" in self._last else None

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:  # noqa: ARG002 - none has one
        """Answer the chunk to hand on for *document*, if it brings anything to see."""
        self._last.update(document)
        self._scores += as_list(document.get("logprobs"))
        message = as_dict(document.get("message"))
        text, thought = as_text(message.get("content")), as_text(message.get("thinking"))
        calls = as_list(message.get("tool_calls"))
        self._text.append(text)
        self._thought.append(thought)
        self._calls += calls
        call: ToolCall | None = read_call(as_dict(calls[-1])) if calls else None
        if not text and not thought and call is None:
            return None
        return Chunk(text, reasoning=thought, tool_call=call)

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        message = {
            "role": "assistant",
            "content": "".join(self._text),
            "thinking": "".join(self._thought),
            "tool_calls": self._calls,
        }
        return {**self._last, "message": message, "logprobs": self._scores}
