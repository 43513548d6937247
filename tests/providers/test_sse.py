"""Server-sent events come out of bytes whole, however those are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genai_pipeline.providers._sse import EventTooLarge, ServerEvent, SseDecoder

ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
ODD = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x00\ufeff"
TEXTS = st.text(
    st.sampled_from(ODD) | st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[ServerEvent]]:
    """Draw a stream in any of the ways it may be written, and the events in it."""
    out = bytearray(b"\xef\xbb\xbf" if draw(st.booleans()) else b"")
    events = []
    for _ in range(draw(st.integers(0, 4))):
        lines, name, data = [], b"", []
        for _ in range(draw(st.integers(1, 4))):
            text = draw(TEXTS).encode()
            space = draw(st.sampled_from([b"", b" "]))
            kind = draw(st.sampled_from(["data", "event", "comment", "id", "retry", "other"]))
            if kind == "data":
                space = b" " if text.startswith(b" ") else space
                lines.append(b"data:" + space + text)
                data.append(text)
            elif kind == "event":
                space = b" " if text.startswith(b" ") else space
                lines.append(b"event:" + space + text)
                name = text
            elif kind == "comment":
                lines.append(b":" + text)
            else:
                lines.append(kind.encode() + b": " + text)
        for line in [*lines, b""]:
            end = draw(ENDS)
            is_half = not line and out.endswith(b"\r") and end == b"\n"
            out += line + (b"\r" if is_half else end)
        if data:
            events.append(ServerEvent(b"\n".join(data), name))
    return bytes(out), events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Answer *data* in pieces, cut at these places."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
def test_any_split_gives_the_same_events(
    drawn: tuple[bytes, list[ServerEvent]], places: list[int]
) -> None:
    """Whichever way a valid stream is cut into pieces, its events are those that were written."""
    data, events = drawn
    decoder = SseDecoder()
    assert [each for piece in cut(data, places) for each in decoder.feed(piece)] == events


@given(streams())
def test_one_byte_at_a_time_gives_the_same_events(drawn: tuple[bytes, list[ServerEvent]]) -> None:
    """Even cut inside of a character, a line end or the byte order mark."""
    data, events = drawn
    decoder = SseDecoder()
    assert [each for byte in data for each in decoder.feed(bytes([byte]))] == events


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
@example(b"data: a\r\n\r\ndata: b\r\r\n", [8])
def test_any_bytes_split_alike(data: bytes, places: list[int]) -> None:
    """What is no valid stream gives the same however it is cut, too, and raises nothing."""
    decoder = SseDecoder()
    assert [e for piece in cut(data, places) for e in decoder.feed(piece)] == SseDecoder().feed(
        data
    )


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_an_event_is_there_with_its_last_byte(end: str) -> None:
    """Nothing waits for the byte after a blank line, also where that might be half a line end."""
    decoder = SseDecoder()
    assert decoder.feed(f"data: x{end}".encode()) == []
    assert decoder.feed(end[:1].encode()) == [ServerEvent(b"x")]


def test_characters_that_look_like_line_ends_are_text() -> None:
    """U+2028, U+0085 and their kind stay inside of the JSON that holds them."""
    data = json.dumps({"text": ODD}, ensure_ascii=False)
    (event,) = SseDecoder().feed(f"data: {data}\n\n".encode())
    assert json.loads(event.data) == {"text": ODD}


def test_what_ends_without_a_blank_line_is_no_event() -> None:
    """The stream may have been cut in it."""
    assert SseDecoder().feed(b"data: x\n") == []


def test_an_event_has_a_limit() -> None:
    """A line, and an event of many lines, longer than the limit raise; comments are not kept."""
    SseDecoder(limit=10).feed(b": 45678\n" * 100 + b"data: 789\n\n" * 100)
    for data in (b"data: 789ab", b"data: 7\ndata: 8\ndata: 9\ndata: 0", b":" * 11):
        with pytest.raises(EventTooLarge, match="larger than 10 bytes"):
            decoder = SseDecoder(limit=10)
            for byte in data:
                decoder.feed(bytes([byte]))
