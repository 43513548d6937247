"""What is sent to Gemini: beside Google's own SDK, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio.to_thread
import pytest
from google import genai
from google.genai import types

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.parts import Audio, File, Image, ToolCall, ToolResult
from genai_pipeline.providers import Gemini
from genai_pipeline.providers._gemini_request import gemini_body
from tests.servers.gemini import GeminiServer

pytestmark = pytest.mark.anyio
MODEL = "gemini-3-flash"
SCHEMA = {"type": "object", "properties": {"some_key": {"type": "string"}}}
TOOL = gp.Tool("f", "of x", SCHEMA)


def body(request: gp.Request) -> dict[str, Any]:
    return gemini_body(request, "gemini 'm'")


def camel(value: Any, key: str = "") -> Any:
    """Answer *value* with its names in the API's own form, as the server reads both of them."""
    if key in {"responseJsonSchema", "parametersJsonSchema", "args", "response"}:
        return value
    if isinstance(value, dict):
        renamed = {re.sub(r"_([a-z])", lambda m: m[1].upper(), k): v for k, v in value.items()}
        return {k: camel(v, k) for k, v in renamed.items()}
    return [camel(each) for each in value] if isinstance(value, list) else value


def of_sdk(sent: dict[str, Any]) -> dict[str, Any]:
    """Answer what the SDK sent, without a role and an empty configuration that say nothing."""
    told = {name: value for name, value in camel(sent).items() if value}
    told.get("systemInstruction", {}).pop("role", None)
    found: dict[str, Any] = told
    return found


def text(value: str) -> types.Part:
    return types.Part(text=value)


def user(*parts: types.Part) -> types.Content:
    return types.Content(role="user", parts=list(parts))


def config(**options: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**options)


FUNCTION = types.FunctionDeclaration(name="f", description="of x", parameters_json_schema=SCHEMA)
TOOLS: dict[str, Any] = {"tools": [types.Tool(function_declarations=[FUNCTION])]}


def calling(**options: Any) -> types.ToolConfig:
    return types.ToolConfig(function_calling_config=types.FunctionCallingConfig(**options))


PAIRS: dict[str, tuple[gp.Request, Any, types.GenerateContentConfig | None]] = {
    "plain": (gp.Request("hi"), [user(text("hi"))], None),
    "options": (
        gp.Request(
            "hi",
            system="be brief",
            temperature=0.5,
            top_p=0.9,
            seed=7,
            stop=["."],
            max_output_tokens=64,
            logprobs=2,
        ),
        [user(text("hi"))],
        config(
            system_instruction="be brief",
            temperature=0.5,
            top_p=0.9,
            seed=7,
            stop_sequences=["."],
            max_output_tokens=64,
            response_logprobs=True,
            logprobs=2,
        ),
    ),
    "schema": (
        gp.Request("hi", schema=SCHEMA),
        [user(text("hi"))],
        config(response_mime_type="application/json", response_json_schema=SCHEMA),
    ),
    "effort": (
        gp.Request("hi", reasoning_effort="low"),
        [user(text("hi"))],
        config(thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)),
    ),
    "no effort": (
        gp.Request("hi", reasoning_effort="none"),
        [user(text("hi"))],
        config(thinking_config=types.ThinkingConfig(thinking_budget=0)),
    ),
    "media": (
        gp.Request(
            gp.Message(
                "user",
                [
                    "look",
                    Image(data=b"p", media_type="image/jpeg"),
                    Audio(data=b"a"),
                    File(data=b"d"),
                    Image(url="gs://bucket/x.png"),
                    File(id="https://generativelanguage.googleapis.com/v1/files/1"),
                ],
            )
        ),
        [
            user(
                text("look"),
                types.Part.from_bytes(data=b"p", mime_type="image/jpeg"),
                types.Part.from_bytes(data=b"a", mime_type="audio/wav"),
                types.Part.from_bytes(data=b"d", mime_type="application/pdf"),
                types.Part.from_uri(file_uri="gs://bucket/x.png", mime_type="image/png"),
                types.Part.from_uri(
                    file_uri="https://generativelanguage.googleapis.com/v1/files/1",
                    mime_type="application/pdf",
                ),
            )
        ],
        None,
    ),
    "tools": (
        gp.Request("hi", tools=[TOOL]),
        [user(text("hi"))],
        config(**TOOLS),
    ),
    "one tool": (
        gp.Request("hi", tools=[TOOL], tool_choice="f"),
        [user(text("hi"))],
        config(**TOOLS, tool_config=calling(mode="ANY", allowed_function_names=["f"])),
    ),
    "any tool": (
        gp.Request("hi", tools=[TOOL], tool_choice="required"),
        [user(text("hi"))],
        config(**TOOLS, tool_config=calling(mode="ANY")),
    ),
    "a conversation": (
        gp.Request(
            [
                gp.Message("user", "hi"),
                gp.Message("assistant", [ToolCall("f", '{"a": 1}', id="c1", signature="c2ln")]),
                gp.Message("tool", ToolResult("42", call_id="c1", name="f")),
                gp.Message("assistant", "42"),
                gp.Message("user", "sure?"),
            ]
        ),
        [
            user(text("hi")),
            types.Content(
                role="model",
                parts=[
                    types.Part(
                        function_call=types.FunctionCall(id="c1", name="f", args={"a": 1}),
                        thought_signature=b"sig",
                    )
                ],
            ),
            user(
                types.Part(
                    function_response=types.FunctionResponse(
                        id="c1", name="f", response={"output": "42"}
                    )
                )
            ),
            types.Content(role="model", parts=[text("42")]),
            user(text("sure?")),
        ],
        None,
    ),
}


async def of(server: GeminiServer, call: Callable[[genai.Client], Any]) -> Any:
    """Answer what the SDK sends."""
    options = types.HttpOptions(base_url=server.url("ok").removesuffix("/v1"))

    def make() -> None:
        with genai.Client(api_key="k", http_options=options) as client:
            call(client)

    await anyio.to_thread.run_sync(make)
    return server.seen[-1]


@pytest.mark.parametrize("name", PAIRS)
async def test_it_is_what_the_sdk_sends(gemini: GeminiServer, name: str) -> None:
    """The body, the path and the key are those of Google's own SDK."""
    request, contents, options = PAIRS[name]
    sdk = await of(
        gemini,
        lambda client: client.models.generate_content(
            model=MODEL, contents=contents, config=options
        ),
    )
    with suppress(errors.InvalidAnswer):  # where a schema is asked for
        await Gemini(MODEL, base_url=gemini.url("ok"), api_key="k")(request)
    ours = gemini.seen[-1]
    assert ours.json == of_sdk(sdk.json)
    assert ours.target == sdk.target
    for header in ("x-goog-api-key", "content-type"):
        assert ours.headers[header] == sdk.headers[header]


async def test_a_stream_is_what_the_sdk_asks_for(gemini: GeminiServer) -> None:
    """The path of a stream is that of the SDK, and the body the same as of a call."""
    sdk = await of(
        gemini,
        lambda client: list(
            client.models.generate_content_stream(model=MODEL, contents=[user(text("hi"))])
        ),
    )
    model = Gemini(MODEL, base_url=gemini.url("ok"), api_key="k")
    async with model.stream(gp.Request("hi")) as chunks:
        assert [chunk async for chunk in chunks]
    assert (gemini.seen[-1].target, gemini.seen[-1].json) == (sdk.target, sdk.json)


async def test_tokens_are_counted_as_by_the_sdk(gemini: GeminiServer) -> None:
    """Counting asks what the SDK asks."""
    sdk = await of(
        gemini,
        lambda client: client.models.count_tokens(model=MODEL, contents=[user(text("hi"))]),
    )
    await Gemini(MODEL, base_url=gemini.url("ok"), api_key="k").count_tokens(gp.Request("hi"))
    assert (gemini.seen[-1].target, gemini.seen[-1].json) == (sdk.target, sdk.json)


def test_labels_are_a_schema() -> None:
    """Labels are asked for by a schema of one key."""
    sent = body(gp.Request("x", labels=["a", "b"]))["generationConfig"]
    assert sent["responseMimeType"] == "application/json"
    assert sent["responseJsonSchema"]["properties"]["label"]["enum"] == ["a", "b"]


def test_strict_tools_are_validated() -> None:
    """A strict tool has the calls held to the schemas; a choice that was made stands."""
    strict = gp.Tool("f", strict=True)
    sent = body(gp.Request("x", tools=[strict]))["toolConfig"]
    assert sent == {"functionCallingConfig": {"mode": "VALIDATED"}}
    sent = body(gp.Request("x", tools=[strict], tool_choice="none"))["toolConfig"]
    assert sent == {"functionCallingConfig": {"mode": "NONE"}}
    sent = body(gp.Request("x", tools=[TOOL], tool_choice="auto"))["toolConfig"]
    assert sent == {"functionCallingConfig": {"mode": "AUTO"}}


def test_the_system_speaks_first() -> None:
    """Turns of the system before all others are instructions, behind ``system=``."""
    turns = [gp.Message("system", "b"), gp.Message("user", "x")]
    sent = body(gp.Request(turns, system="a"))
    assert sent["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "x"}]}]


def test_further_parameters_pass_through() -> None:
    """``extra`` is sent as it is; what it has of the configuration is put to ours."""
    extra = {"serviceTier": "flex", "generationConfig": {"topK": 40, "candidateCount": 1}}
    sent = body(gp.Request("x", temperature=1, extra=extra))
    assert sent["serviceTier"] == "flex"
    assert sent["generationConfig"] == {"temperature": 1, "topK": 40, "candidateCount": 1}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (gp.Request("x", extra={"contents": []}), r"extra\['contents'\]=\[\] would override"),
        (
            gp.Request("x", seed=1, extra={"generationConfig": {"seed": 2}}),
            r"\['seed'\]=2 would override",
        ),
        (gp.Request("x", extra={"generationConfig": 3}), "give a mapping"),
        (gp.Request("x", extra={"generationConfig": {"candidateCount": 2}}), "one answer is read"),
        (gp.Request("x", reasoning_effort="max"), "reasoning_effort='max'; this API knows none"),
        (gp.Request(gp.Message("system", "x")), "only the system speaks"),
        (
            gp.Request([gp.Message("user", "x"), gp.Message("system", "y")]),
            "stands among others",
        ),
        (
            gp.Request(gp.Message("user", Image(data=b"x", detail="high"))),
            "mediaResolution",
        ),
        (
            gp.Request([gp.Message("user", "x"), gp.Message("assistant", ToolCall("f", "{"))]),
            "'f' are no JSON object",
        ),
    ],
)
def test_what_the_api_cannot_do_is_refused(request_: gp.Request, words: str) -> None:
    """A request that would be changed on its way is refused before it is sent."""
    with pytest.raises(gp.ConfigurationError, match=words):
        body(request_)


def test_a_failed_result_is_an_error() -> None:
    """The result of a call that failed is told as one."""
    turn = gp.Message("tool", ToolResult("no", name="f", is_error=True))
    (sent,) = body(gp.Request(turn))["contents"]
    told = {"name": "f", "response": {"error": "no"}}
    assert sent == {"role": "user", "parts": [{"functionResponse": told}]}
