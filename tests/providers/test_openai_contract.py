"""The provider contract, on our own server, on llama.cpp's, and on a third party's provider."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import InvalidRequest
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import OpenAI
from genai_pipeline.testing import ProviderContract
from tests import canary
from tests.servers.chat import ChatServer


class TestOpenAI(ProviderContract):
    """OpenAI against a server that answers by the book."""

    @pytest.fixture(autouse=True)
    def _server(self, chat: ChatServer) -> None:
        self.server = chat

    def make(self) -> gp.Provider:
        return OpenAI(
            "m", base_url=self.server.url("ok"), api_key=canary.KEY, headers=canary.HEADERS
        )

    def make_failing(self) -> gp.Provider:
        return OpenAI(
            "m", base_url=self.server.url("500"), api_key=canary.KEY, headers=canary.HEADERS
        )

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == f"you said: {request.prompt}"


class TestLlamaCpp(ProviderContract):
    """OpenAI against llama.cpp's real server."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.url = llama

    def make(self) -> gp.Provider:
        # As many as it has slots: it keeps a thread for each open connection, and waits for it.
        return OpenAI("tiny", base_url=self.url, name="llama.cpp", max_connections=4)

    def make_failing(self) -> gp.Provider:
        return OpenAI("tiny", base_url=self.url.replace("/v1", "/no-such-path"))


class Echo:
    """A third party's provider: a class with ``async def __call__``, and nothing of ours."""

    async def __call__(self, request: gp.Request) -> gp.Response:
        if request.labels or request.schema:
            gp.emit(CallFinished(provider="echo", model="e", seconds=0.0, error="InvalidRequest"))
            raise InvalidRequest("Echo: neither labels nor schema")
        used = gp.Usage(input_tokens=len(request.prompt), output_tokens=len(request.prompt))
        gp.emit(
            CallFinished(
                provider="echo",
                model="echo-1",
                seconds=0.0,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                finish_reason="stop",
            )
        )
        return gp.Response(request.prompt, usage=used, model="echo-1")


class Declining(Echo):
    """One that takes no request at all."""

    async def __call__(self, request: gp.Request) -> gp.Response:
        return await super().__call__(gp.Request(request.prompt, labels=("a", "b")))


class TestThirdParty(ProviderContract):
    """A provider of 25 lines."""

    def make(self) -> gp.Provider:
        return Echo()

    def make_failing(self) -> gp.Provider:
        return Declining()

    def belongs(self, request: gp.Request, response: gp.Response) -> bool:
        return response.text == request.prompt
