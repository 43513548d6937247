"""`GeminiEmbeddings` and `OllamaEmbeddings` over real sockets, and what is no answer."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import pytest
from google import genai
from google.genai import types

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import GeminiEmbeddings, OllamaEmbeddings
from genai_pipeline.testing import EmbedderContract
from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.embeddings import numbers

ASK = gp.EmbeddingRequest(["a", "b"])


def of_gemini(exchange: Exchange) -> bytes:
    texts = [each["content"]["parts"][0]["text"] for each in exchange.json["requests"]]
    return http({"embeddings": [{"values": numbers(text)} for text in texts]})


def of_ollama(exchange: Exchange) -> bytes:
    texts = exchange.json["input"]
    told = {"model": "served", "prompt_eval_count": 7, "total_duration": 5}
    return http({**told, "embeddings": [numbers(text) for text in texts]})


@pytest.fixture
def server(chat: ChatServer) -> ChatServer:
    """Give a server that embeds as Gemini and Ollama do."""
    chat.answers["gemini-embed"] = of_gemini
    chat.answers["ollama-embed"] = of_ollama
    return chat


def gemini(server: ChatServer, way: str = "gemini-embed") -> GeminiEmbeddings:
    return GeminiEmbeddings("gemini-embedding-001", base_url=server.url(way), api_key="AIza-key")


def ollama(server: ChatServer, way: str = "ollama-embed", **options: Any) -> OllamaEmbeddings:
    return OllamaEmbeddings("nomic", base_url=server.url(way), **options)


class TestGemini(EmbedderContract):
    """The contract, with a server of ours."""

    @pytest.fixture(autouse=True)
    def _server(self, server: ChatServer) -> None:
        self.server = server

    def make(self) -> gp.Embedder:
        return gemini(self.server)

    def make_failing(self) -> gp.Embedder:
        return gemini(self.server, "500")


class TestOllama(TestGemini):
    """The same for Ollama."""

    def make(self) -> gp.Embedder:
        return ollama(self.server)

    def make_failing(self) -> gp.Embedder:
        return ollama(self.server, "500")


@pytest.mark.anyio
async def test_gemini_is_asked_as_by_its_sdk(server: ChatServer) -> None:
    """Path, key and body are those of Google's own SDK, but for a role that means nothing."""
    request = gp.EmbeddingRequest(["a", "b"], task="document", dimensions=8)
    response = await gemini(server)(request)
    assert response.attributes == {"usage_missing": True}
    assert response.model == "gemini-embedding-001"
    ours = server.seen[-1]

    def make() -> None:
        base = server.url("gemini-embed").removesuffix("/v1")
        options = types.HttpOptions(base_url=base)
        with genai.Client(api_key="AIza-key", http_options=options) as client:
            client.models.embed_content(
                model="gemini-embedding-001",
                contents=["a", "b"],
                config=types.EmbedContentConfig(
                    task_type="RETRIEVAL_DOCUMENT", output_dimensionality=8
                ),
            )

    await anyio.to_thread.run_sync(make)
    sdk = server.seen[-1]
    sent = sdk.json
    for each in sent["requests"]:
        each["content"].pop("role", None)
    assert (ours.target, ours.json) == (sdk.target, sent)
    assert ours.headers["x-goog-api-key"] == "AIza-key"


@pytest.mark.anyio
async def test_ollama_is_asked_to_cut_nothing(server: ChatServer) -> None:
    """Too long a text shall be an error; context and size go with each call."""
    response = await ollama(server, context=512)(gp.EmbeddingRequest(["a"], dimensions=4))
    assert server.seen[-1].json == {
        "model": "nomic",
        "input": ["a"],
        "dimensions": 4,
        "options": {"num_ctx": 512},
        "truncate": False,
    }
    assert (response.model, response.usage.input_tokens) == ("served", 7)


@pytest.mark.anyio
@pytest.mark.parametrize("make", [gemini, ollama])
@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"{}",
        b'{"embeddings": [[1]]}',
        b'{"embeddings": [{"values": [1]}, {"values": [1, 2]}]}',
        b'{"embeddings": [[1], [1, 2]]}',
        b'{"embeddings": [[1], ["x"]]}',
        b'{"embeddings": [[1], []]}',
        b'{"embeddings": [[1], [NaN]]}',
    ],
)
async def test_what_is_no_answer_is_told(chat: ChatServer, make: Any, document: bytes) -> None:
    """A vector too few, too short or of no numbers is an invalid answer, never a wrong one."""
    chat.answers["odd-embed"] = lambda _: http(document)
    with pytest.raises(errors.InvalidAnswer):
        await make(chat, "odd-embed")(ASK)


@pytest.mark.anyio
@pytest.mark.parametrize("make", [gemini, ollama])
async def test_failures_are_told_apart(chat: ChatServer, make: Any) -> None:
    """A limit passes, an error with a status of success is one."""
    with pytest.raises(errors.RateLimited):
        await make(chat, "429")(ASK)
    chat.answers["failed-embed"] = lambda _: http({"error": {"code": 503, "message": "busy"}})
    with pytest.raises(errors.PipelineError, match="busy"):
        await make(chat, "failed-embed")(ASK)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "request_", "words"),
    [
        (gemini, gp.EmbeddingRequest("a", extra={"taskType": "x"}), "would override"),
        (ollama, gp.EmbeddingRequest("a", extra={"input": []}), "would override"),
        (ollama, gp.EmbeddingRequest("a", task="query"), "task='query'; this API has no such"),
    ],
)
async def test_what_the_api_cannot_do_is_refused(
    server: ChatServer, make: Any, request_: gp.EmbeddingRequest, words: str
) -> None:
    """A request that would be changed on its way is refused before it is sent."""
    with pytest.raises(gp.ConfigurationError, match=words):
        await make(server)(request_)


@pytest.mark.anyio
async def test_the_key_is_for_google_alone(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the environment goes to no other host; a strange model is refused."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-secret")
    await GeminiEmbeddings("m", base_url=server.url("gemini-embed"))(ASK)
    assert "x-goog-api-key" not in server.seen[-1].headers
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(errors.AuthenticationFailed, match="GEMINI_API_KEY"):
        await GeminiEmbeddings("m")(ASK)
    with pytest.raises(gp.ConfigurationError, match="model="):
        GeminiEmbeddings("../m")
