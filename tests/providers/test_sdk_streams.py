"""Streams through an application's own SDK clients, and what else these can do."""

from __future__ import annotations

import base64
import gc
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import anthropic
import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import Anthropic, OpenAI, from_anthropic, from_openai
from genai_pipeline.testing import FakeClock, StreamingProviderContract
from tests.providers.lent import CANARY, Lenders, claude_at, forgets_sockets, openai_at
from tests.providers.test_sdk_clients import Bare
from tests.servers.bedrock import frame
from tests.servers.chat import ChatServer, http
from tests.servers.messages import MessagesServer, events_of, failure, message

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", max_output_tokens=9)


class TestFromOpenAI(Lenders, StreamingProviderContract):
    """The contract, through OpenAI's own client."""

    def make(self) -> gp.StreamingProvider:
        return self.lent("ok").stream

    def make_whole(self) -> gp.Provider:
        url = self.server.url("ok")
        if self.kind == "openai":
            return OpenAI("m", base_url=url)
        return Anthropic("a-model", base_url=url, version="2023-06-01")

    def make_failing(self) -> gp.StreamingProvider:
        return self.lent("500").stream

    def make_breaking(self) -> gp.StreamingProvider:
        return self.lent("stream-cut").stream

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return self.lent("stream-stalled").stream

    def make_clock(self) -> FakeClock:
        return FakeClock(cushion=0.3)

    @forgets_sockets
    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A stream that is cancelled at any of its awaits ends, is closed and settled once."""
        await super().test_cancellation_passes_through_everywhere()
        gc.collect()


class TestFromAnthropic(TestFromOpenAI):
    """The contract, through Anthropic's own client."""

    kind = "anthropic"


async def read(stream: AbstractAsyncContextManager[AsyncIterator[gp.Chunk]]) -> list[gp.Chunk]:
    async with stream as chunks:
        return [chunk async for chunk in chunks]


async def test_streams_ask_what_we_would(chat: ChatServer, claude: MessagesServer) -> None:
    """Bodies and chunks are those of `OpenAI` and `Anthropic`, usage at the end included."""
    mine = await read(OpenAI("m", base_url=chat.url("ok")).stream(REQUEST))
    async with openai_at(chat.url("ok")) as client:
        theirs = await read(from_openai(client, "m").stream(REQUEST))
    ours, sent = chat.seen[-2:]
    assert (sent.target, sent.json) == (ours.target, ours.json)
    assert theirs == mine
    assert theirs[-1].usage is not None
    assert theirs[-1].usage.output_tokens == 5
    limit: Any = {"max_output_tokens": 64}
    ask = gp.Request("hello")
    mine = await read(Anthropic("c", base_url=claude.url("ok"), **limit).stream(ask))
    async with claude_at(claude.url("ok")) as claudes:
        theirs = await read(from_anthropic(claudes, "c", **limit).stream(ask))
    ours, sent = claude.seen[-2:]
    assert (sent.target, sent.json) == (ours.target, ours.json)
    assert theirs == mine


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("429", errors.RateLimited),
        ("500", errors.Overloaded),
        ("401", errors.AuthenticationFailed),
        ("html", errors.InvalidAnswer),
        ("empty", errors.InvalidAnswer),
        ("limits", gp.ConfigurationError),
        ("reset-early", errors.ConnectionFailed),
        ("no-http", errors.ConnectionFailed),
        ("hang", errors.AttemptTimeout),
        ("stream-late", errors.AttemptTimeout),
        ("stream-stalled", errors.StreamInterrupted),
        ("stream-empty", errors.StreamInterrupted),
        ("stream-no-end", errors.StreamInterrupted),
        ("stream-cut", errors.StreamInterrupted),
        ("stream-reset", errors.StreamInterrupted),
        ("stream-error", errors.StreamInterrupted),
        ("stream-error-first", errors.RateLimited),
        ("stream-no-json", errors.InvalidAnswer),
        ("stream-text", errors.InvalidAnswer),
        # What the SDKs stand on leaves a generator behind where it cannot unpack what came.
        pytest.param(
            *("stream-packed", errors.ConnectionFailed),
            marks=pytest.mark.filterwarnings(
                "ignore:.*PoolByteStream:pytest.PytestUnraisableExceptionWarning"
            ),
        ),
        ("stream-long-event", errors.InvalidAnswer),
    ],
)
async def test_each_failure_is_one_of_ours(
    chat: ChatServer, way: str, kind: type[errors.PipelineError]
) -> None:
    """Whatever goes wrong on the way is in our tree, told once, and shows no key."""
    told: list[Any] = []
    # That of the stalled one must be long enough for what comes before.
    timeout = {"hang": 0.3, "stream-late": 0.3, "stream-stalled": 2.0}.get(way, 30)
    with gp.listen(told.append), pytest.raises(errors.PipelineError) as caught:
        async with openai_at(chat.url(way)) as client:
            await read(from_openai(client, "m", timeout=timeout).stream(REQUEST))
    error = caught.value
    assert type(error) is kind
    assert [event.error for event in told] == [kind.__name__]
    if isinstance(error, errors.StreamInterrupted) and way != "stream-empty":
        assert error.partial.startswith("half")
    assert CANARY not in "".join(traceback.format_exception(error)) + repr(told)


async def test_an_error_among_the_events_is_the_cause(claude: MessagesServer) -> None:
    """What Anthropic tells in the middle of an answer is known as what it is."""
    async with claude_at(claude.url("stream-overloaded")) as client:
        with pytest.raises(errors.StreamInterrupted) as caught:
            await read(from_anthropic(client, "m").stream(REQUEST))
    assert isinstance(caught.value.__cause__, errors.Overloaded)
    assert caught.value.partial == "half"


async def test_leaving_and_cancelling_hang_up(chat: ChatServer) -> None:
    """The SDK's response is closed at once, and its client goes on to serve."""
    async with openai_at(chat.url("stream-stalled")) as client:
        model = from_openai(client, "m")
        before = chat.hung_up
        async with model.stream(REQUEST) as chunks:
            await anext(chunks)
        begun = anyio.Event()

        async def wait_for_more() -> None:
            async with model.stream(REQUEST) as chunks:
                await anext(chunks)
                begun.set()
                await anext(chunks)

        async with anyio.create_task_group() as group:
            group.start_soon(wait_for_more)
            await begun.wait()  # else the server might not yet be where it hears of it
            group.cancel_scope.cancel()
        with anyio.fail_after(30):
            while chat.hung_up < before + 2:
                await anyio.lowlevel.checkpoint()
        assert await read(from_openai(client.copy(base_url=chat.url("ok")), "m").stream(REQUEST))


async def test_clouds_choose_their_path_by_it(claude: MessagesServer) -> None:
    """Clients of clouds, whose path tells whether to stream, are told."""
    vertex = anthropic.AsyncAnthropicVertex(
        project_id="p", region="r", access_token=CANARY, base_url=claude.url("500")
    )
    async with vertex:
        with pytest.raises(errors.PipelineError):
            await read(from_anthropic(vertex, "claude-x").stream(REQUEST))
    assert claude.seen[-1].target.endswith("claude-x:streamRawPredict")


def framed(*frames: bytes) -> bytes:
    return http(b"".join(frames), kind="application/vnd.amazon.eventstream")


def chunks_of(text: str) -> list[bytes]:
    """Answer Anthropic's events in Amazon's frames."""
    events = [json.dumps(each).encode() for each in events_of(message(text))]
    return [frame("chunk", {"bytes": base64.b64encode(each).decode()}) for each in events]


async def test_amazons_frames_are_taken_off(claude: MessagesServer) -> None:
    """The client for Bedrock gets Anthropic's events in frames, and errors as exceptions."""
    chunks = chunks_of("from the frames")
    strange = frame("initial-response", {})
    answers = {
        "framed": framed(strange, *chunks),
        "thrown": framed(*chunks[:5], frame("throttlingException", {"message": "s"}, "exception")),
        "damaged": framed(*chunks[:5], chunks[5][:-1] + b"\xff"),
        "empty-frame": framed(*chunks[:5], frame("chunk", {"bytes": "%"})),
    }
    causes = {"thrown": errors.RateLimited}
    for way, answer in answers.items():
        claude.answers[way] = partial(_given, answer)
        client = anthropic.AsyncAnthropicBedrock(
            api_key=CANARY, aws_region="us-east-1", base_url=claude.url(way)
        )
        async with client:
            model = from_anthropic(client, "anthropic.claude-x")
            if way == "framed":
                response = gp.join_chunks(await read(model.stream(REQUEST)))
                assert (response.text, response.usage.output_tokens) == ("from the frames", 5)
                continue
            with pytest.raises(errors.StreamInterrupted) as caught:
                await read(model.stream(REQUEST))
        assert isinstance(caught.value.__cause__, causes.get(way, errors.InvalidAnswer))
    assert claude.seen[-1].target.endswith("/invoke-with-response-stream")


def _given(answer: bytes, _: object) -> bytes:
    return answer


async def test_a_client_without_streams_is_told(chat: ChatServer) -> None:
    """A client object that cannot stream says so when it is asked to."""

    class Client(Bare):
        class chat:  # noqa: N801 - the SDK's own word
            class completions:  # noqa: N801 - the SDK's own word
                class with_raw_response:  # noqa: N801 - the SDK's own word
                    create = None

    with pytest.raises(gp.ConfigurationError, match=r"which has no chat\.completions\.with_strea"):
        await read(from_openai(Client(), "m").stream(REQUEST))


async def test_tokens_are_counted_through_the_client(claude: MessagesServer) -> None:
    """Anthropic's client counts what `Anthropic` counts, in the same words."""
    request = gp.Request("how long is this?", system="s")
    mine = await Anthropic("c", base_url=claude.url("ok")).count_tokens(request)
    async with claude_at(claude.url("ok")) as client:
        assert await from_anthropic(client, "c").count_tokens(request) == mine == 17
    ours, sent = claude.seen[-2:]
    assert (sent.target, sent.json) == (ours.target, ours.json)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(failure("rate_limit_error", "slow"), status="429 Slow"), errors.RateLimited),
        (http({"input_tokens": -1}), errors.InvalidAnswer),
        (http(b"[]"), errors.InvalidAnswer),
        (http(b"<html>"), errors.InvalidAnswer),
    ],
)
async def test_a_count_that_fails_is_one_of_ours(
    claude: MessagesServer, answer: bytes, kind: type[errors.PipelineError]
) -> None:
    """What is no count raises what a call would."""
    claude.answers["count"] = lambda _: answer
    async with claude_at(claude.url("count")) as client:
        with pytest.raises(kind):
            await from_anthropic(client, "c").count_tokens(REQUEST)
