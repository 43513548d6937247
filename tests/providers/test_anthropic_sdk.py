"""Anthropic's own SDK, called at the same server: our requests are its requests, field by field."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, cast

import anthropic
import anyio.to_thread
import pytest

import genai_pipeline as gp
from genai_pipeline import parts
from genai_pipeline.providers import Anthropic
from tests.providers.sdk import headers_of
from tests.servers.chat import Exchange, http
from tests.servers.messages import MessagesServer, events_of, message, sse

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "aGlkZGVu"}


async def asked(
    claude: MessagesServer, call: Callable[[anthropic.Anthropic], Any], way: str = "ok"
) -> tuple[Exchange, Any]:
    """Answer the request that the SDK makes for *call*, and what it answers."""

    def make() -> Any:
        with anthropic.Anthropic(
            base_url=claude.url(way), api_key="sk-test", max_retries=0
        ) as client:
            return call(client)

    answer = await anyio.to_thread.run_sync(make)
    return claude.seen[-1], answer


def user(*content: Any) -> list[Any]:
    return [{"role": "user", "content": list(content)}]


WEATHER = gp.Tool("weather", "Tells the weather.", {"type": "object", "properties": {}})
REQUESTS: list[tuple[gp.Request, dict[str, Any]]] = [
    (gp.Request("hi"), {"messages": [{"role": "user", "content": "hi"}]}),
    (
        gp.Request("hi", system="Be brief.", stop=["END", "STOP"]),
        {
            "messages": [{"role": "user", "content": "hi"}],
            "system": "Be brief.",
            "stop_sequences": ["END", "STOP"],
        },
    ),
    (
        gp.Request(
            gp.Message(
                "user",
                [
                    parts.Text("look"),
                    parts.Image(data=PNG),
                    parts.Image(url="https://x.example/a.png"),
                    parts.File(data=b"%PDF", name="a.pdf"),
                    parts.File(data=b"plain", media_type="text/plain"),
                    parts.File(url="https://x.example/a.pdf"),
                    parts.File(id="file_1"),
                ],
            )
        ),
        {
            "messages": user(
                {"type": "text", "text": "look"},
                {
                    "type": "image",
                    "source": {
                        "type": "base64",
                        "media_type": "image/png",
                        "data": base64.b64encode(PNG).decode(),
                    },
                },
                {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
                {
                    "type": "document",
                    "source": {
                        "type": "base64",
                        "media_type": "application/pdf",
                        "data": base64.b64encode(b"%PDF").decode(),
                    },
                    "title": "a.pdf",
                },
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "plain"},
                },
                {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
                {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
            )
        },
    ),
    (
        gp.Request(
            [
                gp.Message("user", "Warm?"),
                gp.Message(
                    "assistant",
                    [
                        parts.Reasoning("Hm.", signature="c2ln"),
                        parts.Reasoning(signature="aGlkZGVu", hidden=True),
                        parts.Text("I look."),
                        parts.ToolCall("weather", '{"city": "Bern"}', id="toolu_1"),
                    ],
                ),
                gp.Message("tool", parts.ToolResult("down", call_id="toolu_1", is_error=True)),
            ],
            tools=[WEATHER, gp.Tool("strict", parameters=SCHEMA, strict=True)],
            tool_choice="weather",
        ),
        {
            "messages": [
                {"role": "user", "content": "Warm?"},
                {
                    "role": "assistant",
                    "content": [THOUGHT, HIDDEN, {"type": "text", "text": "I look."}, CALL],
                },
                *user(
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": "down",
                        "is_error": True,
                    }
                ),
            ],
            "tools": [
                {
                    "name": "weather",
                    "description": "Tells the weather.",
                    "input_schema": {"type": "object", "properties": {}},
                },
                {"name": "strict", "input_schema": SCHEMA, "strict": True},
            ],
            "tool_choice": {"type": "tool", "name": "weather"},
        },
    ),
    (
        gp.Request("hi", schema=SCHEMA, reasoning_effort="high"),
        {
            "messages": [{"role": "user", "content": "hi"}],
            "thinking": {"type": "adaptive"},
            "output_config": {
                "effort": "high",
                "format": {"type": "json_schema", "schema": SCHEMA},
            },
        },
    ),
    (
        gp.Request("hi", reasoning_effort="none", extra={"service_tier": "auto", "speed": "fast"}),
        {
            "messages": [{"role": "user", "content": "hi"}],
            "thinking": {"type": "disabled"},
            "service_tier": "auto",
            "speed": "fast",
        },
    ),
]
"""Requests in our words, and the arguments of the SDK that ask for the same."""


def ours(claude: MessagesServer, **options: Any) -> Anthropic:
    options = {"base_url": claude.url("ok"), "api_key": "sk-test", **options}
    return Anthropic("claude-opus-5", max_output_tokens=64, **options)


@pytest.mark.parametrize(("request_", "arguments"), REQUESTS)
async def test_a_call_is_the_sdks(
    claude: MessagesServer, request_: gp.Request, arguments: dict[str, Any]
) -> None:
    """Path and body are the SDK's own, for every part of a request that there is."""
    common: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 64, **arguments}
    theirs, _ = await asked(claude, lambda client: client.messages.create(**common))
    try:
        await ours(claude)(request_)
    except gp.errors.InvalidAnswer:
        assert request_.schema  # which the server's words are not of
    mine = claude.seen[-1]
    assert mine.target == theirs.target
    assert mine.json == theirs.json


async def test_headers_are_the_sdks(claude: MessagesServer) -> None:
    """Version and type are the SDK's; the key goes where each version and cloud takes it."""
    arguments: Any = {
        "model": "claude-opus-5",
        "max_tokens": 64,
        "messages": REQUESTS[0][1]["messages"],
    }
    theirs, _ = await asked(claude, lambda client: client.messages.create(**arguments))
    await ours(claude)(gp.Request("hi"))
    expected = headers_of(theirs)
    # The SDK of today sends a bearer; ``x-api-key`` works with the older version, too, and is
    # what Foundry wants, so it is our default.
    assert expected.pop("authorization") == "Bearer sk-test"
    assert headers_of(claude.seen[-1]) == {**expected, "x-api-key": "sk-test"}
    await ours(claude, key_header="authorization")(gp.Request("hi"))
    assert headers_of(claude.seen[-1]) == headers_of(theirs)


async def test_a_stream_is_the_sdks(claude: MessagesServer) -> None:
    """A stream is asked for as the SDK does; that events are wanted, we also say in a header."""
    arguments: Any = {"model": "claude-opus-5", "max_tokens": 64, **REQUESTS[1][1]}

    def read(client: anthropic.Anthropic) -> Any:
        return list(client.messages.create(stream=True, **arguments))

    theirs, events = await asked(claude, read)
    async with ours(claude).stream(REQUESTS[1][0]) as chunks:
        joined = gp.join_chunks([chunk async for chunk in chunks])
    mine = claude.seen[-1]
    assert mine.json == theirs.json
    assert theirs.headers["accept"] == "application/json"
    assert mine.headers["accept"] == "text/event-stream"
    assert [event.type for event in events][-1] == "message_stop"
    assert joined.text == "you said: hi"


@pytest.mark.parametrize(("request_", "arguments"), REQUESTS)
async def test_a_count_is_the_sdks(
    claude: MessagesServer, request_: gp.Request, arguments: dict[str, Any]
) -> None:
    """Tokens are counted of the same body, less what the SDK's count does not take either."""
    taken = {
        name: value
        for name, value in arguments.items()
        if name not in {"stop_sequences", "service_tier"}
    }
    theirs, count = await asked(
        claude,
        lambda client: client.messages.count_tokens(model="claude-opus-5", **cast("Any", taken)),
    )
    assert await ours(claude).count_tokens(request_) == count.input_tokens
    assert claude.seen[-1].target == theirs.target
    assert claude.seen[-1].json == theirs.json


async def test_what_the_server_says_is_what_the_sdk_reads(claude: MessagesServer) -> None:
    """The server of these tests speaks as the API: its answers, and its streams, suit the SDK."""
    whole = message(THOUGHT, HIDDEN, "I look.", CALL, stop_reason="tool_use")
    arguments: Any = {"model": "m", "max_tokens": 64, **REQUESTS[0][1]}
    claude.answers["told"] = lambda _: http(whole)
    _, answer = await asked(claude, lambda client: client.messages.create(**arguments), "told")
    stream = b"".join(map(sse, events_of(whole)))
    claude.answers["streamed"] = lambda _: http(stream, kind="text/event-stream")

    def read(client: anthropic.Anthropic) -> Any:
        with client.messages.stream(**arguments) as events:
            return events.get_final_message()

    _, joined = await asked(claude, read, "streamed")
    ours_ = await Anthropic("m", base_url=claude.url("told"), max_output_tokens=9)(gp.Request("x"))
    for theirs in (answer, joined):
        assert [block.type for block in theirs.content] == [
            *("thinking", "redacted_thinking", "text", "tool_use")
        ]
        assert theirs.content[3].input == ours_.tool_calls[0].parse() == {"city": "Bern"}
        assert theirs.stop_reason == ours_.raw_finish_reason
        assert theirs.usage.output_tokens == ours_.usage.output_tokens
