"""Amazon's event stream, however its bytes are cut."""

from __future__ import annotations

import itertools
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.providers._eventstream import EventStreamDecoder
from genai_pipeline.providers._sse import EventTooLarge, ServerEvent
from genai_pipeline.testing import strategies as gps
from tests.servers.bedrock import frame

NAMES = st.sampled_from(["messageStart", "contentBlockDelta", "metadata", "newEvent"])
EVENTS = st.lists(st.tuples(NAMES, gps.json_objects(3)), max_size=4)


def framed(headers: bytes, payload: bytes = b"{}") -> bytes:
    """Answer a frame with these coded *headers*."""
    head = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    begun = head + struct.pack(">I", zlib.crc32(head)) + headers + payload
    return begun + struct.pack(">I", zlib.crc32(begun))


@given(EVENTS, st.lists(st.integers(0, 1000), max_size=8))
def test_it_reads_what_botocore_reads(events: list[tuple[str, Any]], at: list[int]) -> None:
    """Wherever the bytes are cut, the events are those that botocore finds in the whole."""
    data = b"".join(frame(*event) for event in events)
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    expected = [
        ServerEvent(event.payload, event.headers[":event-type"].encode()) for event in buffer
    ]
    cuts = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    decoder = EventStreamDecoder()
    found = [each for a, b in itertools.pairwise(cuts) for each in decoder.feed(data[a:b])]
    assert found == expected


def test_exceptions_are_named() -> None:
    """An exception is named by its type, an error by its code, with the message as its payload."""
    (event,) = EventStreamDecoder().feed(frame("throttlingException", {"m": 1}, "exception"))
    assert event == ServerEvent(b'{"m": 1}', b"throttlingException")

    def text(name: str, value: str) -> bytes:
        coded = value.encode()
        return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(coded)) + coded

    headers = text(":message-type", "error") + text(":error-code", "Oops")
    (event,) = EventStreamDecoder().feed(framed(headers + text(":error-message", "no"), b""))
    assert event == ServerEvent(b'{"message": "no"}', b"Oops")


def test_headers_of_other_types_are_passed_over() -> None:
    """Numbers, times and truth values among the headers do not stand in the way."""
    sized = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
    headers = b"".join(b"\x01x" + bytes([kind]) + b"\0" * size for kind, size in sized.items())
    headers += b"\x01b\x06\x00\x02ab"
    assert EventStreamDecoder().feed(framed(headers)) == [ServerEvent(b"{}")]


@pytest.mark.parametrize(
    "headers", [b"\x05abc", b"\x01x\x07\x00\x09ab", b"\x01x\x63", b"\x01x\x04\x00"]
)
def test_damaged_headers_are_told(headers: bytes) -> None:
    """Headers that end too soon, or are of no known type, are damage."""
    with pytest.raises(InvalidAnswer, match="damaged: its headers"):
        EventStreamDecoder().feed(framed(headers))


@given(EVENTS.filter(bool), st.data())
def test_no_flipped_bit_goes_unnoticed(events: list[tuple[str, Any]], data: st.DataObject) -> None:
    """A stream with a flipped bit raises, or waits for more: it never tells another event."""
    whole = bytearray(b"".join(frame(*event) for event in events))
    expected = EventStreamDecoder().feed(bytes(whole))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    decoder, found = EventStreamDecoder(), list[ServerEvent]()
    with suppress(InvalidAnswer, EventTooLarge):
        found = decoder.feed(bytes(whole))
        found += decoder.feed(b"")
    assert found == expected[: len(found)]


def test_what_came_before_damage_counts() -> None:
    """Events before damage are answered, wherever the bytes were cut, and then it is told."""
    good = frame("contentBlockDelta", {})
    decoder = EventStreamDecoder()
    assert len(decoder.feed(good + good[:-1] + b"?")) == 1
    for _ in range(2):
        with pytest.raises(InvalidAnswer, match="its checksum"):
            decoder.feed(b"more")


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    """More than the limit of one event is not kept."""
    with pytest.raises(EventTooLarge, match="100 bytes"):
        EventStreamDecoder(limit=100).feed(framed(b"", b"x" * 100)[:12])


def test_lengths_must_fit() -> None:
    """Headers longer than their frame are damage."""
    head = struct.pack(">II", 16, 50)
    with pytest.raises(InvalidAnswer, match="its lengths"):
        EventStreamDecoder().feed(head + struct.pack(">I", zlib.crc32(head)))
