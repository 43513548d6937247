"""Chat Completions streamed over real sockets, by servers that behave and that do not."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors, parts
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import OpenAI
from genai_pipeline.testing import FakeClock, StreamingProviderContract
from tests import canary
from tests.servers.chat import ChatServer
from tests.servers.chat import http as answer
from tests.servers.chat_streams import WORDS, chunk, event

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello there", system=canary.PROMPT)


def model(chat: ChatServer, way: str, **options: Any) -> OpenAI:
    """Answer a provider whose server answers in this *way*."""
    secrets = {"api_key": canary.KEY, "headers": canary.HEADERS}
    return OpenAI("m", base_url=chat.url(way), **{**secrets, **options})


async def read(provider: OpenAI, request: gp.Request = REQUEST) -> list[gp.Chunk]:
    async with provider.stream(request) as chunks:
        return [chunk async for chunk in chunks]


def say(chat: ChatServer, *documents: dict[str, Any]) -> OpenAI:
    """Answer a provider whose server streams *documents*."""
    data = b"".join(map(event, documents)) + b"data: [DONE]\n\n"
    chat.answers["said"] = lambda _: answer(data, kind="text/event-stream; charset=utf-8")
    return model(chat, "said")


def finish(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}], **more)


class TestOpenAIStream(StreamingProviderContract):
    """OpenAI's stream over real sockets."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat
        self.model = OpenAI(
            "m", base_url=chat.url("ok"), api_key=canary.KEY, headers=canary.HEADERS
        )

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def make_whole(self) -> gp.Provider:
        return self.model

    def make_failing(self) -> gp.StreamingProvider:
        return model(self.server, "500").stream

    def make_breaking(self) -> gp.StreamingProvider:
        return model(self.server, "stream-cut").stream

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return model(self.server, "stream-stalled").stream

    def make_clock(self) -> FakeClock:
        return FakeClock(cushion=0.3)


async def test_odd_framing_is_read_to_the_letter(chat: ChatServer) -> None:
    """A mark, comments, all line ends and single bytes change nothing, nor does U+2028 in text."""
    chunks = await read(model(chat, "stream-odd"))
    assert [each.text for each in chunks] == [*WORDS, ""]
    assert gp.join_chunks(chunks).usage == gp.Usage(input_tokens=10, output_tokens=5)


async def test_what_is_asked_is_a_stream_with_usage(chat: ChatServer) -> None:
    """The request is that of a call, and asks for events, uncompressed, and for usage."""
    provider = model(chat, "ok", api_key="sk-secret")
    await provider(REQUEST)
    whole = chat.seen[-1]
    await read(provider)
    streamed = chat.seen[-1]
    more = {"stream": True, "stream_options": {"include_usage": True}}
    assert streamed.json == {**whole.json, **more}
    changed = {"accept": "text/event-stream", "accept-encoding": "identity"}
    length = {"content-length": str(len(streamed.body))}
    assert streamed.headers == {**whole.headers, **changed, **length}


@pytest.mark.parametrize(
    ("way", "kind", "message"),
    [
        ("429", errors.RateLimited, "429 rate_limit_exceeded: slow"),
        ("500", errors.Overloaded, "oops"),
        ("401", errors.AuthenticationFailed, "bad key"),
        ("redirect", errors.ConfigurationError, "redirect"),
        ("html", errors.InvalidAnswer, "no JSON .*text/html.*Please log in"),
        ("chunked", errors.ConfigurationError, "answered whole .application/json."),
        ("empty", errors.InvalidAnswer, "empty"),
        ("close-early", errors.ConnectionFailed, "openai"),
        ("stream-text", errors.InvalidAnswer, "no stream of events .text/plain."),
        ("stream-no-json", errors.InvalidAnswer, "an event is no JSON; it begins '{oops'"),
        ("stream-no-object", errors.InvalidAnswer, "no JSON object"),
        ("stream-packed", errors.ConnectionFailed, "'gzip' was not asked for"),
        ("stream-error-first", errors.RateLimited, "slow down"),
        ("stream-long-event", errors.InvalidAnswer, "an event is larger than"),
        ("stream-empty", errors.StreamInterrupted, "without a finish reason"),
    ],
)
async def test_what_fails_at_once_has_the_error_of_a_call(
    chat: ChatServer, way: str, kind: type[Exception], message: str
) -> None:
    """Before the first chunk each fault raises its own error, and the next stream works."""
    bad, good = model(chat, way), model(chat, "ok")
    async with gp.wrap(bad), gp.wrap(good):
        with pytest.raises(kind, match=message) as caught:
            await read(bad)
        assert type(caught.value) is kind
        assert str(caught.value).startswith("openai 'm': ")
        assert gp.join_chunks(await read(good)).text == "you said: hello there"


@pytest.mark.parametrize(
    ("way", "text", "cause"),
    [
        ("stream-cut", "half", errors.ConnectionFailed),
        ("stream-reset", "half", errors.ConnectionFailed),
        ("stream-no-end", "half", None),
        ("stream-error", "half", errors.Overloaded),
    ],
)
async def test_what_breaks_off_is_interrupted(
    chat: ChatServer, way: str, text: str, cause: type[Exception] | None
) -> None:
    """After the first chunk a fault raises `StreamInterrupted`, with its cause and the text."""
    bad, good, told = model(chat, way), model(chat, "ok"), list[Any]()
    async with gp.wrap(bad), gp.wrap(good):
        with gp.listen(told.append), pytest.raises(errors.StreamInterrupted) as caught:
            await read(bad)
        assert caught.value.partial == text
        assert type(caught.value.__cause__) is (cause or type(None))
        (finished,) = [each for each in told if isinstance(each, CallFinished)]
        assert (finished.error, finished.finish_reason) == ("StreamInterrupted", None)
        assert gp.join_chunks(await read(good)).text == "you said: hello there"


@pytest.mark.parametrize("way", ["hang", "stream-late"])
async def test_a_stream_that_does_not_begin_has_a_limit(chat: ChatServer, way: str) -> None:
    """A server that never sends a head, or nothing after it, costs the timeout and no more."""
    with pytest.raises(errors.AttemptTimeout, match=r"within 0\.1 s \(timeout\)"):
        await read(model(chat, way, timeout=0.1))


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("stream-stalled", r"stopped for 60 s"),
        ("stream-loris", r"within 50 s \(timeout\)"),
    ],
)
async def test_silence_has_a_limit(chat: ChatServer, way: str, message: str) -> None:
    """A stream that stops, or drips comments for ever, is cut off after its first chunk, too."""
    clock = FakeClock()
    provider = model(chat, way, clock=clock, timeout=50 if way == "stream-loris" else 600)

    async def later() -> None:
        await anyio.sleep(0.05)
        clock.advance(60)

    async with anyio.create_task_group() as group:
        with pytest.raises(errors.StreamInterrupted, match=message) as caught:
            async with provider.stream(REQUEST) as chunks:
                assert (await anext(chunks)).text == "half"
                group.start_soon(later)
                await anext(chunks)
    assert isinstance(caught.value.__cause__, errors.AttemptTimeout)
    assert caught.value.partial == "half"


async def test_a_slow_consumer_uses_up_no_time(chat: ChatServer) -> None:
    """An hour over a chunk is the consumer's own: no timeout, and no part of the call's time."""
    clock, told = FakeClock(), list[Any]()
    provider = model(chat, "ok", clock=clock, timeout=10)
    with gp.listen(told.append):
        async with provider.stream(REQUEST) as chunks:
            async for _ in chunks:
                clock.advance(3600)
    (finished,) = told
    assert (finished.seconds, finished.error) == (0.0, None)


async def test_leaving_hangs_up(chat: ChatServer) -> None:
    """A consumer that leaves a stream in the middle closes its connection at once."""
    provider, before = model(chat, "stream-stalled"), chat.hung_up
    async with gp.wrap(provider):
        async with provider.stream(REQUEST) as chunks:
            assert (await anext(chunks)).text == "half"
        with anyio.fail_after(30):
            while chat.hung_up == before:
                await anyio.sleep(0.001)


async def test_cancelling_hangs_up(chat: ChatServer) -> None:
    """So does a cancellation, wherever the stream is."""
    provider, before, told = model(chat, "stream-stalled"), chat.hung_up, list[Any]()
    async with gp.wrap(provider):
        with gp.listen(told.append), anyio.CancelScope() as scope:
            async with provider.stream(REQUEST) as chunks:
                async for _ in chunks:
                    scope.cancel()
        with anyio.fail_after(30):
            while chat.hung_up == before:
                await anyio.sleep(0.001)
    assert [each.error for each in told] == ["Cancelled"]


async def test_a_stream_that_was_cancelled_is_closed(chat: ChatServer) -> None:
    """A consumer that cancels one wait of its own cannot take the rest for a whole answer."""
    async with model(chat, "stream-stalled").stream(REQUEST) as chunks:
        await anext(chunks)
        with anyio.move_on_after(0.01):
            await anext(chunks)
        with pytest.raises(errors.StreamInterrupted, match="the stream is closed") as caught:
            await anext(chunks)
    assert caught.value.partial == "half"


async def test_a_place_is_free_again_however_it_ends(chat: ChatServer) -> None:
    """With one connection in all, streams that end in each way keep none of it."""
    ways = ("ok", "stream-cut", "stream-stalled", "stream-error", "stream-open-end", "429", "html")
    fresh = model(chat, "ok", max_connections=1)
    async with gp.wrap(fresh):
        for way in ways * 2:
            other = model(chat, way, max_connections=1)
            object.__setattr__(other._caller, "client", fresh._caller.client)
            try:
                async with other.stream(REQUEST) as chunks:
                    async for each in chunks:
                        if way == "stream-stalled" and each.text:
                            break
            except gp.PipelineError:
                assert way in ("stream-cut", "stream-error", "429", "html")
            with anyio.fail_after(30):
                assert gp.join_chunks(await read(fresh)).text == "you said: hello there"


async def test_a_whole_stream_keeps_its_connection(chat: ChatServer) -> None:
    """Streams read to their end, one after the other in a run, share one connection."""
    provider, before = model(chat, "ok"), chat.connections
    async with gp.wrap(provider):
        for _ in range(4):
            await read(provider)
    assert chat.connections == before + 1


async def test_done_is_the_end_though_the_connection_stays_open(chat: ChatServer) -> None:
    """A server that does not end its answer after ``[DONE]`` does not hold up the last chunk."""
    response = gp.join_chunks(await read(model(chat, "stream-open-end")))
    assert response.text == "whole"


async def test_an_end_without_usage_says_so(chat: ChatServer) -> None:
    """A finish reason makes an answer whole; that usage and ``[DONE]`` are missing is told."""
    response = gp.join_chunks(await read(model(chat, "stream-no-done")))
    assert (response.text, response.usage) == ("whole", gp.Usage())
    assert response.attributes == {"usage_missing": True}


async def test_another_content_type_is_no_obstacle(chat: ChatServer) -> None:
    """Events that come under a wrong name are read all the same."""
    assert gp.join_chunks(await read(model(chat, "stream-nameless"))).text == "fine"


async def test_tool_calls_and_reasoning_are_put_together(chat: ChatServer) -> None:
    """Fragments are told as they come; the last chunk holds the whole, as a call's answer does."""

    def part(**delta: Any) -> dict[str, Any]:
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])

    def call(**piece: Any) -> dict[str, Any]:
        return part(tool_calls=[{"index": 0, **piece}])

    provider = say(
        chat,
        part(reasoning="think"),
        part(reasoning="ing"),
        call(id="c1", type="function", function={"name": "f", "arguments": ""}),
        call(function={"arguments": '{"a"'}),
        call(function={"arguments": ":1}"}),
        finish("tool_calls"),
    )
    chunks = await read(provider)
    assert [each.reasoning for each in chunks[:2]] == ["think", "ing"]
    assert [each.tool_call for each in chunks[2:5]] == [
        parts.ToolCall("f", piece, id="c1") for piece in ("", '{"a"', ":1}")
    ]
    response = gp.join_chunks(chunks)
    assert (response.finish_reason, response.raw_finish_reason) == ("tool", "tool_calls")
    assert response.tool_calls == (parts.ToolCall("f", '{"a":1}', id="c1"),)
    assert response.reasoning == "thinking"


async def test_a_refusal_is_raised_at_the_end(chat: ChatServer) -> None:
    """What a call would raise instead of its answer is raised instead of the last chunk."""
    provider = say(chat, chunk("I will"), finish("content_filter"))
    with pytest.raises(errors.Refused, match="the content filter refused"):
        await read(provider)


SCHEMA = {"type": "object", "required": ["a"]}


async def test_a_document_comes_without_space_around(chat: ChatServer) -> None:
    """The chunks of a JSON answer are the text a call would answer, to the letter."""
    pieces = ("\n ", '{"a"', ": ", "1} ", "\n")
    provider = say(chat, *map(chunk, pieces), finish())
    chunks = await read(provider, gp.Request("x", schema=SCHEMA))
    assert gp.join_chunks(chunks).text == '{"a": 1}'


@pytest.mark.parametrize("text", ['```json\n{"a": 1}\n```', '{"b": 1}', "no"])
async def test_what_is_no_document_is_no_answer(chat: ChatServer, text: str) -> None:
    """A text that a call would not answer as it is has no last chunk."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(say(chat, chunk(text), finish()), gp.Request("x", schema=SCHEMA))
    assert isinstance(caught.value.__cause__, errors.InvalidAnswer)
    assert caught.value.partial == text


async def test_a_document_that_was_cut_is_truncated(chat: ChatServer) -> None:
    """The output limit is told as it is of a call, with what came."""
    with pytest.raises(errors.Truncated) as caught:
        await read(say(chat, chunk('{"a'), finish("length")), gp.Request("x", schema=SCHEMA))
    assert caught.value.partial == '{"a'


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (gp.Request("x", labels=("a", "b")), "labels=.* cannot be streamed"),
        (gp.Request("x", extra={"stream": False}), r"extra\['stream'\]"),
        (gp.Request("x", extra={"n": 2}), r"extra\['n'\]=2"),
    ],
)
async def test_what_cannot_be_streamed_is_refused_before_sending(
    chat: ChatServer, request_: gp.Request, message: str
) -> None:
    """Labels, and parameters that would change the form, raise and nothing is sent."""
    before = len(chat.seen)
    with pytest.raises(gp.ConfigurationError, match=message):
        await read(model(chat, "ok"), request_)
    assert len(chat.seen) == before


async def test_no_error_shows_the_key(chat: ChatServer) -> None:
    """A server that sends the key back in a stream shows it to nobody."""
    chat.answers["leak"] = lambda _: answer(
        event({"error": {"message": "bad key sk-secret-1"}}), kind="text/event-stream"
    )
    with pytest.raises(errors.PipelineError) as caught:
        await read(model(chat, "leak", api_key="sk-secret-1"))
    assert "sk-secret-1" not in str(caught.value)
    assert "***" in str(caught.value)
