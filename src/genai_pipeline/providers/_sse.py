"""Server-sent events out of bytes, however these are cut into pieces."""

from __future__ import annotations

import re

import attrs

__all__ = ["EventTooLarge", "ServerEvent", "SseDecoder"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_EVENT = 2**20


class EventTooLarge(Exception):
    """Raised when one event is longer than the limit."""


@attrs.frozen
class ServerEvent:
    """One event: its data, as bytes, and its name, which is empty as a rule."""

    data: bytes
    name: bytes = b""


class SseDecoder:
    """
    Turns the pieces of a stream into events, each as soon as its last byte is there.

    The format is that of the WHATWG's HTML standard, section "Server-sent events": lines end with
    LF, CR or CRLF, and nothing else (not with U+2028, as text has it); comments, ``id`` and
    ``retry`` are left out; an event without its blank line, at the end of the stream, is none.
    Feeding raises `EventTooLarge` rather than keep more than *limit* bytes of one event.
    """

    def __init__(self, *, limit: int = _LONGEST_EVENT) -> None:
        self._limit = limit
        self._line = bytearray()
        self._data: list[bytes] = []
        self._name = b""
        self._kept = 0
        self._after_cr = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """Answer the events that end in *piece*."""
        if not piece:
            return []
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]  # the other half of a line end that counted already
        self._after_cr = piece.endswith(b"\r")
        first, *lines = _LINE_END.split(piece)
        self._line += first
        events: list[ServerEvent] = []
        for line in lines:
            event = self._end_line()
            if event is not None:
                events.append(event)
            self._line += line
        self._check_size()
        return events

    def _end_line(self) -> ServerEvent | None:
        self._check_size()
        line = bytes(self._line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._end_event()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._kept += len(value) + 1
        elif field == b"event":
            self._name = value
        return None

    def _end_event(self) -> ServerEvent | None:
        event = ServerEvent(b"\n".join(self._data), self._name) if self._data else None
        self._data.clear()
        self._name = b""
        self._kept = 0
        return event

    def _check_size(self) -> None:
        if self._kept + len(self._line) > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
