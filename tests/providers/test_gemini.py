"""`Gemini` as its users see it: where it asks, with what key, what it refuses, how it fails."""

from __future__ import annotations

from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import Gemini
from tests.servers.chat import Exchange, http
from tests.servers.gemini import GeminiServer, answer, failure

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello there")
MINUTE = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}
DAY = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "46s"}


def model(server: GeminiServer, way: str = "ok", **options: Any) -> Gemini:
    return Gemini("gemini-3-flash", base_url=server.url(way), **{"api_key": "k", **options})


async def read(provider: Gemini, request: gp.Request = REQUEST) -> list[gp.Chunk]:
    async with provider.stream(request) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://generativelanguage.googleapis.com/v1"),
        ({"project": "p"}, "https://aiplatform.googleapis.com/v1"),
        ({"project": "p", "location": "eu"}, "https://aiplatform.eu.rep.googleapis.com/v1"),
        (
            {"project": "p", "location": "us-east5"},
            "https://us-east5-aiplatform.googleapis.com/v1",
        ),
        ({"project": "p", "base_url": "https://gateway.example/v1"}, "https://gateway.example/v1"),
    ],
)
def test_the_place_decides_on_the_host(options: dict[str, Any], url: str) -> None:
    """Google AI, and each place of Vertex AI, has a host of its own, unless one is given."""
    assert Gemini("gemini-3-flash", **options).base_url == url


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("../admin", {}, "model='../admin'; give the name of a model"),
        ("a?key=1", {}, "model="),
        ("m", {"project": "a/b"}, "project='a/b'; give a name of letters"),
        ("m", {"location": "x.evil.example/"}, "location="),
        ("m", {"location": ""}, "location="),
    ],
)
def test_a_wrong_option_is_told_when_built(model: str, options: dict[str, Any], words: str) -> None:
    """What would make another path or host of the URL is refused."""
    with pytest.raises(gp.ConfigurationError, match=words):
        Gemini(model, **options)


async def test_the_key_is_in_a_header(gemini: GeminiServer) -> None:
    """Google AI gets the key in a header, never in the URL; the model is in the path."""
    await model(gemini, api_key="AIza-secret")(REQUEST)
    seen = gemini.seen[-1]
    assert seen.headers["x-goog-api-key"] == "AIza-secret"
    assert "authorization" not in seen.headers
    assert seen.target.endswith("/v1/models/gemini-3-flash:generateContent")
    assert "AIza" not in seen.target


async def test_vertex_gets_a_token(gemini: GeminiServer) -> None:
    """Vertex AI gets the token that the function answers, under the path of the project."""
    vertex = model(gemini, project="p", location="eu", api_key=lambda: ("ya29", 3600.0))
    assert (await vertex(REQUEST)).text == "you said: hello there"
    seen = gemini.seen[-1]
    assert seen.headers["authorization"] == "Bearer ya29"
    assert seen.target.endswith(
        "/projects/p/locations/eu/publishers/google/models/gemini-3-flash:generateContent"
    )


async def test_the_variable_is_for_google_alone(
    gemini: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key in ``GEMINI_API_KEY`` goes to no other host, and Google's is not asked without."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret")
    await Gemini("gemini-3-flash", base_url=gemini.url("ok"))(REQUEST)
    assert "x-goog-api-key" not in gemini.seen[-1].headers
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(errors.AuthenticationFailed, match="GEMINI_API_KEY"):
        await Gemini("gemini-3-flash")(REQUEST)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (429, failure(429, "RESOURCE_EXHAUSTED", "slow", RETRY), errors.RateLimited),
        (
            429,
            failure(
                429,
                "RESOURCE_EXHAUSTED",
                "quota",
                {"@type": QUOTA, "violations": [MINUTE]},
                RETRY,
            ),
            errors.RateLimited,
        ),
        (
            429,
            failure(429, "RESOURCE_EXHAUSTED", "q", {"@type": QUOTA, "violations": [DAY]}, RETRY),
            errors.QuotaExhausted,
        ),
        (
            429,
            failure(429, "RESOURCE_EXHAUSTED", "metric: x, limit: 0, model: m"),
            errors.QuotaExhausted,
        ),
        (402, failure(402, "RESOURCE_EXHAUSTED", "no credit"), errors.QuotaExhausted),
        (503, failure(503, "UNAVAILABLE", "overloaded"), errors.Overloaded),
        (500, failure(500, "INTERNAL", "oops"), errors.ConnectionFailed),
        (504, failure(504, "DEADLINE_EXCEEDED", "late"), errors.ConnectionFailed),
        (400, failure(400, "INVALID_ARGUMENT", "bad"), errors.InvalidRequest),
        (400, failure(400, "FAILED_PRECONDITION", "not here"), errors.InvalidRequest),
        (
            400,
            failure(400, "INVALID_ARGUMENT", "API key not valid", {"reason": "API_KEY_INVALID"}),
            errors.AuthenticationFailed,
        ),
        (
            400,
            failure(400, "INVALID_ARGUMENT", "The input token count exceeds the context window"),
            errors.ContextOverflow,
        ),
        (403, failure(403, "PERMISSION_DENIED", "no"), errors.AuthenticationFailed),
        (404, failure(404, "NOT_FOUND", "no model"), errors.InvalidRequest),
    ],
)
async def test_each_failure_is_told_apart(
    gemini: GeminiServer, status: int, document: dict[str, Any], kind: type[Exception]
) -> None:
    """What passes, what does not, and what would fail each record alike are different errors."""
    gemini.answers["failing"] = lambda _: http(document, status=f"{status} Status")
    provider = model(gemini, "failing")
    for attempt in (provider(REQUEST), read(provider)):
        with pytest.raises(errors.PipelineError) as caught:
            await attempt
        assert type(caught.value) is kind
        assert str(caught.value).startswith("gemini 'gemini-3-flash': ")
        if isinstance(caught.value, errors.RateLimited):
            assert caught.value.retry_after == 46.0


async def test_an_error_in_a_list_is_read(gemini: GeminiServer) -> None:
    """A failed stream tells its error in a list of one."""
    told = [failure(429, "RESOURCE_EXHAUSTED", "slow", RETRY)]
    body = str(told).replace("'", '"').encode()
    gemini.answers["listed"] = lambda _: http(body, status="429 Too Many")
    with pytest.raises(errors.RateLimited, match="slow"):
        await read(model(gemini, "listed"))


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("stream-cut", errors.ConnectionFailed),
        ("stream-no-end", None),
        ("stream-overloaded", errors.Overloaded),
    ],
)
async def test_what_breaks_off_is_interrupted(
    gemini: GeminiServer, way: str, cause: type[Exception] | None
) -> None:
    """After the first chunk a fault raises `StreamInterrupted`, with its cause and the text."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(model(gemini, way))
    assert caught.value.partial == "half"
    found = caught.value.__cause__
    assert found is None if cause is None else isinstance(found, cause)


async def test_an_odd_stream_is_read(gemini: GeminiServer) -> None:
    """Byte by byte, with CRLF, comments and characters that some take for line ends."""
    response = gp.join_chunks(await read(model(gemini, "stream-odd")))
    assert response.text == "one\u2028line \u00e9t\u00e9\x85 \U0001f40d"
    assert response.usage == gp.Usage(input_tokens=10, output_tokens=5)


async def test_labels_cannot_be_streamed(gemini: GeminiServer) -> None:
    """A stream of labels is refused before anything is sent."""
    before = len(gemini.seen)
    with pytest.raises(gp.ConfigurationError, match="cannot be streamed"):
        await read(model(gemini), gp.Request("x", labels=["a", "b"]))
    assert len(gemini.seen) == before


async def test_tokens_are_counted(gemini: GeminiServer) -> None:
    """The API counts the tokens of a request; none are no tokens."""
    assert await model(gemini).count_tokens(gp.Request("four")) == 4
    assert await model(gemini).count_tokens(gp.Request("")) == 0
    with pytest.raises(gp.ConfigurationError, match="systemInstruction cannot be counted"):
        await model(gemini).count_tokens(gp.Request("x", system="s"))
    vertex = model(gemini, project="p")
    assert await vertex.count_tokens(gp.Request("four", system="s")) == 4
    gemini.answers["no-count"] = lambda _: http(b"[]")
    with pytest.raises(errors.InvalidAnswer, match="no count of tokens"):
        await model(gemini, "no-count").count_tokens(gp.Request("x"))


async def test_a_conversation_goes_on(gemini: GeminiServer) -> None:
    """What the model thought and called is sent back with its signatures, and the result."""
    call = {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"}
    gemini.answers["calling"] = lambda _: http(
        answer({"text": "hm", "thought": True, "thoughtSignature": "dGg="}, call)
    )
    tools = [gp.Tool("f")]
    first = await model(gemini, "calling")(gp.Request("x", tools=tools))
    assert first.finish_reason == "tool"
    result = gp.parts.ToolResult.to(first.tool_calls[0], "42")
    turns = [gp.Message("user", "x"), first.message, gp.Message("tool", result)]
    await model(gemini)(gp.Request(turns, tools=tools))
    sent = gemini.seen[-1].json["contents"]
    assert sent[1] == {
        "role": "model",
        "parts": [{"text": "hm", "thought": True, "thoughtSignature": "dGg="}, call],
    }
    told = {"id": "c1", "name": "f", "response": {"output": "42"}}
    assert sent[2] == {"role": "user", "parts": [{"functionResponse": told}]}


async def test_a_journal_gives_answers_back(gemini: GeminiServer) -> None:
    """In a pipeline with a journal an answer is paid for once, and given back to later runs."""
    asked: list[Exchange] = []

    def reply(exchange: Exchange) -> bytes:
        asked.append(exchange)
        return http(answer("hi"))

    gemini.answers["paid"] = reply
    provider, journal, sink = model(gemini, "paid"), gp.journals.Memory(), gp.sinks.Collect[str]()

    async def ask(value: str) -> str:
        return (await provider(gp.Request(value))).text

    for replayed in (0, 1):
        report = await gp.Pipeline(
            source=gp.sources.Values(["a"]), stage=gp.map(ask), sink=sink, journal=journal
        ).run()
        assert (report.replayed, report.input_tokens) == (replayed, 10 * (1 - replayed))
    assert sink.values == ["hi", "hi"]
    assert len(asked) == 1
