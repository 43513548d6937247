"""A JSON document on each line, out of bytes, however these are cut into pieces."""

from __future__ import annotations

from genai_pipeline.providers._sse import EventTooLarge, ServerEvent

__all__ = ["NdjsonDecoder"]

_LONGEST_LINE = 2**20


class NdjsonDecoder:
    """
    Turns the pieces of a stream into events, each as soon as its line is whole.

    Lines end with LF, or CRLF, and nothing else; empty ones are left out. Feeding raises
    `EventTooLarge` rather than keep more than *limit* bytes of one line.
    """

    def __init__(self, *, limit: int = _LONGEST_LINE) -> None:
        self._limit = limit
        self._line = bytearray()

    def feed(self, piece: bytes, /) -> list[ServerEvent]:
        """Answer the events that end in *piece*."""
        self._line += piece
        *whole, rest = self._line.split(b"\n")
        self._line = bytearray(rest)
        if max(map(len, (*whole, rest))) > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
        return [ServerEvent(bytes(line)) for line in whole if line.strip()]
