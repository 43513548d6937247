"""The contracts of providers, kept by `OpenAIResponses` over real sockets."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import OpenAIResponses
from genai_pipeline.testing import FakeClock, ProviderContract, StreamingProviderContract
from tests.servers.chat import ChatServer


class TestOpenAIResponses(ProviderContract):
    """Whole answers, of a server of ours."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat

    def make(self) -> gp.Provider:
        return OpenAIResponses("m", base_url=self.server.url("responses"), api_key="sk-secret")

    def make_failing(self) -> gp.Provider:
        return OpenAIResponses("m", base_url=self.server.url("500"))

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestOpenAIResponsesStream(StreamingProviderContract):
    """Streams, of a server of ours."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat

    def _model(self, way: str) -> OpenAIResponses:
        return OpenAIResponses("m", base_url=self.server.url(way), api_key="sk-secret")

    def make(self) -> gp.StreamingProvider:
        return self._model("responses").stream

    def make_whole(self) -> gp.Provider:
        return self._model("responses")

    def make_failing(self) -> gp.StreamingProvider:
        return self._model("500").stream

    def make_breaking(self) -> gp.StreamingProvider:
        return self._model("responses-cut").stream

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return self._model("responses-stalled").stream

    def make_clock(self) -> FakeClock:
        return FakeClock(cushion=0.3)


class TestLlamaResponses(ProviderContract):
    """Whole answers, of llama.cpp's real server."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.url = llama

    def make(self) -> gp.Provider:
        return OpenAIResponses("tiny", base_url=self.url, name="llama.cpp", max_connections=4)

    def make_failing(self) -> gp.Provider:
        return OpenAIResponses("tiny", base_url=self.url.replace("/v1", "/no-such-path"))

    def request(self, text: str) -> gp.Request:
        # Of random weights, it may choose to say nothing, unless it says the likeliest.
        return gp.Request(text, max_output_tokens=8, temperature=0)

    async def test_labels_are_kept_or_declined(self) -> None:
        """The server passes over schemas here, as it does not in Chat: that is never an answer."""
        labels = ["a", "b"]
        request = gp.Request("a or b?", labels=labels, max_output_tokens=8, temperature=0)
        with pytest.raises(gp.errors.InvalidAnswer, match="none of the labels"):
            await self.make()(request)


class TestLlamaResponsesStream(StreamingProviderContract):
    """Streams, of llama.cpp's real server."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.model = OpenAIResponses("tiny", base_url=llama)

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=8, temperature=0, extra={"seed": 1})

    async def test_the_chunks_are_the_answer(self) -> None:
        """With the same seed, the text and the tokens are those of a whole answer."""
        extra = {"seed": 3, "cache_prompt": False}
        request = gp.Request("the cat", max_output_tokens=12, extra=extra)
        async with self.model.stream(request) as chunks:
            streamed = gp.join_chunks([chunk async for chunk in chunks])
        whole = await self.model(request)
        assert streamed.text == whole.text
        assert streamed.usage == whole.usage

    async def test_it_counts_tokens(self) -> None:
        """The server counts as many tokens before a call as it tells after it."""
        request = gp.Request("the cat", max_output_tokens=8, temperature=0)
        counted = await self.model.count_tokens(request)
        assert counted == (await self.model(request)).usage.input_tokens
