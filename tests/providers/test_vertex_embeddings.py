"""`GeminiEmbeddings` at Vertex AI, over real sockets, beside Google's own SDK."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import google.auth.credentials
import pytest
from google import genai
from google.genai import types

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import GeminiEmbeddings
from genai_pipeline.testing import EmbedderContract
from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.embeddings import numbers

CONTENT, PREDICT = "gemini-embedding-001", "text-embedding-005"
USAGE = {"promptTokenCount": 7, "totalTokenCount": 7}


def of_vertex(exchange: Exchange) -> bytes:
    body, method = exchange.json, exchange.target.rpartition(":")[2]
    if method == "predict":
        told = [
            {"values": numbers(each["content"]), "statistics": {"token_count": 3}}
            for each in body["instances"]
        ]
        return http({"predictions": [{"embeddings": each} for each in told]})
    if method == "embedContent":
        (part,) = body["content"]["parts"]
        return http({"embedding": {"values": numbers(part["text"])}, "usageMetadata": USAGE})
    texts = [each["content"]["parts"][0]["text"] for each in body["requests"]]
    return http({"embeddings": [{"values": numbers(text)} for text in texts]})


@pytest.fixture
def server(chat: ChatServer) -> ChatServer:
    """Give a server that embeds as Vertex AI does."""
    chat.answers["vertex"] = of_vertex
    return chat


def vertex(server: ChatServer, way: str = "vertex", model: str = CONTENT) -> GeminiEmbeddings:
    return GeminiEmbeddings(
        model, project="p", location="eu", base_url=server.url(way), api_key="ya29.token"
    )


class TestByContent(EmbedderContract):
    """The contract, for Gemini's models."""

    model = CONTENT

    @pytest.fixture(autouse=True)
    def _server(self, server: ChatServer) -> None:
        self.server = server

    def make(self) -> gp.Embedder:
        return vertex(self.server, model=self.model)

    def make_failing(self) -> gp.Embedder:
        return vertex(self.server, "500", model=self.model)


class TestByPrediction(TestByContent):
    """The same for the models before them."""

    model = PREDICT


@pytest.mark.anyio
@pytest.mark.parametrize("texts", [["a"], ["a", "b"]])
@pytest.mark.parametrize("model", [CONTENT, PREDICT])
async def test_it_is_what_the_sdk_sends(server: ChatServer, model: str, texts: list[str]) -> None:
    """Path, token and body are those of Google's own SDK, but for a role that means nothing."""
    await vertex(server, model=model)(gp.EmbeddingRequest(texts, task="document", dimensions=8))
    ours = server.seen[-1]

    def make() -> None:
        base = server.url("vertex").removesuffix("/v1")
        with genai.Client(
            vertexai=True,
            project="p",
            location="eu",
            credentials=_Token(),
            http_options=types.HttpOptions(base_url=base, api_version="v1"),
        ) as client:
            client.models.embed_content(
                model=model,
                contents=list(texts),
                config=types.EmbedContentConfig(
                    task_type="RETRIEVAL_DOCUMENT", output_dimensionality=8, auto_truncate=False
                ),
            )

    await anyio.to_thread.run_sync(make)
    sdk = server.seen[-1]
    sent = sdk.json
    for each in (sent, *sent.get("requests", ())):
        each.get("content", {}).pop("role", None)
    assert (ours.target, ours.json) == (sdk.target, sent)
    assert ours.headers["authorization"] == sdk.headers["authorization"] == "Bearer ya29.token"


class _Token(google.auth.credentials.Credentials):
    """Credentials that are there already."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = "ya29.token"

    def refresh(self, request: Any) -> None:
        raise NotImplementedError


@pytest.mark.anyio
async def test_the_tokens_are_counted(server: ChatServer) -> None:
    """They are told beside the vectors, or with each of them."""
    response = await vertex(server)(gp.EmbeddingRequest("a"))
    assert (response.usage.input_tokens, response.attributes) == (7, {})
    response = await vertex(server, model=PREDICT)(gp.EmbeddingRequest(["a", "b"]))
    assert (response.usage.input_tokens, response.attributes) == (6, {})
    response = await vertex(server)(gp.EmbeddingRequest(["a", "b"]))
    assert response.attributes == {"usage_missing": True}


@pytest.mark.anyio
@pytest.mark.parametrize("model", [CONTENT, PREDICT])
@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"{}",
        b'{"embedding": [], "predictions": [1]}',
        b'{"embedding": {"values": []}, "predictions": [{"embeddings": {"values": ["x"]}}]}',
        b'{"embeddings": [{}, {}], "predictions": [{"embeddings": []}, {}]}',
    ],
)
async def test_what_is_no_answer_is_told(server: ChatServer, model: str, document: bytes) -> None:
    """A vector that is missing, or of no numbers, is an invalid answer, never a wrong one."""
    server.answers["odd-vertex"] = lambda _: http(document)
    with pytest.raises(errors.InvalidAnswer):
        await vertex(server, "odd-vertex", model)(gp.EmbeddingRequest("a"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "request_", "words"),
    [
        (CONTENT, gp.EmbeddingRequest("a", extra={"taskType": "x"}), "would override"),
        (PREDICT, gp.EmbeddingRequest("a", extra={"task_type": "x"}), "would override"),
        ("e5-maas", gp.EmbeddingRequest(["a", "b"]), r"2 texts; .* size=1"),
    ],
)
async def test_what_the_api_cannot_do_is_refused(
    server: ChatServer, model: str, request_: gp.EmbeddingRequest, words: str
) -> None:
    """A request that would be changed on its way is refused before it is sent."""
    with pytest.raises(gp.ConfigurationError, match=words):
        await vertex(server, model=model)(request_)


def test_the_place_decides_on_the_host() -> None:
    """A project is asked where it is, and Google AI without one."""
    model = GeminiEmbeddings(CONTENT, project="p", location="europe-west4")
    assert model.base_url == "https://europe-west4-aiplatform.googleapis.com/v1"
    assert GeminiEmbeddings(CONTENT).base_url == "https://generativelanguage.googleapis.com/v1"
