"""Anthropic's events in Amazon's frames, as the SDK's client for Bedrock gets them."""

from __future__ import annotations

import base64
import binascii

from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.providers._document import as_dict, as_text
from genai_pipeline.providers._eventstream import EventStreamDecoder
from genai_pipeline.providers._json import NotJson, json_bytes, read_json
from genai_pipeline.providers._sse import EventTooLarge, ServerEvent

__all__ = ["FRAMED", "FramedEvents"]

FRAMED = "application/vnd.amazon.eventstream"
"""What such a stream is sent as."""


_NO_EVENT = b"data: no event in a frame\n\n"  # which is no JSON, as whoever reads it will tell


class FramedEvents:
    """
    Turns the frames of ``InvokeModelWithResponseStream`` into the server-sent events in them.

    An event is base64 in a frame called ``chunk``; an exception becomes an event that tells of an
    error. Other frames are passed over. Feeding raises `InvalidAnswer`, whose message *who* begins,
    for what is damaged.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._decoder = EventStreamDecoder()

    def feed(self, piece: bytes, /) -> bytes:
        """Answer the events that end in *piece*, as they are written without frames."""
        try:
            return b"".join(map(_unframed, self._decoder.feed(piece)))
        except (EventTooLarge, InvalidAnswer) as error:
            raise InvalidAnswer(f"{self._who}: {error}") from None


def _unframed(event: ServerEvent) -> bytes:
    try:
        document = as_dict(read_json(event.data))
        data = base64.b64decode(as_text(document.get("bytes")), validate=True)
    except (NotJson, binascii.Error, ValueError):
        return _NO_EVENT
    if event.name == b"chunk":
        return b"data: %b\n\n" % data.replace(b"\n", b" ")
    name = event.name.decode("utf-8", "replace")
    if not name.lower().endswith(("exception", "error")):
        return b""
    told = {"type": name, "message": as_text(document.get("message")) or name}
    return b"data: %b\n\n" % json_bytes({"type": "error", "error": told})
