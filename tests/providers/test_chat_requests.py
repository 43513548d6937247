"""What a Chat Completions request says of parts, tools and choices, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers import OpenAI
from genai_pipeline.providers._chat_profile import OPENAI
from genai_pipeline.providers._chat_request import chat_body
from tests.providers.sdk import headers_of, sdk_request
from tests.servers.chat import ChatServer, completion, http

pytestmark = pytest.mark.anyio

WEATHER = gp.Tool(
    "weather",
    "Tell the weather.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    strict=True,
)
CLOCK = gp.Tool("clock")
CALL = ToolCall("weather", '{"city":"Oslo"}', id="call_1")

PLAIN_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
PLAIN_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
}


def body(request: gp.Request) -> Any:
    """Answer the body sent for *request*."""
    return json.loads(chat_body(request, model="m", profile=OPENAI))


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (Text("a"), {"type": "text", "text": "a"}),
        (
            Image(url="https://x.example/a.png", detail="low"),
            {
                "type": "image_url",
                "image_url": {"url": "https://x.example/a.png", "detail": "low"},
            },
        ),
        (
            Image(data=b"\xff\xd8", media_type="image/jpeg"),
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9g="}},
        ),
        (
            Audio(data=b"RIFF"),
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        ),
        (
            Audio(data=b"ID3", media_type="audio/mpeg"),
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        ),
        (File(id="file-1"), {"type": "file", "file": {"file_id": "file-1"}}),
        (
            File(data=b"%PDF", name="a.pdf"),
            {
                "type": "file",
                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
            },
        ),
    ],
)
def test_each_part_has_its_form(part: Part, sent: dict[str, Any]) -> None:
    """Texts, pictures, recordings and files of the user's go as the API wants them."""
    message = gp.Message("user", [part])
    assert body(gp.Request(message))["messages"] == [{"role": "user", "content": [sent]}]


def test_a_conversation_with_tools_goes_on() -> None:
    """A call and its result are sent back as turns; what the model thought is not."""
    answer = gp.Response("", parts=(Reasoning("hm", signature="s"), Text("Let me see."), CALL))
    turns = [
        gp.Message("user", "Oslo?"),
        answer.message,
        gp.Message("tool", ToolResult.to(CALL, "rain")),
    ]
    assert body(gp.Request(turns))["messages"] == [
        {"role": "user", "content": "Oslo?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [PLAIN_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def test_results_of_several_tools_are_turns_of_their_own() -> None:
    """A turn of two results becomes two messages, and calls without text have no content."""
    other = ToolCall("clock", id="call_2")
    turns = [
        gp.Message("assistant", [CALL, other]),
        gp.Message("tool", [ToolResult.to(CALL, "rain"), ToolResult.to(other, "noon")]),
    ]
    said, first, second = body(gp.Request(turns))["messages"]
    assert said["content"] is None
    assert [call["id"] for call in said["tool_calls"]] == ["call_1", "call_2"]
    assert (first["tool_call_id"], second["tool_call_id"]) == ("call_1", "call_2")


def test_every_option_has_its_field() -> None:
    """Sampling, stops, scores, reasoning and tools go where the API wants them."""
    request = gp.Request(
        "q",
        top_p=0.9,
        seed=7,
        stop=("END", "\n"),
        reasoning_effort="low",
        logprobs=3,
        tools=[WEATHER, CLOCK],
        tool_choice="required",
    )
    sent = body(request)
    assert sent == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END", "\n"],
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "tools": [
            PLAIN_WEATHER,
            {
                "type": "function",
                "function": {
                    "name": "clock",
                    "parameters": {"type": "object", "properties": {}},
                },
            },
        ],
        "tool_choice": "required",
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_a_tool_can_be_chosen(choice: str, sent: object) -> None:
    """The choice is a word, or the one tool by its name."""
    request = gp.Request("q", tools=[WEATHER], tool_choice=choice)
    assert body(request)["tool_choice"] == sent


@pytest.mark.parametrize(
    ("role", "part", "words"),
    [
        ("user", Image(data=b"x", media_type="image/heic"), "media_type='image/heic'; this API"),
        ("user", Image(url="gs://bucket/a.png"), "url='gs://bucket/a.png'; this API reads https"),
        ("user", Audio(data=b"x", media_type="audio/flac"), "media_type='audio/flac'; this API"),
        ("user", File(url="https://x.example/a.pdf"), "reads no addresses, give data= or id="),
        ("assistant", ToolCall("weather"), "ToolCall: 'weather' has no id"),
        ("tool", ToolResult("rain", name="weather"), "ToolResult: 'weather' has no id"),
    ],
)
def test_what_the_api_has_no_form_for_is_refused(role: Any, part: Part, words: str) -> None:
    """What cannot be sent is an error that names the part and the mend; nothing is left out."""
    with pytest.raises(gp.ConfigurationError, match=words):
        body(gp.Request(gp.Message(role, [part])))


@pytest.mark.parametrize(
    ("option", "extra"),
    [
        ({"top_p": 0.5}, {"top_p": 1}),
        ({"seed": 1}, {"seed": 2}),
        ({"stop": "x"}, {"stop": "y"}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        ({"logprobs": 1}, {"top_logprobs": 2}),
        ({"tools": [WEATHER]}, {"tools": []}),
        ({"tools": [WEATHER], "tool_choice": "auto"}, {"tool_choice": "none"}),
    ],
)
def test_an_extra_overrides_no_option(option: Any, extra: dict[str, Any]) -> None:
    """An option given twice is an error that names it."""
    (name,) = extra
    with pytest.raises(gp.ConfigurationError, match=rf"extra\['{name}'\]"):
        body(gp.Request("q", extra=extra, **option))


TURNS: tuple[Any, Any] = (
    [
        gp.Message("user", [Text("What is it?"), Image(url="https://x.example/a.png")]),
        gp.Message("assistant", [CALL]),
        gp.Message("tool", ToolResult.to(CALL, "rain")),
    ],
    [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [PLAIN_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ],
)
SCHEMA = {
    "title": "verdict",
    "type": "object",
    "properties": {"good": {"type": "boolean"}},
    "required": ["good"],
    "additionalProperties": False,
}
HELLO = [{"role": "user", "content": "hello"}]

SAME: dict[str, tuple[gp.Request, dict[str, Any]]] = {
    "text": (gp.Request("hello"), {"messages": HELLO}),
    "turns": (gp.Request(TURNS[0]), {"messages": TURNS[1]}),
    "options": (
        gp.Request(
            "hello",
            system="be brief",
            max_output_tokens=9,
            temperature=0.5,
            top_p=0.9,
            seed=7,
            stop="END",
            reasoning_effort="high",
            logprobs=0,
            extra={"service_tier": "flex"},
        ),
        {
            "messages": [{"role": "system", "content": "be brief"}, *HELLO],
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "stop": ["END"],
            "reasoning_effort": "high",
            "logprobs": True,
            "top_logprobs": 0,
            "service_tier": "flex",
        },
    ),
    "tools": (
        gp.Request("hello", tools=[WEATHER], tool_choice="weather"),
        {
            "messages": HELLO,
            "tools": [PLAIN_WEATHER],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
        },
    ),
    "schema": (
        gp.Request("hello", schema=SCHEMA),
        {
            "messages": HELLO,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True},
            },
        },
    ),
}


@pytest.mark.parametrize("case", sorted(SAME))
async def test_requests_are_those_of_the_sdk(chat: ChatServer, case: str) -> None:
    """The body is the SDK's, field by field, and so are the headers that say what to do."""
    chat.answers["sdk"] = lambda _: http(completion('{"good": true}'))
    request, options = SAME[case]
    url = chat.url("sdk")
    model = OpenAI("m", base_url=url, api_key="sk-test", limit_field="max_completion_tokens")
    await model(request)
    ours = chat.seen[-1]
    theirs, _ = await sdk_request(
        chat, url, lambda client: client.chat.completions.create(model="m", **options)
    )
    assert ours.target == theirs.target
    assert ours.json == theirs.json
    assert headers_of(ours) == headers_of(theirs)


async def test_a_stream_is_asked_for_as_the_sdk_does(chat: ChatServer) -> None:
    """A stream asks for the usage at its end, and says in its headers that it takes events."""
    url = chat.url("stream")
    model = OpenAI("m", base_url=url, api_key="sk-test")
    async with model.stream(gp.Request("hello")) as chunks:
        ours = gp.join_chunks([chunk async for chunk in chunks])
    sent = chat.seen[-1]
    theirs, told = await sdk_request(
        chat,
        url,
        lambda client: list(
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        ),
    )
    assert sent.json == theirs.json
    # The SDK says application/json, and is answered with events all the same.
    assert headers_of(sent) == headers_of(theirs) | {"accept": "text/event-stream"}
    assert ours.text == "".join(
        choice.delta.content or "" for chunk in told for choice in chunk.choices
    )
    assert ours.usage.input_tokens == told[-1].usage.prompt_tokens


async def test_answers_are_read_as_the_sdk_reads_them(chat: ChatServer) -> None:
    """Text, calls of tools, scores and tokens are those that the SDK finds."""
    message = {"role": "assistant", "content": "hi", "refusal": None, "tool_calls": [PLAIN_CALL]}
    scores = {"content": [{"token": "hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message, "logprobs": scores}
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    chat.answers["sdk-read"] = lambda _: http(completion(choices=[choice], usage=usage))
    ours = await OpenAI("m", base_url=chat.url("sdk-read"), api_key="k")(gp.Request("hello"))
    _, theirs = await sdk_request(
        chat,
        chat.url("sdk-read"),
        lambda client: client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}]
        ),
    )
    (call,) = theirs.choices[0].message.tool_calls
    assert ours.text == theirs.choices[0].message.content
    assert ours.tool_calls == (ToolCall(call.function.name, call.function.arguments, id=call.id),)
    assert (ours.logprobs[0].token, ours.logprobs[0].logprob) == ("hi", -0.5)
    assert (ours.usage.cached_tokens, ours.usage.reasoning_tokens) == (
        theirs.usage.prompt_tokens_details.cached_tokens,
        theirs.usage.completion_tokens_details.reasoning_tokens,
    )
    assert (ours.request_id, ours.model) == (theirs.id, theirs.model)
