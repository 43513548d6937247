"""`Bedrock` as its users see it: keys, signatures, what it refuses, how it fails."""

from __future__ import annotations

from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.parts import Audio, File, Image, Text, ToolCall
from genai_pipeline.providers import AwsCredentials, Bedrock
from genai_pipeline.providers._bedrock_request import converse_body
from tests.servers.bedrock import KEY_ID, SECRET, TOKEN, BedrockServer, converse, events_of, frame
from tests.servers.chat import http

pytestmark = pytest.mark.anyio
MODEL = "anthropic.claude-opus-5-v1:0"
REQUEST = gp.Request("hello there")
VARIABLES = (
    *("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    *("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"),
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def model(server: BedrockServer, way: str = "ok", **options: Any) -> Bedrock:
    given = {"region": "us-east-1", "credentials": AwsCredentials(KEY_ID, SECRET), **options}
    return Bedrock(MODEL, base_url=server.url(way), **given)


async def read(provider: Bedrock, request: gp.Request = REQUEST) -> list[gp.Chunk]:
    async with provider.stream(request) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no region; give region=, or set the environment variable AWS_REGION"),
        ({"region": "the moon"}, "region='the moon'; give the name of a region"),
        ({"region": "us-east-1", "model": "../m"}, "model='../m'; give the id of a model"),
        ({"region": "us-east-1", "credentials": 3}, "credentials=.*give AwsCredentials"),
        (
            {
                "region": "us-east-1",
                "api_key": "k",
                "credentials": AwsCredentials(KEY_ID, SECRET),
            },
            "either api_key= or credentials=",
        ),
        (
            {"base_url": "https://x", "credentials": AwsCredentials(KEY_ID, SECRET)},
            "credentials= without a region",
        ),
    ],
)
def test_a_wrong_option_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """Each option that cannot work raises at once, naming itself and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=words):
        Bedrock(**{"model": MODEL, **options})


@pytest.mark.parametrize("wrong", [{"access_key_id": "a b"}, {"secret_access_key": ""}])
def test_wrong_credentials_are_told(wrong: dict[str, str]) -> None:
    """Credentials are checked when built, and never shown."""
    with pytest.raises(gp.ConfigurationError):
        AwsCredentials(**{"access_key_id": KEY_ID, "secret_access_key": SECRET, **wrong})
    assert SECRET not in repr(AwsCredentials(KEY_ID, SECRET, TOKEN))
    assert TOKEN not in repr(AwsCredentials(KEY_ID, SECRET, TOKEN))


def test_the_region_is_in_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The region given, or that of the environment, decides on the host."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    host = "https://bedrock-runtime.{}.amazonaws.com"
    assert Bedrock(MODEL).base_url == host.format("eu-central-1")
    monkeypatch.setenv("AWS_REGION", "us-gov-west-1")
    assert Bedrock(MODEL).base_url == host.format("us-gov-west-1")
    assert Bedrock(MODEL, region="us-east-1").base_url == host.format("us-east-1")


async def test_a_bearer_key_is_sent(bedrock: BedrockServer) -> None:
    """A bearer key is sent as such, and nothing is signed."""
    await Bedrock(MODEL, base_url=bedrock.url("ok"), api_key="bedrock-key-1")(REQUEST)
    seen = bedrock.seen[-1]
    assert seen.headers["authorization"] == "Bearer bedrock-key-1"
    assert "x-amz-date" not in seen.headers
    assert seen.target == "/ok/model/anthropic.claude-opus-5-v1%3A0/converse"


async def test_an_arn_is_signed_as_it_is_sent(bedrock: BedrockServer) -> None:
    """The colons and slashes of an ARN are encoded in the path, and the signature holds."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x.y-v1:0"
    provider = Bedrock(
        arn,
        region="us-east-1",
        base_url=bedrock.url("ok"),
        credentials=AwsCredentials(KEY_ID, SECRET, TOKEN),
    )
    assert (await provider(REQUEST)).text == "you said: hello there"
    assert bedrock.seen[-1].headers["x-amz-security-token"] == TOKEN


async def test_credentials_are_asked_for_at_each_call(bedrock: BedrockServer) -> None:
    """A function answers the credentials, also an asynchronous one, each time anew."""
    asked = []

    async def get() -> AwsCredentials:
        asked.append(1)
        return AwsCredentials(KEY_ID, SECRET)

    provider = model(bedrock, credentials=get)
    for _ in range(2):
        assert (await provider(REQUEST)).text == "you said: hello there"
    assert len(asked) == 2
    with pytest.raises(errors.AuthenticationFailed, match="answered a str"):
        await model(bedrock, credentials=lambda: "wrong")(REQUEST)


async def test_wrong_credentials_fail_each_record_alike(bedrock: BedrockServer) -> None:
    """What is signed with another secret is refused, as an error of authentication."""
    with pytest.raises(errors.AuthenticationFailed, match="403 InvalidSignatureException: wrong"):
        await model(bedrock, credentials=AwsCredentials(KEY_ID, "another"))(REQUEST)


async def test_the_environment_is_for_amazon_alone(
    bedrock: BedrockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of the environment go to Amazon's hosts only; there it is told which are missing."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-key-1")
    with pytest.raises(errors.AuthenticationFailed):
        await Bedrock(MODEL, base_url=bedrock.url("ok"))(REQUEST)
    assert "authorization" not in bedrock.seen[-1].headers
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    with pytest.raises(errors.AuthenticationFailed, match="set AWS_BEARER_TOKEN_BEDROCK, or"):
        await Bedrock(MODEL, region="us-east-1")(REQUEST)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    found = AwsCredentials.from_env()
    assert (found.access_key_id, await found.secret_access_key.reveal()) == (KEY_ID, SECRET)
    assert found.session_token is None


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (429, "ThrottlingException", "Too many requests", errors.RateLimited),
        (429, "ThrottlingException", "Too many tokens per day", errors.QuotaExhausted),
        (429, "ModelNotReadyException", "loading", errors.Overloaded),
        (400, "ServiceQuotaExceededException", "no more", errors.QuotaExhausted),
        (400, "ValidationException", "bad", errors.InvalidRequest),
        (400, "ValidationException", "Input is too long for the model", errors.ContextOverflow),
        (403, "AccessDeniedException", "no", errors.AuthenticationFailed),
        (404, "ResourceNotFoundException", "none", errors.InvalidRequest),
        (408, "ModelTimeoutException", "late", errors.ConnectionFailed),
        (424, "ModelErrorException", "oops", errors.ConnectionFailed),
        (500, "InternalServerException", "oops", errors.ConnectionFailed),
        (503, "ServiceUnavailableException", "busy", errors.Overloaded),
    ],
)
async def test_each_failure_is_told_apart(
    bedrock: BedrockServer, status: int, code: str, message: str, kind: type[Exception]
) -> None:
    """The kind of a failure is in a header, what it means decides on the error."""
    headers = f"x-amzn-ErrorType: {code}:http://internal.amazon.com/\r\nx-amzn-requestid: r-1\r\n"
    bedrock.answers["failing"] = lambda _: http(
        {"message": message}, status=f"{status} Status", headers=headers
    )
    provider = model(bedrock, "failing")
    for attempt in (provider(REQUEST), read(provider)):
        with pytest.raises(errors.PipelineError, match=rf"{status} {code}: .*r-1") as caught:
            await attempt
        assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("stream-cut", errors.ConnectionFailed),
        ("stream-no-end", None),
        ("stream-throttled", errors.RateLimited),
        ("stream-failed", errors.ConnectionFailed),
    ],
)
async def test_what_breaks_off_is_interrupted(
    bedrock: BedrockServer, way: str, cause: type[Exception] | None
) -> None:
    """After the first chunk a fault raises `StreamInterrupted`, with its cause and the text."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(model(bedrock, way))
    assert caught.value.partial == "half"
    found = caught.value.__cause__
    assert found is None if cause is None else isinstance(found, cause)


async def test_damage_on_the_way_is_noticed(bedrock: BedrockServer) -> None:
    """A frame whose checksum is wrong ends the answer, never as a whole one."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(model(bedrock, "stream-damaged"))
    assert caught.value.partial == "half"
    good = [frame(*each) for each in events_of(converse("whole"))]
    damaged = b"".join(good[:-1]) + good[-1][:-1] + b"\xff"
    kind = "application/vnd.amazon.eventstream"
    bedrock.answers["damaged-end"] = lambda _: http(damaged, kind=kind)
    with pytest.raises(errors.StreamInterrupted, match="the event stream is damaged"):
        await read(model(bedrock, "damaged-end"))


async def test_an_odd_stream_is_read(bedrock: BedrockServer) -> None:
    """Byte by byte, with events that are not known, and usage behind the end."""
    response = gp.join_chunks(await read(model(bedrock, "stream-odd")))
    assert response.text == "one\u2028line \u00e9t\u00e9\x85 \U0001f40d"
    assert response.usage == gp.Usage(input_tokens=10, output_tokens=5)


async def test_labels_cannot_be_streamed(bedrock: BedrockServer) -> None:
    """A stream of labels is refused before anything is sent."""
    with pytest.raises(gp.ConfigurationError, match="cannot be streamed"):
        await read(model(bedrock), gp.Request("x", labels=["a", "b"]))


async def test_tokens_are_counted(bedrock: BedrockServer) -> None:
    """The API counts the tokens of a request, without the options of its answer."""
    assert await model(bedrock).count_tokens(gp.Request("four", max_output_tokens=5)) == 4
    assert "inferenceConfig" not in bedrock.seen[-1].json["input"]["converse"]
    bedrock.answers["no-count"] = lambda _: http(b"[]")
    with pytest.raises(errors.InvalidAnswer, match="no count of tokens"):
        await model(bedrock, "no-count").count_tokens(gp.Request("x"))


async def test_a_conversation_goes_on(bedrock: BedrockServer) -> None:
    """What the model thought and called is sent back as it was, and the result with it."""
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
    hidden = {"reasoningContent": {"redactedContent": "c2VhbA=="}}
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
    bedrock.answers["calling"] = lambda _: http(
        converse(thought, hidden, "so", use, reason="tool_use")
    )
    tools = [gp.Tool("f")]
    first = await model(bedrock, "calling")(gp.Request("x", tools=tools))
    result = gp.parts.ToolResult.to(first.tool_calls[0], "no", is_error=True)
    turns = [gp.Message("user", "x"), first.message, gp.Message("tool", result)]
    await model(bedrock)(gp.Request(turns, tools=tools))
    sent = bedrock.seen[-1].json["messages"]
    assert sent[1] == {"role": "assistant", "content": [thought, hidden, {"text": "so"}, use]}
    told = {"toolUseId": "t1", "content": [{"text": "no"}], "status": "error"}
    assert sent[2] == {"role": "user", "content": [{"toolResult": told}]}


def saying(*parts: Any) -> gp.Request:
    return gp.Request(gp.Message("user", parts))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (gp.Request("x", seed=1), "seed=1; this API has no such parameter"),
        (gp.Request("x", logprobs=1), "logprobs=1"),
        (gp.Request("x", reasoning_effort="none"), "reasoning_effort='none'; this API knows low"),
        (gp.Request("x", tools=[gp.Tool("f")], tool_choice="none"), "leave the tools out"),
        (gp.Request("x", extra={"messages": []}), "would override"),
        (saying(Image(data=b"x", detail="low")), "detail='low'"),
        (saying(Image(data=b"x", media_type="image/heic")), "takes gif, jpeg, png, webp"),
        (saying(Image(url="https://x/y.png")), "reads s3://"),
        (saying(Audio(data=b"x", media_type="audio/midi")), "audio/midi"),
        (saying(File(id="file-1")), "keeps no files"),
        (saying(File(data=b"x", name="../etc/passwd")), "name='../etc/passwd'"),
        (saying(File(data=b"x", media_type="application/zip")), "application/zip"),
        (
            gp.Request([gp.Message("user", "x"), gp.Message("assistant", ToolCall("f", "{"))]),
            "'f' are no JSON object",
        ),
    ],
)
def test_what_the_api_cannot_do_is_refused(request_: gp.Request, words: str) -> None:
    """A request that would be changed on its way is refused before it is sent."""
    with pytest.raises(gp.ConfigurationError, match=words):
        converse_body(request_, "bedrock 'm'")


def test_a_text_of_parts_is_sent_in_blocks() -> None:
    """Each part is a block of its own."""
    sent = converse_body(saying("a", Text("b")), "m")["messages"]
    assert sent == [{"role": "user", "content": [{"text": "a"}, {"text": "b"}]}]
