"""Streams of OpenAI's Responses API, in any pieces and with any end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.journals import Memory
from genai_pipeline.parts import Reasoning, Text, ToolCall
from genai_pipeline.providers import OpenAIResponses
from genai_pipeline.providers._responses_answer import read_response
from genai_pipeline.providers._responses_pieces import ResponseEvents, ResponsePieces
from genai_pipeline.testing import strategies as gps
from tests.engine.doubles import Kept, Ledger
from tests.providers.sdk import headers_of, sdk_request
from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.responses import events_of, message_item, response_document, sse

ASK = gp.Request("q")
TEXT = st.text(max_size=12) | st.sampled_from(["a\u2028b\x85c", "\U0001f40d\r\n\n", "data: x"])


@st.composite
def items(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an item of output, of a known or an unknown type."""
    item_id = draw(st.sampled_from(["i1", "i2", "i3"]))
    kind = draw(st.sampled_from(["message", "reasoning", "function_call", "file_search_call"]))
    if kind == "message":
        phase = draw(st.sampled_from([None, "commentary", "final_answer"]))
        more = {} if phase is None else {"phase": phase}
        return message_item(*draw(st.lists(TEXT, max_size=2)), id=item_id, **more)
    if kind == "reasoning":
        texts = draw(st.lists(TEXT, max_size=2))
        sealed = draw(st.none() | st.text(min_size=1, max_size=5))
        summary = [{"type": "summary_text", "text": text} for text in texts]
        return {"type": kind, "id": item_id, "summary": summary, "encrypted_content": sealed}
    if kind == "function_call":
        arguments = json.dumps(draw(gps.json_objects(2)), ensure_ascii=False)
        return {"type": kind, "id": item_id, "call_id": "c", "name": "f", "arguments": arguments}
    return {"type": kind, "id": item_id, "status": "completed"}


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """Draw a whole answer, and the bytes of the stream of it, cut anywhere."""
    said = message_item(draw(TEXT.filter(bool)), id="last")
    response = response_document(*draw(st.lists(items(), max_size=3)), said)

    def cut(text: str) -> list[str]:
        at = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]

    unknown = {"type": "response.brand_new", "sequence_number": 5, "delta": "?"}
    events = [event for each in events_of(response, cut) for event in (each, unknown)]
    data = b"".join(map(sse, events)) + draw(st.sampled_from([b"", b"data: [DONE]\n\n"]))
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return response, [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def read(pieces: list[bytes]) -> tuple[ResponsePieces, list[gp.Chunk]]:
    """Answer what takes the events in *pieces*, and what it hands on."""
    events, taken, chunks = ResponseEvents(), ResponsePieces(), list[gp.Chunk]()
    for piece in pieces:
        for event in events.feed(piece):
            if event.data == b"[DONE]":
                return taken, chunks
            chunk = taken.take(json.loads(event.data), event.name.decode())
            if chunk is not None:
                chunks.append(chunk)
    return taken, chunks


@given(streams())
def test_the_pieces_are_the_whole(drawn: tuple[dict[str, Any], list[bytes]]) -> None:
    """However a stream is cut, its chunks and its response are those of the whole answer."""
    whole, pieces = drawn
    taken, chunks = read(pieces)
    expected = read_response(ASK, whole, {}, "p").response
    assert taken.finished
    assert read_response(ASK, taken.document(), {}, "p").response == expected
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    arguments = "".join(chunk.tool_call.arguments for chunk in chunks if chunk.tool_call)
    assert arguments == "".join(call.arguments for call in expected.tool_calls)
    assert taken.usage == expected.usage


@given(streams())
def test_an_end_without_output_is_made_whole(drawn: tuple[dict[str, Any], list[bytes]]) -> None:
    """A last event that leaves the output out is completed from the items told before."""
    whole, _ = drawn
    events = list(events_of(whole))
    events[-1] = {**events[-1], "response": {**whole, "output": []}}
    taken, _ = read([b"".join(map(sse, events))])
    expected = read_response(ASK, whole, {}, "p").response
    assert read_response(ASK, taken.document(), {}, "p").response == expected


NAMES = st.sampled_from(["type", "response", "item", "delta", "output_index", "item_id", "output"])
KINDS = st.sampled_from([*{event["type"] for event in events_of(response_document())}, "error"])


@given(st.lists(st.dictionaries(NAMES, KINDS | gps.json_values(), max_size=5), max_size=5))
def test_no_event_is_too_odd(documents: list[dict[str, Any]]) -> None:
    """No JSON object makes the reader raise, and its whole has an outcome."""
    taken = ResponsePieces()
    for document in documents:
        taken.take(document, "")
    assert isinstance(read_response(ASK, taken.document(), {}, "p").response.text, str)


@pytest.mark.parametrize("name", ["event: response.completed\n", ""])
def test_the_last_event_ends_the_stream(name: str) -> None:
    """What comes behind the whole answer is not waited for, whether or not it says its name."""
    last = sse({"type": "response.completed", "response": response_document()})
    nameless = name.encode() + last.partition(b"\n")[2]
    events = ResponseEvents().feed(nameless + sse({"type": "response.brand_new"}))
    assert [event.data for event in events][1] == b"[DONE]"


def model(chat: ChatServer, way: str) -> OpenAIResponses:
    """Answer a model behind a server that answers in this *way*."""
    return OpenAIResponses("m", base_url=chat.url(way), api_key="sk-test")


async def told(model: OpenAIResponses, request: gp.Request = ASK) -> list[gp.Chunk]:
    """Answer the chunks of a stream."""
    async with model.stream(request) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("responses-cut", errors.ConnectionFailed),
        ("responses-error", errors.Overloaded),
        ("responses-failed", errors.RateLimited),
        ("responses-no-end", None),
    ],
)
async def test_what_breaks_off_is_interrupted(
    chat: ChatServer, way: str, cause: type[Exception] | None
) -> None:
    """After the first chunk a fault raises `StreamInterrupted`, with its cause and the text."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await told(model(chat, way))
    assert caught.value.partial == "half an answer"
    assert (cause is None) == (caught.value.__cause__ is None)
    assert cause is None or isinstance(caught.value.__cause__, cause)


@pytest.mark.anyio
async def test_the_end_is_the_event_and_not_the_hanging_up(chat: ChatServer) -> None:
    """A server that keeps the connection open behind the answer keeps nobody waiting."""
    assert gp.join_chunks(await told(model(chat, "responses-open-end"))).text == "whole"


@pytest.mark.anyio
async def test_a_failure_before_anything_has_the_error_of_a_call(chat: ChatServer) -> None:
    """A response that fails at once raises what its code says."""
    error = {"code": "server_error", "message": "oops"}
    failed = response_document(status="failed", error=error)
    last = {"type": "response.failed", "response": failed}
    chat.answers["failed-first"] = lambda _: http(sse(last), kind="text/event-stream")
    with pytest.raises(errors.Overloaded, match="oops"):
        await told(model(chat, "failed-first"))


CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "sealed",
}
FULL = response_document(THOUGHT, message_item("hi"), CALL)


def _full(exchange: Exchange) -> bytes:
    if not exchange.json.get("stream"):
        return http(FULL)
    cut = list(events_of(FULL, lambda text: [text[:2], text[2:]]))
    return http(b"".join(map(sse, cut)), kind="text/event-stream")


@pytest.mark.anyio
async def test_reasoning_and_calls_come_piece_by_piece(chat: ChatServer) -> None:
    """Each chunk tells what it brings, and the last one has all parts."""
    chat.answers["responses-full"] = _full
    *pieces, last = await told(model(chat, "responses-full"))
    calls = [chunk.tool_call for chunk in pieces if chunk.tool_call]
    assert [chunk.reasoning for chunk in pieces if chunk.reasoning] == ["Hm", "."]
    assert [(call.name, call.id) for call in calls] == [("f", "c1")] * 3
    assert "".join(call.arguments for call in calls) == '{"a":1}'
    assert last.finish_reason == "tool"
    assert last.parts == (
        Reasoning("Hm.", signature="sealed", id="rs_1"),
        Text("hi"),
        ToolCall("f", '{"a":1}', id="c1"),
    )


SCHEMA = {
    "title": "verdict",
    "type": "object",
    "properties": {"good": {"type": "boolean"}},
    "required": ["good"],
    "additionalProperties": False,
}
SAME: dict[str, tuple[gp.Request, dict[str, Any]]] = {
    "text": (gp.Request("hello"), {"input": [{"role": "user", "content": "hello"}]}),
    "options": (
        gp.Request(
            "hello",
            system="be brief",
            max_output_tokens=99,
            temperature=0.5,
            top_p=0.9,
            reasoning_effort="high",
            logprobs=2,
            schema=SCHEMA,
            extra={"service_tier": "flex"},
        ),
        {
            "instructions": "be brief",
            "input": [{"role": "user", "content": "hello"}],
            "max_output_tokens": 99,
            "temperature": 0.5,
            "top_p": 0.9,
            "reasoning": {"effort": "high"},
            "top_logprobs": 2,
            "include": ["message.output_text.logprobs"],
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "verdict",
                    "schema": SCHEMA,
                    "strict": True,
                }
            },
            "service_tier": "flex",
        },
    ),
    "tools": (
        gp.Request("hello", tools=[gp.Tool("f", "Do.")], tool_choice="f"),
        {
            "input": [{"role": "user", "content": "hello"}],
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "Do.",
                    "parameters": {"type": "object", "properties": {}},
                    "strict": False,
                }
            ],
            "tool_choice": {"type": "function", "name": "f"},
        },
    ),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", sorted(SAME))
async def test_requests_are_those_of_the_sdk(chat: ChatServer, case: str) -> None:
    """The body is the SDK's, field by field; only that nothing be stored is said of our own."""
    whole = response_document(message_item('{"good": true}'))
    chat.answers["responses-sdk"] = lambda _: http(whole)
    request, options = SAME[case]
    url = chat.url("responses-sdk")
    await model(chat, "responses-sdk")(request)
    ours = chat.seen[-1]
    theirs, _ = await sdk_request(
        chat, url, lambda client: client.responses.create(model="m", **options)
    )
    assert ours.target == theirs.target
    assert ours.json == {**theirs.json, "store": False}
    assert headers_of(ours) == headers_of(theirs)


@pytest.mark.anyio
async def test_an_answer_goes_back_as_the_sdk_sends_it(chat: ChatServer) -> None:
    """Reasoning and calls go back as the items that the SDK read; ids and states stay behind."""
    chat.answers["responses-turns"] = _full
    ask = model(chat, "responses-turns")
    first = await ask(gp.Request("hello"))
    turns = [gp.Message("user", "hello"), first.message, gp.Message("user", "and?")]
    await ask(gp.Request(turns))
    ours = chat.seen[-1].json["input"]

    def converse(client: Any) -> Any:
        before = client.responses.create(model="m", input="hello")
        items = [item.model_dump(exclude_none=True) for item in before.output]
        user = [{"role": "user", "content": text} for text in ("hello", "and?")]
        return client.responses.create(model="m", input=[user[0], *items, user[1]])

    sent, answer = await sdk_request(chat, chat.url("responses-turns"), converse)
    thought, said, call = sent.json["input"][1:4]
    assert ours[1] == thought
    assert ours[2] == {"role": said["role"], "content": said["content"][0]["text"]}
    assert ours[3] == {name: value for name, value in call.items() if name != "id"}
    assert answer.output_text == first.text


@pytest.mark.anyio
async def test_a_stream_is_read_as_the_sdk_reads_it(chat: ChatServer) -> None:
    """The text, the calls and the usage at the end are those that the SDK finds."""
    chat.answers["responses-streamed"] = _full
    ours = gp.join_chunks(await told(model(chat, "responses-streamed")))
    sent = chat.seen[-1]
    theirs, events = await sdk_request(
        chat,
        chat.url("responses-streamed"),
        lambda client: list(
            client.responses.create(
                model="m", input=[{"role": "user", "content": "q"}], stream=True, store=False
            )
        ),
    )
    whole = events[-1].response
    assert sent.json == theirs.json
    assert ours.text == whole.output_text
    assert ours.usage.input_tokens == whole.usage.input_tokens
    assert ours.tool_calls[0].arguments == whole.output[2].arguments


@pytest.mark.anyio
async def test_tokens_are_counted_beforehand(chat: ChatServer) -> None:
    """`count_tokens` asks the route that counts, as the SDK does, and answers its number."""
    answer = {"object": "response.input_tokens", "input_tokens": 7}
    chat.answers["responses-count"] = lambda _: http(answer)
    request = gp.Request("hello", system="s", max_output_tokens=9)
    assert await model(chat, "responses-count").count_tokens(request) == 7
    ours = chat.seen[-1]
    theirs, told = await sdk_request(
        chat,
        chat.url("responses-count"),
        lambda client: client.responses.input_tokens.count(
            model="m", instructions="s", input=[{"role": "user", "content": "hello"}]
        ),
    )
    assert (ours.target, ours.json) == (theirs.target, theirs.json)
    assert told.input_tokens == 7
    chat.answers["responses-count"] = lambda _: http({"input_tokens": "many"})
    with pytest.raises(errors.InvalidAnswer, match="no count of tokens"):
        await model(chat, "responses-count").count_tokens(request)


@pytest.mark.anyio
async def test_an_answer_is_kept_by_a_journal(chat: ChatServer) -> None:
    """What a journal has kept is not asked for again, and the tokens are those that were billed."""
    ask, journal = model(chat, "responses"), Memory()

    class Failing(Kept):
        async def __call__(self, record: gp.Record[Any]) -> None:
            raise errors.StorageFailed("the disk is full")

    async def call(value: str) -> list[Any]:
        answer = await ask(gp.Request(value))
        return [answer.text, answer.usage.input_tokens, answer.attributes.get("replayed")]

    source, stage, sink = Ledger(["hi"]), gp.map(call), Kept()
    asked = len(chat.seen)
    with pytest.raises(gp.RunFailed):
        await gp.Pipeline(source=source, stage=stage, sink=Failing(), journal=journal).run()
    report = await gp.Pipeline(source=source, stage=stage, sink=sink, journal=journal).run()
    assert (report.written, report.replayed, report.calls) == (1, 1, 0)
    assert sink.values == [["you said: hi", 10, True]]
    assert len(chat.seen) == asked + 1
