"""`OpenAIEmbeddings` over real sockets, in both encodings, and what is no answer."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.journals import Memory
from genai_pipeline.providers import OpenAIEmbeddings
from genai_pipeline.providers._embeddings_dialect import OpenAIEmbeddingDialect
from genai_pipeline.testing import EmbedderContract
from tests.engine.doubles import Kept, Ledger
from tests.providers.sdk import headers_of, sdk_request
from tests.servers.chat import ChatServer, Exchange, http
from tests.servers.embeddings import numbers

USAGE = {"prompt_tokens": 7, "total_tokens": 7}
ASK = gp.EmbeddingRequest(["a", "b"])


def packed(vector: list[float]) -> str:
    """Answer *vector* as OpenAI packs it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def embed(exchange: Exchange) -> bytes:
    """Answer the vectors of what was asked, last first, in the encoding that was asked for."""
    request = exchange.json
    form: Callable[[list[float]], Any] = (
        packed if request.get("encoding_format") == "base64" else list
    )
    data = [
        {"object": "embedding", "index": index, "embedding": form(numbers(text))}
        for index, text in enumerate(request["input"])
    ]
    told = {"object": "list", "model": "served-model", "data": data[::-1], "usage": USAGE}
    return http(told, headers="x-request-id: req-1\r\n")


@pytest.fixture
def embeddings(chat: ChatServer) -> ChatServer:
    """Give a server that embeds."""
    chat.answers["embed"] = embed
    return chat


def model(chat: ChatServer, way: str = "embed", **options: Any) -> OpenAIEmbeddings:
    """Answer a model behind a server that answers in this *way*."""
    return OpenAIEmbeddings("m", base_url=chat.url(way), api_key="sk-test", **options)


class TestOpenAIEmbeddings(EmbedderContract):
    """The contract, with a server of ours."""

    @pytest.fixture(autouse=True)
    def _server(self, embeddings: ChatServer) -> None:
        self.server = embeddings

    def make(self) -> gp.Embedder:
        return model(self.server, encoding="base64")

    def make_failing(self) -> gp.Embedder:
        return model(self.server, "500")


class TestLlamaEmbeddings(EmbedderContract):
    """The contract, with llama.cpp's real server."""

    @pytest.fixture(autouse=True)
    def _server(self, llama_embeddings: str) -> None:
        self.url = llama_embeddings

    def make(self) -> gp.Embedder:
        return OpenAIEmbeddings("tiny", base_url=self.url, max_connections=4)

    def make_failing(self) -> gp.Embedder:
        return OpenAIEmbeddings("tiny", base_url=self.url.replace("/v1", "/no-such-path"))

    async def test_both_encodings_say_the_same(self) -> None:
        """What comes packed are the numbers that come as text, and tokens are counted."""
        told = []
        for encoding in ("base64", "float"):
            embedder = OpenAIEmbeddings("tiny", base_url=self.url, encoding=encoding)
            told.append(await embedder(self.request("a cat", "the sea")))
        for one, other in zip(told[0].vectors, told[1].vectors, strict=True):
            assert math.dist(one, other) < 1e-5
        assert told[0].usage == told[1].usage
        assert told[0].usage.input_tokens > 2


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["base64", "float", None])
async def test_vectors_come_in_the_order_of_the_texts(
    embeddings: ChatServer, encoding: Any
) -> None:
    """Whatever the encoding and the order of the answer, each text has the vector that is its."""
    response = await model(embeddings, encoding=encoding)(gp.EmbeddingRequest(["b", "a", "é"]))
    assert [list(vector) for vector in response.vectors] == list(map(numbers, ["b", "a", "é"]))
    assert response.usage == gp.Usage(input_tokens=7)
    assert (response.model, response.request_id) == ("served-model", "req-1")
    sent = embeddings.seen[-1].json.get("encoding_format")
    assert sent == ("base64" if encoding == "base64" else None)


def test_openai_is_asked_for_packed_numbers() -> None:
    """Others are asked for nothing that some do not know."""
    for url, sent in [
        ("https://api.openai.com/v1", "base64"),
        ("https://eu.api.openai.com/v1", "base64"),
        ("http://127.0.0.1/v1", None),
    ]:
        body = OpenAIEmbeddings("m", base_url=url, api_key="k")._speaks().body(ASK)
        assert json.loads(body).get("encoding_format") == sent


@pytest.mark.anyio
async def test_requests_are_those_of_the_sdk(embeddings: ChatServer) -> None:
    """The body is the SDK's, field by field, which packs by default, and the vectors are, too."""
    request = gp.EmbeddingRequest(["a", "b"], dimensions=4, extra={"user": "u"})
    ours = await model(embeddings, encoding="base64")(request)
    sent = embeddings.seen[-1]
    theirs, answer = await sdk_request(
        embeddings,
        embeddings.url("embed"),
        lambda client: client.embeddings.create(
            model="m", input=["a", "b"], dimensions=4, user="u"
        ),
    )
    assert (sent.target, sent.json) == (theirs.target, theirs.json)
    assert headers_of(sent) == headers_of(theirs)
    read = {item.index: item.embedding for item in answer.data}
    assert [list(vector) for vector in ours.vectors] == [read[0], read[1]]


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (gp.EmbeddingRequest("a", task="query"), gp.ConfigurationError, "task='query'; this API"),
        (
            gp.EmbeddingRequest("a", extra={"input": "b"}),
            gp.ConfigurationError,
            r"extra\['input'\]",
        ),
        (gp.EmbeddingRequest(["a", ""]), errors.InvalidRequest, "text 1 is empty"),
    ],
)
def test_what_the_api_cannot_do_is_refused(
    request_: gp.EmbeddingRequest, kind: type[Exception], words: str
) -> None:
    """What has no field, is said twice or holds nothing is told before anything is sent."""
    with pytest.raises(kind, match=words):
        OpenAIEmbeddingDialect("m", "float", "p").body(request_)


def read(document: object) -> gp.EmbeddingResponse:
    """Answer what *document* means for a request of two texts."""
    return OpenAIEmbeddingDialect("m", "float", "p 'm'").read(ASK, document, {}, "p 'm'")


def data(*items: object) -> dict[str, Any]:
    """Answer a document that has these *items*."""
    return {"data": list(items)}


ONE: dict[str, Any] = {"index": 0, "embedding": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "no JSON object"),
        ({}, "0 vectors came for 2 texts"),
        (data(ONE), "1 vectors came for 2 texts"),
        (data(ONE, ONE), "no text of the index 0 that needs a vector"),
        (data(ONE, {**ONE, "index": 2}), "no text of the index 2"),
        (data(ONE, {**ONE, "index": "1"}), "no text of the index '1'"),
        (data(ONE, {"index": 1, "embedding": [1.0]}), "of different lengths"),
        (data(ONE, {"index": 1, "embedding": []}), "is empty"),
        (data(ONE, {"index": 1, "embedding": None}), "is empty"),
        (data(ONE, {"index": 1, "embedding": [1.0, "x"]}), "neither a list of numbers nor"),
        (data(ONE, {"index": 1, "embedding": [1.0, 1e300]}), "numbers that are none"),
        (data(ONE, {"index": 1, "embedding": [1.0, None]}), "neither a list of numbers nor"),
        (data(ONE, {"index": 1, "embedding": "AAA"}), "neither a list of numbers nor"),
        (data(ONE, {"index": 1, "embedding": "AAAA"}), "neither a list of numbers nor"),
        (data(ONE, {"index": 1, "embedding": packed([1.0, math.nan])}), "numbers that are none"),
        (data(ONE, "x"), "is empty"),
    ],
)
def test_what_is_no_vector_is_an_invalid_answer(document: object, words: str) -> None:
    """Vectors that are missing, doubled, cut or no numbers are told, and none is mixed up."""
    with pytest.raises(errors.InvalidAnswer, match=words):
        read(document)


def test_an_error_inside_a_success_is_one() -> None:
    """Gateways send errors with a status of success: they are what they say."""
    with pytest.raises(errors.RateLimited, match="slow"):
        read({"error": {"code": "rate_limit_exceeded", "message": "slow"}})


def test_items_without_an_index_stand_in_their_order() -> None:
    """Servers that leave the index out are taken at their order."""
    vectors = read(data({"embedding": [1.0]}, {"embedding": packed([2.0])})).vectors
    assert [list(vector) for vector in vectors] == [[1.0], [2.0]]


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "index", "embedding", "usage", "error", "model"]), inner
        )
    ),
    max_leaves=20,
)


@given(ANY)
def test_every_document_has_an_outcome(document: object) -> None:
    """No JSON makes the reader raise anything but one of our errors."""
    try:
        response = read(document)
    except errors.PipelineError:
        return
    assert len(response.vectors) == 2


@pytest.mark.anyio
async def test_vectors_are_kept_by_a_journal(embeddings: ChatServer) -> None:
    """What a journal has kept is not asked for again, and its price is that of the tokens."""
    embedder, journal = model(embeddings), Memory()
    prices = gp.PriceBook({"m": {"input": "2", "output": "0"}})

    class Failing(Kept):
        async def __call__(self, record: gp.Record[Any]) -> None:
            raise errors.StorageFailed("the disk is full")

    def pipeline(sink: Kept) -> gp.Pipeline[Any, Any]:
        return gp.Pipeline(
            source=Ledger(["a", "b"]),
            stage=gp.embed(embedder),
            sink=sink,
            journal=journal,
            prices=prices,
            max_in_flight=1,
        )

    asked, sink = len(embeddings.seen), Kept()
    with pytest.raises(gp.RunFailed):
        await pipeline(Failing()).run()
    report = await pipeline(sink).run()
    assert (report.written, report.replayed) == (2, 1)
    assert [list(one.vector) for one in sink.values] == [numbers("a"), numbers("b")]
    assert len(embeddings.seen) == asked + 2
    (line,) = await journal.costs()
    assert (line.calls, line.input_tokens) == (2, 14)
    assert line.charged == 2 * 7 * 2_000  # in nano dollars: seven tokens at two dollars a million


@pytest.mark.anyio
async def test_a_budget_holds_what_a_text_can_cost(embeddings: ChatServer) -> None:
    """A request to embed has a bound, by its bytes, so a hard budget lets it pass or stops it."""
    prices = gp.PriceBook({"m": {"input": "1", "output": "0"}})
    worst = prices.worst("openai", "m", gp.EmbeddingRequest("é" * 10), at=0.0)
    assert worst is not None
    assert worst >= Decimal("0.00002")  # twenty bytes, and no token is shorter than one
    told = gp.Pipeline(
        source=Ledger(["a"]),
        stage=gp.embed(model(embeddings)),
        sink=Kept(),
        journal=Memory(),
        prices=prices,
        budgets=[gp.Budget(cap="0.00000001")],
    )
    with pytest.raises(gp.RunFailed) as caught:
        await told.run()
    assert caught.group_contains(errors.BudgetExhausted)
