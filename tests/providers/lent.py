"""Models around an application's own clients, which are opened for each call."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import anthropic
import attrs
import openai
import pytest

import genai_pipeline as gp
from genai_pipeline.providers import from_anthropic, from_openai
from tests.providers.wires import WIRES
from tests.servers.chat import ChatServer
from tests.servers.messages import MessagesServer

__all__ = ["CANARY", "LENT", "Kind", "Lenders", "Lent", "claude_at", "forgets_sockets", "openai_at"]

Kind: TypeAlias = Literal["openai", "anthropic"]

forgets_sockets = pytest.mark.filterwarnings(
    "ignore:.*([sS]ocket|Transport):pytest.PytestUnraisableExceptionWarning"
)
"""With older versions of anyio, what SDKs stand on does where it is cancelled while opening one."""

CANARY = "sk-canary-7f3a9b"
"""The key of the clients."""

_UNUSED_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Servers of ours speak plain HTTP, and to load who is trusted takes most of a client's time."""

_OLDER = {"anthropic-version": "2023-06-01"}
"""The version of the API that takes a temperature."""


@asynccontextmanager
async def openai_at(url: str, **options: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    """Answer OpenAI's client for *url*."""
    http = openai.DefaultAsyncHttpxClient(verify=_UNUSED_TLS)
    given = {"base_url": url, "api_key": CANARY, "http_client": http, **options}
    async with openai.AsyncOpenAI(**given) as client:
        yield client


@asynccontextmanager
async def claude_at(url: str, **options: Any) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Answer Anthropic's client for *url*."""
    http = anthropic.DefaultAsyncHttpxClient(verify=_UNUSED_TLS)
    given = {"base_url": url, "api_key": CANARY, "http_client": http, **options}
    async with anthropic.AsyncAnthropic(**given) as client:
        yield client


class Lent:
    """A model whose client is opened for each call, since its loop may be another."""

    def __init__(self, kind: Kind, url: str, **options: Any) -> None:
        self._kind = kind
        self._url = url
        self._options = options

    async def __call__(self, request: gp.Request) -> gp.Response:
        async with self._opened() as model:
            response: gp.Response = await model(request)
            return response

    @asynccontextmanager
    async def stream(self, request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async with self._opened() as model, model.stream(request) as chunks:
            yield chunks

    async def count_tokens(self, request: gp.Request) -> int:
        async with self._opened() as model:
            count: int = await model.count_tokens(request)
            return count

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        if self._kind == "openai":
            async with openai_at(self._url) as client:
                yield from_openai(client, "m", **self._options)
        else:
            async with claude_at(self._url, default_headers=_OLDER) as claude:
                yield from_anthropic(claude, "a-model", **self._options)


def _lent(kind: Kind) -> Callable[..., Lent]:
    limits = {"max_output_tokens": 9} if kind == "anthropic" else {}
    return lambda base_url, **_: Lent(kind, base_url, **limits)  # it has none of our options


LENT = {
    "from_openai": attrs.evolve(WIRES["OpenAI"], make=_lent("openai")),
    "from_anthropic": attrs.evolve(WIRES["Anthropic"], make=_lent("anthropic")),
}
"""How they are answered, to the byte, by the name of the function that makes them."""


class Lenders:
    """For a contract of models around clients of a *kind*."""

    kind: Kind = "openai"

    @pytest.fixture(autouse=True)
    def _servers(self, chat: ChatServer, claude: MessagesServer) -> None:
        self.server = chat if self.kind == "openai" else claude

    def lent(self, way: str, **options: Any) -> Lent:
        """Answer a model of a server that answers in this *way*."""
        return Lent(self.kind, self.server.url(way), **options)
