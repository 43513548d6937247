"""The servers that provider tests talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.chat import ChatServer
from tests.servers.llama import running_llama


@pytest.fixture(scope="session")
def chat() -> Iterator[ChatServer]:
    """Give a server of ours that behaves as its path says."""
    with ChatServer() as server:
        yield server


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
