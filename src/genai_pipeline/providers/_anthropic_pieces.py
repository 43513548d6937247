"""The events of a stream of Anthropic's Messages API, put together to the message they tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import ToolCall
from genai_pipeline.providers._anthropic_answer import usage_of
from genai_pipeline.providers._document import as_dict, as_text, object_in

__all__ = ["MessagePieces"]

_FIELDS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
_KINDS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}


class MessagePieces:
    """
    Takes the events of a stream in turn, and grows the document of a whole message.

    Events, blocks and fields that are not known are passed over, as the API asks.
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] | None = None
        self._blocks: dict[int, _Block] = {}

    @property
    def finished(self) -> bool:
        """Whether a stop reason was among them: the answer is whole."""
        return bool(self._message.get("stop_reason"))

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as the server told."""
        return None if self._usage is None else usage_of(self._usage)

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:
        """Answer the chunk to hand on for *document*, the event called *name*, if it has one."""
        kind = document.get("type", name)
        if kind == "message_start":
            message = as_dict(document.get("message"))
            self._message.update(message)
            self._count(message.get("usage"))
        elif kind == "message_delta":
            told = {key: value for key, value in as_dict(document.get("delta")).items() if value}
            self._message.update(told)
            self._count(document.get("usage"))
        elif kind == "content_block_start":
            self._blocks[_index(document)] = block = _Block(as_dict(document.get("content_block")))
            return block.seen()
        elif kind == "content_block_delta":
            block = self._blocks.setdefault(_index(document), _Block({}))
            return block.take(as_dict(document.get("delta")))
        return None

    def document(self) -> dict[str, Any]:
        """Answer the message that the server would have sent at once."""
        content = [block.whole() for _, block in sorted(self._blocks.items())]
        return {**self._message, "content": content, "usage": self._usage}

    def _count(self, usage: object) -> None:
        """Take the counts, each of which goes from the beginning on and never down."""
        if not isinstance(usage, dict):
            return
        known = self._usage = self._usage or {}
        for name, value in usage.items():
            before = known.get(name)
            if isinstance(before, int) and isinstance(value, int):
                known[name] = max(before, value)
            elif value is not None:
                known[name] = value


class _Block:
    """A block of the message's content."""

    def __init__(self, begun: dict[str, Any]) -> None:
        self._begun = begun
        self._grown: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def seen(self) -> Chunk | None:
        """Answer what there is to see of the block as it began."""
        kind = self._begun.get("type")
        if kind == "tool_use":
            return Chunk(tool_call=self._call(""))
        text, thought = as_text(self._begun.get("text")), as_text(self._begun.get("thinking"))
        if kind == "text" and text:
            return Chunk(text)
        return Chunk(reasoning=thought) if kind == "thinking" and thought else None

    def take(self, delta: dict[str, Any]) -> Chunk | None:
        """Answer what *delta* brings to see."""
        kind = as_text(delta.get("type"))
        if kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        field = _FIELDS.get(kind)
        piece = "" if field is None else as_text(delta.get(field))
        if field is None or not piece:
            return None
        self._grown.setdefault(field, []).append(piece)
        self._begun.setdefault("type", _KINDS.get(kind, "tool_use"))
        if kind == "text_delta":
            return Chunk(piece)
        if kind == "thinking_delta":
            return Chunk(reasoning=piece)
        is_call = field == "partial_json" and self._begun["type"] == "tool_use"
        return Chunk(tool_call=self._call(piece)) if is_call else None

    def whole(self) -> dict[str, Any]:
        """Answer the block as it is at its end."""
        block = dict(self._begun)
        for field, pieces in self._grown.items():
            grown = "".join(pieces)
            if field == "partial_json":
                block["input"] = object_in(grown)
            else:
                block[field] = as_text(block.get(field)) + grown
        if self._citations:
            block["citations"] = [*(block.get("citations") or ()), *self._citations]
        return block

    def _call(self, piece: str) -> ToolCall:
        name, call_id = as_text(self._begun.get("name")), as_text(self._begun.get("id"))
        return ToolCall(name, piece, id=call_id)


def _index(document: Mapping[str, Any]) -> int:
    index = document.get("index")
    return index if type(index) is int else 0
