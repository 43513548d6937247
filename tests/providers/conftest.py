"""The servers that provider tests talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.providers.wires import WIRES, Wire
from tests.servers.bedrock import BedrockServer
from tests.servers.chat import ChatServer
from tests.servers.exact import ExactServer
from tests.servers.gemini import GeminiServer
from tests.servers.llama import running_llama
from tests.servers.messages import MessagesServer
from tests.servers.ollama import OllamaServer


@pytest.fixture(scope="session")
def chat() -> Iterator[ChatServer]:
    """Give a server of ours that behaves as its path says."""
    with ChatServer() as server:
        yield server


@pytest.fixture(scope="session")
def claude() -> Iterator[MessagesServer]:
    """Give a server of ours that speaks Anthropic's Messages API, as its path says."""
    with MessagesServer() as server:
        yield server


@pytest.fixture(scope="session")
def bedrock() -> Iterator[BedrockServer]:
    """Give a server of ours that speaks Bedrock's Converse API, as its path says."""
    with BedrockServer() as server:
        yield server


@pytest.fixture(scope="session")
def gemini() -> Iterator[GeminiServer]:
    """Give a server of ours that speaks Gemini's API, as its path says."""
    with GeminiServer() as server:
        yield server


@pytest.fixture(scope="module")
def exact() -> Iterator[ExactServer]:
    """Give a server that sends what it is told to."""
    with ExactServer() as server:
        yield server


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Give each API in turn."""
    return WIRES[request.param]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the base URL of llama.cpp's real server."""
    with running_llama(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="session")
def llama_embeddings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the base URL of llama.cpp's real server, begun to embed."""
    with running_llama(tmp_path_factory.mktemp("llama-embeddings"), embeds=True) as url:
        yield url


@pytest.fixture(scope="session")
def ollama() -> Iterator[OllamaServer]:
    """Give a server of ours that speaks Ollama's API, as its path says."""
    with OllamaServer() as server:
        yield server
