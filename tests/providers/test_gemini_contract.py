"""The provider contracts, on a server of ours that speaks Gemini's API."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import Gemini
from genai_pipeline.testing import ProviderContract
from tests import canary
from tests.providers.stream_wires import ServedStreamContract
from tests.servers.gemini import GeminiServer


class TestGemini(ProviderContract):
    """Gemini at Google AI."""

    @pytest.fixture(autouse=True)
    def _server(self, gemini: GeminiServer) -> None:
        self.server = gemini

    def make(self) -> gp.Provider:
        return Gemini(
            "gemini-3-flash",
            base_url=self.server.url("ok"),
            api_key=canary.KEY,
            headers=canary.HEADERS,
        )

    def make_failing(self) -> gp.Provider:
        return Gemini("gemini-3-flash", base_url=self.server.url("500"))

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestVertex(TestGemini):
    """Gemini in a project of Vertex AI, with a token that is asked for."""

    def make(self) -> gp.Provider:
        return Gemini(
            "gemini-3-flash",
            project="my-project",
            location="europe-west1",
            base_url=self.server.url("ok"),
            api_key=lambda: ("ya29.token", 3600.0),
        )


class TestGeminiStream(ServedStreamContract):
    """Gemini's stream over real sockets."""

    @pytest.fixture(autouse=True)
    def _server(self, gemini: GeminiServer) -> None:
        self.server = gemini
        self.model = self.model_of("ok")

    def model_of(self, way: str) -> Gemini:
        return Gemini(
            "gemini-3-flash",
            base_url=self.server.url(way),
            api_key=canary.KEY,
            headers=canary.HEADERS,
        )
