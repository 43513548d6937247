"""The events of a Converse stream, put together to what a whole answer would have been."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import ToolCall
from genai_pipeline.providers._bedrock_answer import usage_of
from genai_pipeline.providers._document import as_dict, as_text, object_in

__all__ = ["ConversePieces"]

_OF_METADATA = ("usage", "metrics", "serviceTier", "performanceConfig", "trace")


class ConversePieces:
    """Takes the events of a stream in turn; those that are not known are passed over."""

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}

    @property
    def finished(self) -> bool:
        """Whether a stop reason was among them: the answer is whole."""
        return bool(self._document.get("stopReason"))

    @property
    def usage(self) -> Usage | None:
        """What was used, when the server told."""
        told = self._document.get("usage")
        return usage_of(told) if isinstance(told, dict) else None

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:
        """Answer the chunk to hand on for *document*, the event called *name*, if it has one."""
        if name == "contentBlockStart":
            use = as_dict(as_dict(document.get("start")).get("toolUse"))
            return self._block(document).begin(use) if use else None
        if name == "contentBlockDelta":
            return self._block(document).take(as_dict(document.get("delta")))
        if name == "messageStop":
            self._document["stopReason"] = as_text(document.get("stopReason"))
            fields = document.get("additionalModelResponseFields")
            if fields:
                self._document["additionalModelResponseFields"] = fields
        if name == "metadata":
            told = {key: document[key] for key in _OF_METADATA if document.get(key)}
            self._document.update(told)
        return None

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        content = [block.whole() for _, block in sorted(self._blocks.items())]
        message = {"role": "assistant", "content": content}
        return {**self._document, "output": {"message": message}}

    def _block(self, document: Mapping[str, Any]) -> _Block:
        index = document.get("contentBlockIndex")
        return self._blocks.setdefault(index if type(index) is int else 0, _Block())


class _Block:
    """A block of the message's content."""

    def __init__(self) -> None:
        self._use: dict[str, Any] | None = None
        self._input: list[str] = []
        self._text: list[str] = []
        self._thought: list[str] = []
        self._seal: list[str] = []
        self._hidden: list[str] = []

    def begin(self, use: dict[str, Any]) -> Chunk:
        """Begin the use of a tool."""
        self._use = use
        return Chunk(tool_call=self._call(""))

    def take(self, delta: dict[str, Any]) -> Chunk | None:
        """Answer what *delta* brings to see."""
        if isinstance(delta.get("text"), str):
            return self._said(delta["text"])
        if isinstance(delta.get("toolUse"), dict):
            piece = as_text(delta["toolUse"].get("input"))
            self._use = self._use or {}
            self._input.append(piece)
            return Chunk(tool_call=self._call(piece)) if piece else None
        thought = as_dict(delta.get("reasoningContent"))
        self._seal.append(as_text(thought.get("signature")))
        self._hidden.append(as_text(thought.get("redactedContent")))
        piece = as_text(thought.get("text"))
        self._thought.append(piece)
        return Chunk(reasoning=piece) if piece else None

    def whole(self) -> dict[str, Any]:
        """Answer the block as it is at its end."""
        if self._use is not None:
            written = "".join(self._input)
            return {"toolUse": {**self._use, "input": object_in(written)}}
        thought, seal = "".join(self._thought), "".join(self._seal)
        if any(self._hidden):
            return {"reasoningContent": {"redactedContent": "".join(self._hidden)}}
        if thought or seal:
            signed = {"signature": seal} if seal else {}
            return {"reasoningContent": {"reasoningText": {"text": thought, **signed}}}
        return {"text": "".join(self._text)}

    def _said(self, piece: str) -> Chunk | None:
        self._text.append(piece)
        return Chunk(piece) if piece else None

    def _call(self, piece: str) -> ToolCall:
        use = self._use or {}
        return ToolCall(as_text(use.get("name")), piece, id=as_text(use.get("toolUseId")))
