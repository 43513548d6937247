"""The contract of counting, on our own servers and on llama.cpp's, for each provider that can."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import (
    Anthropic,
    Bedrock,
    ChatProfile,
    Gemini,
    OpenAI,
    OpenAIResponses,
)
from genai_pipeline.testing import CountingProviderContract
from tests.providers.lent import Lenders, Lent, forgets_sockets
from tests.servers.bedrock import BedrockServer
from tests.servers.chat import ChatServer, http
from tests.servers.gemini import GeminiServer
from tests.servers.messages import MessagesServer


class Recorded(CountingProviderContract):
    """On a server of ours, each character is a token, and what a call used is none of it."""

    __test__ = False

    def used(self, response: gp.Response) -> None:
        return None


class TestAnthropic(Recorded):
    """Anthropic counts at a route below that of calls."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, claude: MessagesServer) -> None:
        self.url = claude.url

    def make(self) -> gp.CountingProvider:
        return Anthropic("claude-opus-5", base_url=self.url("ok"), max_output_tokens=16)

    def make_failing(self) -> gp.CountingProvider:
        return Anthropic("claude-opus-5", base_url=self.url("500"))

    def request(self, text: str) -> gp.Request:
        return gp.Request(text)  # it needs no limit of output to be counted


class TestFromAnthropic(Lenders, Recorded):
    """Anthropic's own client counts what `Anthropic` counts."""

    __test__ = True
    kind = "anthropic"

    def make(self) -> gp.CountingProvider:
        return self.lent("ok")

    def make_failing(self) -> gp.CountingProvider:
        return self.lent("500")

    @forgets_sockets
    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A count that is cancelled at any of its awaits ends, and the next one is right."""
        await super().test_cancellation_passes_through_everywhere()
        gc.collect()


class TestGemini(Recorded):
    """Gemini counts by a method of the model."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, gemini: GeminiServer) -> None:
        self.url = gemini.url

    def make(self) -> gp.CountingProvider:
        return Gemini("gemini-3-flash", base_url=self.url("ok"))

    def make_failing(self) -> gp.CountingProvider:
        return Gemini("gemini-3-flash", base_url=self.url("500"))


class TestBedrock(Recorded):
    """Bedrock counts what a call of Converse would send."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, bedrock: BedrockServer) -> None:
        self.url = bedrock.url

    def make(self) -> gp.CountingProvider:
        return Bedrock("example.model-v1:0", base_url=self.url("ok"), api_key="key")

    def make_failing(self) -> gp.CountingProvider:
        return Bedrock("example.model-v1:0", base_url=self.url("500"), api_key="key")


def _tokenize(exchange: Any) -> bytes:
    """Answer as vLLM does, a token for each character; calls are answered as any server does."""
    said = exchange.json["messages"][-1]["content"]
    if exchange.target.endswith("/v1/chat/completions"):
        message = {"role": "assistant", "content": "ok"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return http({"object": "chat.completion", "model": "m", "choices": [choice]})
    assert exchange.target == "/vllm/tokenize"
    return http({"count": len(said), "max_model_len": 4096, "tokens": [1] * len(said)})


class TestVllm(Recorded):
    """vLLM counts beside ``/v1``, with its chat template."""

    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        chat.answers["vllm"] = _tokenize
        self.url = chat.url

    def make(self) -> gp.CountingProvider:
        return OpenAI("m", base_url=self.url("vllm"), profile="vllm")

    def make_failing(self) -> gp.CountingProvider:
        return OpenAI("m", base_url=self.url("500"), profile="vllm")


class TestLlamaChat(CountingProviderContract):
    """llama.cpp's real server counts what its Chat Completions read."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.url = llama

    def make(self) -> gp.CountingProvider:
        return OpenAI("tiny", base_url=self.url, profile="llama.cpp")

    def make_failing(self) -> gp.CountingProvider:
        return OpenAI("tiny", base_url=self.url.replace("/v1", "/none"), profile="llama.cpp")

    async def test_system_turns_and_tools_count(self) -> None:
        """All that goes with a request is counted, as the answer tells it."""
        turns = [gp.Message("user", "hello"), gp.Message("user", "are you there?")]
        request = gp.Request(
            turns, system="be kind", tools=[gp.Tool("f")], max_output_tokens=2, temperature=0
        )
        model = self.make()
        assert await model.count_tokens(request) == (await model(request)).usage.input_tokens


class TestLlamaResponses(TestLlamaChat):
    """llama.cpp's real server counts what its Responses API reads."""

    def make(self) -> gp.CountingProvider:
        return OpenAIResponses("tiny", base_url=self.url)

    def make_failing(self) -> gp.CountingProvider:
        return OpenAIResponses("tiny", base_url=self.url.replace("/v1", "/none"))


class TestLlamaFromAnthropic(TestLlamaChat):
    """llama.cpp's real server counts for Anthropic's own client."""

    def make(self) -> gp.CountingProvider:
        return Lent("anthropic", self.url.removesuffix("/v1"))

    def make_failing(self) -> gp.CountingProvider:
        return Lent("anthropic", self.url.replace("/v1", "/none"))

    @forgets_sockets
    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A count that is cancelled at any of its awaits ends, and the next one is right."""
        await super().test_cancellation_passes_through_everywhere()
        gc.collect()


class TestLlamaMessages(TestLlamaChat):
    """llama.cpp's real server counts what its Messages API reads."""

    def make(self) -> gp.CountingProvider:
        return Anthropic("tiny", base_url=self.url.removesuffix("/v1"), version="2023-06-01")

    def make_failing(self) -> gp.CountingProvider:
        url = self.url.replace("/v1", "/none")
        return Anthropic("tiny", base_url=url, version="2023-06-01")


@pytest.mark.anyio
async def test_who_is_not_known_to_count_is_not_asked(chat: ChatServer) -> None:
    """Where the profile knows no way to count, nothing is sent, and the error says what to give."""
    asked = len(chat.seen)
    for options in ({}, {"profile": "openai"}, {"profile": ChatProfile()}):
        model = OpenAI("m", base_url=chat.url("ok"), **options)
        with pytest.raises(gp.ConfigurationError, match=r"profile='llama.cpp' or ChatProfile"):
            await model.count_tokens(gp.Request("x"))
    assert len(chat.seen) == asked


@pytest.mark.anyio
@pytest.mark.parametrize(
    "told", [b"{}", b'{"count": "3"}', b'{"count": true}', b'{"count": -1}', b"[3]", b"3"]
)
async def test_what_is_no_count_is_refused(told: bytes, chat: ChatServer) -> None:
    """An answer that holds no number of tokens is no answer."""
    chat.answers["no-count"] = lambda _: http(told)
    model = OpenAI("m", base_url=chat.url("no-count"), profile="vllm")
    with pytest.raises(errors.InvalidAnswer, match=r"no count of tokens \(count\)"):
        await model.count_tokens(gp.Request("x"))
