"""The provider contracts, on our own server of the Messages API, and on llama.cpp's."""

from __future__ import annotations

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import Anthropic
from genai_pipeline.testing import ProviderContract, StreamingProviderContract
from tests.providers.stream_wires import ServedStreamContract
from tests.servers.messages import MessagesServer


class TestAnthropic(ProviderContract):
    """Anthropic in the newest version of the API, which takes no temperature."""

    @pytest.fixture(autouse=True)
    def _server(self, claude: MessagesServer) -> None:
        self.server = claude

    def make(self) -> gp.Provider:
        return Anthropic("claude-opus-5", base_url=self.server.url("ok"), api_key="sk-ant-secret")

    def make_failing(self) -> gp.Provider:
        return Anthropic("claude-opus-5", base_url=self.server.url("500"))

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=16)

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestOlderVersion(TestAnthropic):
    """Anthropic in the version before, with all that the contract asks."""

    def make(self) -> gp.Provider:
        return Anthropic("claude-sonnet-4-5", base_url=self.server.url("ok"), version="2023-06-01")

    def request(self, text: str) -> gp.Request:
        return ProviderContract.request(self, text)


class TestAnthropicStream(ServedStreamContract):
    """Anthropic's stream over real sockets."""

    @pytest.fixture(autouse=True)
    def _server(self, claude: MessagesServer) -> None:
        self.server = claude
        self.model = self.model_of("ok")

    def model_of(self, way: str) -> Anthropic:
        return Anthropic("claude-opus-5", base_url=self.server.url(way), api_key="sk-ant-secret")

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=16)


class TestLlamaCpp(ProviderContract):
    """Anthropic against llama.cpp's real server, which speaks the API as well."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.url = llama.removesuffix("/v1")

    def make(self) -> gp.Provider:
        # As many as it has slots: it keeps a thread for each open connection, and waits for it.
        return Anthropic(
            "tiny",
            base_url=self.url,
            name="llama.cpp",
            version="2023-06-01",
            max_connections=4,
        )

    def make_failing(self) -> gp.Provider:
        return Anthropic("tiny", base_url=f"{self.url}/no-such-path", version="2023-06-01")

    async def test_labels_are_kept_or_declined(self) -> None:
        """Since the server passes over the format, random words are told for what they are."""
        request = gp.Request("Alpha?", labels=("Alpha", "beta"), max_output_tokens=64)
        with pytest.raises((errors.InvalidAnswer, errors.Truncated)):
            await self.make()(request)


class TestLlamaStream(StreamingProviderContract):
    """The stream of the same, of a real model of random weights."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        url = llama.removesuffix("/v1")
        self.model = Anthropic("tiny", base_url=url, version="2023-06-01")

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def make_failing(self) -> gp.StreamingProvider:
        stream = self.model.stream
        return lambda request: stream(attrs.evolve(request, messages="word " * 3000))

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=8, temperature=0, extra={"seed": 1})
