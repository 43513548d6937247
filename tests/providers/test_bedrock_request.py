"""What is sent to Bedrock, beside what Amazon's own SDK sends."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore.config import Config  # type: ignore[import-untyped]

import genai_pipeline as gp
from genai_pipeline.parts import Audio, File, Image, ToolCall, ToolResult
from genai_pipeline.providers import AwsCredentials, Bedrock
from tests.servers.bedrock import KEY_ID, SECRET, TOKEN, BedrockServer
from tests.servers.chat import Exchange

pytestmark = pytest.mark.anyio
MODEL = "anthropic.claude-opus-5-v1:0"
SCHEMA = {
    "title": "found",
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
TOOL = {"toolSpec": {"name": "f", "description": "of x", "inputSchema": {"json": SCHEMA}}}

PAIRS: dict[str, tuple[gp.Request, dict[str, Any]]] = {
    "plain": (gp.Request("hi"), {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}),
    "options": (
        gp.Request(
            "hi",
            system="be brief",
            temperature=0.5,
            top_p=0.9,
            stop=["."],
            max_output_tokens=64,
            reasoning_effort="low",
            extra={"serviceTier": {"type": "flex"}, "requestMetadata": {"team": "x"}},
        ),
        {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "system": [{"text": "be brief"}],
            "inferenceConfig": {
                "temperature": 0.5,
                "topP": 0.9,
                "stopSequences": ["."],
                "maxTokens": 64,
            },
            "outputConfig": {"effort": "low"},
            "serviceTier": {"type": "flex"},
            "requestMetadata": {"team": "x"},
        },
    ),
    "media": (
        gp.Request(
            gp.Message(
                "user",
                [
                    "look",
                    Image(data=b"p", media_type="image/jpeg"),
                    Image(url="s3://bucket/x.png"),
                    Audio(data=b"a", media_type="audio/mpeg"),
                    File(data=b"d", name="the report (2)"),
                    File(data=b"t", media_type="text/markdown"),
                ],
            )
        ),
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"text": "look"},
                        {"image": {"format": "jpeg", "source": {"bytes": b"p"}}},
                        {
                            "image": {
                                "format": "png",
                                "source": {"s3Location": {"uri": "s3://bucket/x.png"}},
                            }
                        },
                        {"audio": {"format": "mp3", "source": {"bytes": b"a"}}},
                        {
                            "document": {
                                "format": "pdf",
                                "name": "the report (2)",
                                "source": {"bytes": b"d"},
                            }
                        },
                        {
                            "document": {
                                "format": "md",
                                "name": "document",
                                "source": {"bytes": b"t"},
                            }
                        },
                    ],
                }
            ]
        },
    ),
    "tools": (
        gp.Request(
            [
                gp.Message("user", "hi"),
                gp.Message("assistant", ["so", ToolCall("f", '{"a": "b"}', id="t1")]),
                gp.Message("tool", ToolResult("42", call_id="t1")),
            ],
            tools=[gp.Tool("f", "of x", SCHEMA)],
            tool_choice="f",
        ),
        {
            "messages": [
                {"role": "user", "content": [{"text": "hi"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"text": "so"},
                        {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": "b"}}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "42"}]}}],
                },
            ],
            "toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "f"}}},
        },
    ),
    "any tool": (
        gp.Request("hi", tools=[gp.Tool("f", "of x", SCHEMA, strict=True)], tool_choice="required"),
        {
            "messages": [{"role": "user", "content": [{"text": "hi"}]}],
            "toolConfig": {
                "tools": [{"toolSpec": {**TOOL["toolSpec"], "strict": True}}],
                "toolChoice": {"any": {}},
            },
        },
    ),
}


async def of(server: BedrockServer, operation: str, given: dict[str, Any]) -> Exchange:
    """Answer what the SDK sends."""

    def make() -> None:
        client = botocore.session.get_session().create_client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=server.url("ok"),
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            aws_session_token=TOKEN,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            answer = getattr(client, operation)(modelId=MODEL, **given)
            if "stream" in answer:
                assert list(answer["stream"])
                answer["stream"].close()
        finally:
            client.close()

    await anyio.to_thread.run_sync(make)
    return server.seen[-1]


def ours(server: BedrockServer) -> Bedrock:
    credentials = AwsCredentials(KEY_ID, SECRET, TOKEN)
    return Bedrock(MODEL, region="us-east-1", base_url=server.url("ok"), credentials=credentials)


@pytest.mark.parametrize("name", PAIRS)
async def test_it_is_what_the_sdk_sends(bedrock: BedrockServer, name: str) -> None:
    """The body, the path and what is signed are those of Amazon's own SDK."""
    request, given = PAIRS[name]
    sdk = await of(bedrock, "converse", given)
    await ours(bedrock)(request)
    sent = bedrock.seen[-1]
    assert sent.json == sdk.json
    assert sent.target == sdk.target
    for part in ("Credential=", "SignedHeaders="):
        signed = [each.headers["authorization"].partition(part)[2] for each in (sent, sdk)]
        assert signed[0].split(",")[0] == signed[1].split(",")[0]


async def test_a_schema_is_what_the_sdk_sends(bedrock: BedrockServer) -> None:
    """A schema goes as text, in the place that the SDK has for it."""
    named = {"name": "found", "schema": json.dumps(SCHEMA, separators=(",", ":"))}
    given = {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": named}}},
    }
    sdk = await of(bedrock, "converse", given)
    with pytest.raises(gp.errors.InvalidAnswer, match="no JSON document"):
        await ours(bedrock)(gp.Request("hi", schema=SCHEMA))
    assert bedrock.seen[-1].json == sdk.json


async def test_a_stream_is_what_the_sdk_asks_for(bedrock: BedrockServer) -> None:
    """The path and the body of a stream are those of the SDK."""
    sdk = await of(bedrock, "converse_stream", PAIRS["plain"][1])
    async with ours(bedrock).stream(gp.Request("hi")) as chunks:
        assert [chunk async for chunk in chunks]
    assert (bedrock.seen[-1].target, bedrock.seen[-1].json) == (sdk.target, sdk.json)


async def test_tokens_are_counted_as_by_the_sdk(bedrock: BedrockServer) -> None:
    """Counting asks what the SDK asks."""
    sdk = await of(bedrock, "count_tokens", {"input": {"converse": PAIRS["plain"][1]}})
    await ours(bedrock).count_tokens(gp.Request("hi"))
    assert (bedrock.seen[-1].target, bedrock.seen[-1].json) == (sdk.target, sdk.json)
