"""The provider contracts, on a server of ours that speaks Ollama's API."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import Ollama
from genai_pipeline.testing import ProviderContract
from tests.providers.stream_wires import ServedStreamContract
from tests.servers.ollama import OllamaServer


class TestOllama(ProviderContract):
    """Ollama, whole."""

    @pytest.fixture(autouse=True)
    def _server(self, ollama: OllamaServer) -> None:
        self.server = ollama

    def make(self) -> gp.Provider:
        return Ollama("qwen3", base_url=self.server.url("ok"))

    def make_failing(self) -> gp.Provider:
        return Ollama("missing", base_url=self.server.url("ok"))

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestOllamaStream(ServedStreamContract):
    """Ollama's stream over real sockets."""

    @pytest.fixture(autouse=True)
    def _server(self, ollama: OllamaServer) -> None:
        self.server = ollama
        self.model = self.model_of("ok")

    def model_of(self, way: str) -> Ollama:
        return Ollama("qwen3", base_url=self.server.url(way))

    def make_failing(self) -> gp.StreamingProvider:
        return Ollama("missing", base_url=self.server.url("ok")).stream
