"""The events of a Responses stream, put together to what a whole answer would have been."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from genai_pipeline.messages import Chunk, Usage
from genai_pipeline.parts import ToolCall
from genai_pipeline.providers._document import as_dict, as_list, as_text
from genai_pipeline.providers._responses_answer import usage_of
from genai_pipeline.providers._responses_items import PHASES
from genai_pipeline.providers._sse import ServerEvent, SseDecoder

__all__ = ["ResponseEvents", "ResponsePieces"]

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_END = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')
_HEAD_BYTES = 200


class ResponseEvents:
    """
    Cuts the bytes of a stream into events, and ends behind the one that has the whole answer.

    The API itself says no more than that; others send ``[DONE]``, or keep the connection open.
    """

    def __init__(self) -> None:
        self._decoder = SseDecoder()

    def feed(self, piece: bytes, /) -> list[ServerEvent]:
        """Answer the events that end in *piece*."""
        events: list[ServerEvent] = []
        for event in self._decoder.feed(piece):
            events.append(event)
            name = event.name.decode("ascii", "replace")
            if name in _ENDS or (not name and _END.search(event.data[:_HEAD_BYTES])):
                events.append(ServerEvent(b"[DONE]"))
        return events


class ResponsePieces:
    """
    Takes the events of a stream in turn, and keeps the document of the whole answer.

    The last event brings it. Servers that leave the output out of it have told each item before.
    """

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._items: dict[int | str, dict[str, Any]] = {}
        self._whole: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, or is known to have failed."""
        return self._whole is not None

    @property
    def usage(self) -> Usage | None:
        """What was used so far, as far as the server told."""
        usage = {**self._head, **(self._whole or {})}.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None

    def take(self, document: Mapping[str, Any], name: str, /) -> Chunk | None:
        """Answer the chunk to hand on for the event *document*, if it brings anything to see."""
        kind = as_text(document.get("type")) or name
        response = document.get("response")
        if isinstance(response, dict):
            self._head = response
            if kind in _ENDS:
                self._whole = response
            return None
        take = _TAKES.get(kind)
        return None if take is None else take(self, document)

    def document(self) -> dict[str, Any]:
        """Answer the document that the server would have sent at once."""
        whole = {**self._head, **(self._whole or {})}
        if not as_list(whole.get("output")) and self._items:
            whole["output"] = list(self._items.values())
        return whole

    def _item_begun(self, document: Mapping[str, Any]) -> Chunk | None:
        item = self._keep(document)
        if item.get("type") == "function_call":
            return Chunk(tool_call=_grown(item, as_text(item.get("arguments"))))
        return None

    def _item_done(self, document: Mapping[str, Any]) -> None:
        self._keep(document)

    def _keep(self, document: Mapping[str, Any]) -> dict[str, Any]:
        item = as_dict(document.get("item"))
        self._items[_place(document)] = item
        return item

    def _text_grown(self, document: Mapping[str, Any]) -> Chunk | None:
        item = self._items.get(_place(document), {})
        text = as_text(document.get("delta"))
        return Chunk(text) if text and item.get("phase") != PHASES[0] else None

    def _thought_grown(self, document: Mapping[str, Any]) -> Chunk | None:
        thought = as_text(document.get("delta"))
        return Chunk(reasoning=thought) if thought else None

    def _call_grown(self, document: Mapping[str, Any]) -> Chunk | None:
        item = self._items.get(_place(document), {})
        arguments = as_text(document.get("delta"))
        return Chunk(tool_call=_grown(item, arguments)) if arguments else None


def _place(document: Mapping[str, Any]) -> int | str:
    """Answer what tells the item of an event: its index, or its id, where there is no more."""
    index = document.get("output_index")
    if type(index) is int:
        return index
    return as_text(document.get("item_id")) or as_text(as_dict(document.get("item")).get("id"))


def _grown(item: Mapping[str, Any], arguments: str) -> ToolCall:
    call_id = as_text(item.get("call_id")) or as_text(item.get("id"))
    return ToolCall(as_text(item.get("name")), arguments, id=call_id)


_TAKES: dict[str, Callable[[ResponsePieces, Mapping[str, Any]], Chunk | None]] = {
    "response.output_item.added": ResponsePieces._item_begun,  # noqa: SLF001 - its own
    "response.output_item.done": ResponsePieces._item_done,  # noqa: SLF001 - its own
    "response.output_text.delta": ResponsePieces._text_grown,  # noqa: SLF001 - its own
    "response.reasoning_summary_text.delta": ResponsePieces._thought_grown,  # noqa: SLF001
    "response.reasoning_text.delta": ResponsePieces._thought_grown,  # noqa: SLF001 - its own
    "response.function_call_arguments.delta": ResponsePieces._call_grown,  # noqa: SLF001
}
