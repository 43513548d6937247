"""The events of a stream, put together, are the message that would have come at once."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import parts
from genai_pipeline.providers._anthropic_answer import read_message
from genai_pipeline.providers._anthropic_pieces import MessagePieces
from genai_pipeline.providers._sse import SseDecoder
from genai_pipeline.testing import strategies as gps
from tests.servers.messages import USAGE, events_of, message, sse

ASK = gp.Request("q")
TEXT = st.text(max_size=12)
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    st.builds(
        lambda text, cited: {"type": "text", "text": text, "citations": [{"cited_text": cited}]},
        TEXT,
        TEXT,
    ),
    st.builds(
        lambda text, seal: {"type": "thinking", "thinking": text, "signature": seal}, TEXT, TEXT
    ),
    st.builds(lambda data: {"type": "redacted_thinking", "data": data}, TEXT),
    st.builds(
        lambda kind, name, given: {"type": kind, "id": "t1", "name": name, "input": given},
        st.sampled_from(["tool_use", "server_tool_use"]),
        st.sampled_from(["weather", "search"]),
        gps.json_objects(),
    ),
    st.just({"type": "web_search_tool_result", "tool_use_id": "t1", "content": []}),
)
MESSAGES = st.builds(
    lambda blocks, reason, output: message(
        *blocks, stop_reason=reason, usage=USAGE | {"output_tokens": output}
    ),
    st.lists(BLOCKS, max_size=4),
    st.sampled_from(["end_turn", "max_tokens", "tool_use", "pause_turn", "stop_sequence"]),
    st.integers(1, 9),
)
NOISE = st.sampled_from([{"type": "ping"}, {"type": "weather_report", "index": 0, "delta": {}}])


def taken(events: list[dict[str, Any]]) -> tuple[MessagePieces, list[gp.Chunk]]:
    """Answer what took all *events*, and the chunks to hand on."""
    pieces = MessagePieces()
    chunks = [pieces.take(each, each["type"]) for each in events]
    return pieces, [chunk for chunk in chunks if chunk is not None]


def response(document: object) -> gp.Response:
    return read_message(ASK, document, {}, "a").response


@given(MESSAGES)
def test_the_pieces_are_the_whole(whole: dict[str, Any]) -> None:
    """The response of a stream is that of the message at once; its chunks say as much."""
    pieces, chunks = taken(events_of(whole))
    expected = response(whole)
    assert pieces.finished
    assert response(pieces.document()) == expected
    assert pieces.usage == expected.usage
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    written = "".join(chunk.tool_call.arguments for chunk in chunks if chunk.tool_call)
    calls = [block["input"] for block in whole["content"] if block["type"] == "tool_use"]
    assert written == "".join(map(json.dumps, calls))
    assert all(chunk.text or chunk.reasoning or chunk.tool_call for chunk in chunks)


@given(MESSAGES, st.lists(NOISE, max_size=3), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_any_split_of_a_stream_gives_the_same(
    whole: dict[str, Any], noise: list[dict[str, Any]], end: str, data: st.DataObject
) -> None:
    """Wherever the bytes are cut, and whatever is unknown among them, the chunks are the same."""
    events = events_of(whole)
    _, expected = taken(events)
    for each in noise:
        events.insert(data.draw(st.integers(0, len(events))), each)
    stream = b"".join(sse(event, end) for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder, documents = SseDecoder(), list[dict[str, Any]]()
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        documents += [json.loads(event.data) for event in decoder.feed(stream[start:stop])]
    pieces, chunks = taken(documents)
    assert chunks == expected
    assert response(pieces.document()) == response(whole)


KEYS = st.sampled_from(
    [
        *("type", "index", "delta", "content_block", "message", "usage", "text", "thinking"),
        *("partial_json", "signature", "stop_reason", "input", "output_tokens", "citation"),
    ]
)
KINDS = st.sampled_from(
    [
        *("message_start", "message_delta", "content_block_start", "content_block_delta", "text"),
        *("text_delta", "thinking_delta", "input_json_delta", "signature_delta", "tool_use"),
    ]
)
LEAVES = KINDS | st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
EVENTS = st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(KEYS, ANY))


@given(st.lists(EVENTS | st.dictionaries(KEYS, ANY) | gps.json_objects(), max_size=5))
def test_no_event_is_too_odd(events: list[dict[str, Any]]) -> None:
    """No JSON object makes the reader raise, and its whole has an outcome."""
    pieces = MessagePieces()
    for event in events:
        pieces.take(event, "")
    assert isinstance(response(pieces.document()).text, str)


def test_usage_is_told_from_the_beginning_on() -> None:
    """The last counts are those of all of it: they replace the first, and never fall."""
    pieces = MessagePieces()
    pieces.take({"type": "message_start", "message": message(stop_reason=None)}, "message_start")
    assert pieces.usage == gp.Usage(
        input_tokens=17, output_tokens=5, cached_tokens=4, cache_write_tokens=3
    )
    for output in (7, 9):
        counted = {"output_tokens": output, "input_tokens": 0, "cache_read_input_tokens": None}
        pieces.take({"type": "message_delta", "delta": {}, "usage": counted}, "message_delta")
    assert pieces.usage == gp.Usage(
        input_tokens=17, output_tokens=9, cached_tokens=4, cache_write_tokens=3
    )
    assert not pieces.finished


def test_a_call_that_was_cut_keeps_what_came() -> None:
    """Arguments that are no JSON yet are told as the text that the model wrote."""
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": '{"a": "unfini'}
    pieces, chunks = taken(events_of(message(call, stop_reason="max_tokens")))
    answer = response(pieces.document())
    assert answer.tool_calls == (parts.ToolCall("f", '{"a": "unfini', id="t1"),)
    assert answer.finish_reason == "length"
    assert chunks[0].tool_call == parts.ToolCall("f", "", id="t1")


def test_a_block_may_begin_with_words() -> None:
    """What a block begins with is part of it, and so are deltas of a block that never began."""
    block = {"type": "text", "text": "a"}
    begun = {"type": "content_block_start", "index": 0, "content_block": block}
    words = {"type": "text_delta", "text": "b"}
    grown = {"type": "content_block_delta", "index": 0, "delta": words}
    for events, expected in (([begun, grown], "ab"), ([grown], "b")):
        pieces, chunks = taken(events)
        assert response(pieces.document()).text == expected
        assert "".join(chunk.text for chunk in chunks) == expected
