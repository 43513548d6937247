"""Amazon's event stream: frames of headers and a payload, with checksums."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping

from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.providers._sse import EventTooLarge, ServerEvent

__all__ = ["EventStreamDecoder"]

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_OVERHEAD = _PRELUDE.size + _CHECKSUM.size
_LARGEST_FRAME = 2**24
_STRING, _BYTES = 7, 6
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class EventStreamDecoder:
    """
    Turns the pieces of a stream into events, each as soon as its frame is whole.

    The format is ``application/vnd.amazon.eventstream``: total length, length of the headers and
    their checksum, headers, payload, checksum of all before it; big-endian, CRC-32. An event is
    named by its ``:event-type``, an exception by its ``:exception-type``. Feeding raises
    `InvalidAnswer` for what is damaged, and `EventTooLarge` for a frame of more than *limit* bytes.
    """

    def __init__(self, *, limit: int = _LARGEST_FRAME) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._damage: InvalidAnswer | EventTooLarge | None = None

    def feed(self, piece: bytes, /) -> list[ServerEvent]:
        """
        Answer the events that end in *piece*.

        Those before damage in the same piece are answered; the next call then raises.
        """
        self._bytes += piece
        events: list[ServerEvent] = []
        try:
            if self._damage is not None:
                raise self._damage
            while (length := self._length()) is not None and len(self._bytes) >= length:
                events.append(_event(bytes(self._bytes[:length])))
                del self._bytes[:length]
        except (InvalidAnswer, EventTooLarge) as damage:
            if not events:
                raise
            self._damage = damage
        return events

    def _length(self) -> int | None:
        """Answer the length of the first frame, when so much of it is there."""
        if len(self._bytes) < _PRELUDE.size:
            return None
        total, of_headers, checksum = _PRELUDE.unpack_from(self._bytes)
        if zlib.crc32(self._bytes[: _PRELUDE.size - _CHECKSUM.size]) != checksum:
            raise InvalidAnswer("a frame of the event stream is damaged: its prelude")
        if total > self._limit:
            raise EventTooLarge(f"an event is larger than {self._limit} bytes")
        if total < _OVERHEAD + of_headers:
            raise InvalidAnswer("a frame of the event stream is damaged: its lengths")
        return int(total)


def _event(frame: bytes) -> ServerEvent:
    (checksum,) = _CHECKSUM.unpack_from(frame, len(frame) - _CHECKSUM.size)
    if zlib.crc32(frame[: -_CHECKSUM.size]) != checksum:
        raise InvalidAnswer("a frame of the event stream is damaged: its checksum")
    _, of_headers, _ = _PRELUDE.unpack_from(frame)
    begin = _PRELUDE.size + of_headers
    try:
        headers = _headers(frame[_PRELUDE.size : begin])
    except (struct.error, KeyError, IndexError):
        raise InvalidAnswer("a frame of the event stream is damaged: its headers") from None
    payload = frame[begin : -_CHECKSUM.size]
    if headers.get(b":message-type") == b"error":
        message = headers.get(b":error-message", b"").decode("utf-8", "replace")
        payload = json.dumps({"message": message}).encode()
    return ServerEvent(payload, _name(headers))


def _name(headers: Mapping[bytes, bytes]) -> bytes:
    kinds = {b"exception": b":exception-type", b"error": b":error-code"}
    kind = kinds.get(headers.get(b":message-type", b""), b":event-type")
    return headers.get(kind, b"")


def _headers(data: bytes) -> dict[bytes, bytes]:
    """Answer the headers that are text or bytes; those of other types are passed over."""
    found, at = {}, 0
    while at < len(data):
        end = at + 1 + data[at]
        name, kind = data[at + 1 : end], data[end]
        at = end + 1
        if kind in {_STRING, _BYTES}:
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            found[name] = data[at : at + length]
        else:
            length = _SIZES[kind]
        at += length
        if at > len(data):
            raise IndexError(at)
    return found
