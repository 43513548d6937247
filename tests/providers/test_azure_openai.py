"""`AzureOpenAI`: two routes, keys and tokens, and what the content filter tells."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
import openai
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import AzureOpenAI
from genai_pipeline.testing import FakeClock, ProviderContract, StreamingProviderContract
from tests.providers.sdk import headers_of
from tests.servers.chat import ChatServer, Exchange, completion, http
from tests.servers.chat_streams import USAGE, chunk, event

ASK = gp.Request("hello")
SAFE = {"hate": {"filtered": False, "severity": "safe"}}
HATE = {"hate": {"filtered": True, "severity": "high"}, "jailbreak": {"filtered": True}}


def model(chat: ChatServer, way: str, **options: Any) -> AzureOpenAI:
    """Answer a deployment behind a server that answers in this *way*."""
    if "entra_token" not in options:
        options.setdefault("api_key", "az-key")
    return AzureOpenAI("my dep", base_url=chat.url(way).removesuffix("/v1"), **options)


class TestAzureOpenAI(ProviderContract):
    """Whole answers, by the v1 route."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat

    def make(self) -> gp.Provider:
        return model(self.server, "ok")

    def make_failing(self) -> gp.Provider:
        return model(self.server, "500")

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestAzureOpenAIStream(StreamingProviderContract):
    """Streams, by the classic route."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat

    def _model(self, way: str) -> AzureOpenAI:
        return model(self.server, way, api_version="2024-10-21")

    def make(self) -> gp.StreamingProvider:
        return self._model("ok").stream

    def make_whole(self) -> gp.Provider:
        return self._model("ok")

    def make_failing(self) -> gp.StreamingProvider:
        return self._model("500").stream

    def make_breaking(self) -> gp.StreamingProvider:
        return self._model("stream-cut").stream

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return self._model("stream-stalled").stream

    def make_clock(self) -> FakeClock:
        return FakeClock(cushion=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_version": "latest"}, "api_version='latest'; give a date such as '2024-10-21'"),
        ({"api_key": "k", "entra_token": "t"}, "it, or entra_token=, not both"),
        ({"entra_token": "t", "headers": {"api-key": "k"}}, "either entra_token= or a key"),
        ({"api_key": "k", "headers": {"api-key": "k"}}, "either api_key= or 'api-key' in headers"),
        ({"base_url": "https://r.openai.azure.com/?key=1"}, "without credentials, query"),
        ({"base_url": None}, "base_url"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_option_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """Each option that cannot work raises at once, naming itself and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=words):
        AzureOpenAI("m", **{"base_url": "https://r.openai.azure.com", **options})


@pytest.mark.parametrize("route", ["", "/", "/openai", "/openai/v1", "/openai/v1/"])
def test_the_address_of_a_route_is_taken_for_the_resource(route: str) -> None:
    """Whichever of the addresses that Azure shows is given, it is the same resource."""
    given = AzureOpenAI("m", base_url=f"https://r.openai.azure.com{route}")
    assert given.base_url == "https://r.openai.azure.com"


@pytest.mark.anyio
@pytest.mark.parametrize("token", [False, True])
async def test_requests_are_those_of_the_sdk(chat: ChatServer, token: bool) -> None:
    """By the classic route, address, headers and body are those of OpenAI's SDK for Azure."""
    chat.answers["azure"] = lambda _: http(completion())
    url = chat.url("azure").removesuffix("/v1")
    keys: Any = {"entra_token": "tok-en"} if token else {"api_key": "az-key"}
    await model(chat, "azure", api_version="2024-10-21", **keys)(
        gp.Request("hello", max_output_tokens=9)
    )
    ours = chat.seen[-1]
    theirs: Any = {"azure_ad_token": "tok-en"} if token else {"api_key": "az-key"}

    def ask() -> None:
        with openai.AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", **theirs) as client:
            client.chat.completions.create(
                model="my dep",
                messages=[{"role": "user", "content": "hello"}],
                max_completion_tokens=9,
            )

    await anyio.to_thread.run_sync(ask)
    sdk = chat.seen[-1]
    assert ours.target == sdk.target
    assert ours.json == sdk.json
    assert headers_of(ours) == headers_of(sdk)


@pytest.mark.anyio
async def test_the_v1_route_has_no_version(chat: ChatServer) -> None:
    """By default the deployment is the model, and the address has no version."""
    await model(chat, "ok")(ASK)
    seen = chat.seen[-1]
    assert seen.target == "/ok/openai/v1/chat/completions"
    assert seen.json["model"] == "my dep"
    assert seen.headers["api-key"] == "az-key"
    assert "authorization" not in seen.headers


@pytest.mark.anyio
async def test_a_token_is_asked_for_and_renewed(chat: ChatServer) -> None:
    """A function answers the token; one that is refused is asked for once more."""
    tokens = iter(["stale-token", "fresh-token"])

    def answer(exchange: Exchange) -> bytes:
        if exchange.headers["authorization"] == "Bearer stale-token":
            return http({"error": {"code": "401", "message": "expired"}}, status="401 Unauthorized")
        return http(completion("in"))

    chat.answers["azure-entra"] = answer
    asked = model(chat, "azure-entra", entra_token=lambda: next(tokens))
    assert (await asked(ASK)).text == "in"
    assert "token" not in repr(asked).replace("entra_token", "")


@pytest.mark.anyio
async def test_the_key_of_the_environment_goes_to_azure_alone(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host gets no key unless it is given one, and OpenAI's key goes nowhere here."""
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "az-env")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    url = chat.url("ok").removesuffix("/v1")
    await AzureOpenAI("m", base_url=url)(ASK)
    assert not {"api-key", "authorization"} & set(chat.seen[-1].headers)
    for host in ("r.openai.azure.com", "r.cognitiveservices.azure.com"):
        key = AzureOpenAI("m", base_url=f"https://{host}")._key()
        assert key is not None
        assert await key.reveal() == "az-env"


@pytest.mark.anyio
async def test_a_prompt_that_is_filtered_is_refused(chat: ChatServer) -> None:
    """A 400 of the content filter is a refusal of the input, and no fault of the request's form."""
    error = {
        "message": "The response was filtered due to the prompt",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": HATE,
        },
    }
    chat.answers["azure-400"] = lambda _: http({"error": error}, status="400 Bad Request")
    with pytest.raises(errors.Refused, match="filtered due to the prompt"):
        await model(chat, "azure-400")(ASK)


def _completion(finish: str, answer: dict[str, Any], text: str | None = "hi") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": message,
        "content_filter_results": answer,
    }
    prompt = [{"prompt_index": 0, "content_filter_results": SAFE}]
    return completion(choices=[choice], prompt_filter_results=prompt)


@pytest.mark.anyio
async def test_what_the_filter_saw_is_told(chat: ChatServer) -> None:
    """What passed the filter is in the attributes; what did not is refused by its categories."""
    chat.answers["azure-safe"] = lambda _: http(_completion("stop", SAFE))
    response = await model(chat, "azure-safe")(ASK)
    assert response.attributes["content_filter_results"] == SAFE
    assert response.attributes["prompt_filter_results"][0]["content_filter_results"] == SAFE
    chat.answers["azure-hate"] = lambda _: http(_completion("content_filter", HATE, None))
    with pytest.raises(errors.Refused, match=r"filter refused: hate \(high\), jailbreak") as caught:
        await model(chat, "azure-hate")(ASK)
    assert caught.value.explanation == "hate (high), jailbreak"


@pytest.mark.anyio
@pytest.mark.parametrize("hate", [False, True])
async def test_a_stream_begins_with_the_filter(chat: ChatServer, hate: bool) -> None:
    """The first event has no choices, and the filter of the answer comes with its pieces."""
    prompt = [{"prompt_index": 0, "content_filter_results": SAFE}]
    found, finish = (HATE, "content_filter") if hate else (SAFE, "stop")
    body = b"".join(
        map(
            event,
            [
                chunk(choices=[], prompt_filter_results=prompt, model="", id=""),
                chunk("hi"),
                chunk(
                    choices=[
                        {
                            "index": 0,
                            "delta": {},
                            "finish_reason": finish,
                            "content_filter_results": found,
                        }
                    ]
                ),
                chunk(choices=[], usage=USAGE),
            ],
        )
    )
    chat.answers["azure-stream"] = lambda _: http(
        body + b"data: [DONE]\n\n", kind="text/event-stream"
    )
    async with model(chat, "azure-stream").stream(ASK) as chunks:
        if hate:
            with pytest.raises(errors.Refused):
                [each async for each in chunks]
            return
        response = gp.join_chunks([each async for each in chunks])
    assert (response.text, response.model) == ("hi", "served-model")
    assert response.attributes["content_filter_results"] == SAFE
    assert response.attributes["prompt_filter_results"] == prompt


@pytest.mark.anyio
async def test_limits_come_as_whole_seconds(chat: ChatServer) -> None:
    """Resets are plain numbers, waits may be in milliseconds, and -1 tells of no limit."""
    chat.answers["azure-limits"] = lambda _: http(
        completion(),
        headers="x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
        "x-ratelimit-reset-requests: 10\r\nx-ratelimit-limit-tokens: -1\r\n"
        "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 0\r\n",
    )
    told = (await model(chat, "azure-limits")(ASK)).attributes["rate_limits"]
    assert told == {"limit-requests": 60, "remaining-requests": 59, "reset-requests": 10}
    chat.answers["azure-429"] = lambda _: http(
        {"error": {"code": "429", "message": "Requests have exceeded the call rate limit"}},
        status="429 Too Many Requests",
        headers="retry-after-ms: 1500\r\nretry-after: 2\r\n",
    )
    with pytest.raises(errors.RateLimited) as caught:
        await model(chat, "azure-429")(ASK)
    assert caught.value.retry_after == 1.5


def test_the_route_is_part_of_what_a_journal_knows_a_call_by() -> None:
    """An answer of another version of the API is not taken for this one's."""
    url = "https://r.openai.azure.com"
    one = AzureOpenAI("m", base_url=url)._dialect
    other = AzureOpenAI("m", base_url=url, api_version="2024-10-21")._dialect
    assert one.identity() != other.identity()
    assert json.loads(one.body(ASK, streamed=False))["model"] == "m"
