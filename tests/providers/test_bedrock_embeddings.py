"""`BedrockEmbeddings` over real sockets: Titan's words and Cohere's, signed as Amazon wants it."""

from __future__ import annotations

import json
from typing import Any

import anyio.to_thread
import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore.config import Config  # type: ignore[import-untyped]

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.journals import Memory
from genai_pipeline.providers import AwsCredentials, BedrockEmbeddings
from genai_pipeline.testing import EmbedderContract
from tests.engine.doubles import Kept, Ledger
from tests.servers.bedrock import KEY_ID, SECRET, TOKEN, BedrockServer, is_signed
from tests.servers.chat import Exchange, http
from tests.servers.embeddings import numbers

TITAN, COHERE = "amazon.titan-embed-text-v2:0", "cohere.embed-v4:0"
HEADERS = "x-amzn-requestid: req-1\r\nx-amzn-bedrock-input-token-count: 7\r\n"


def of_titan(exchange: Exchange) -> bytes:
    text = exchange.json["inputText"]
    if not is_signed(exchange):
        return http({"message": "wrong"}, status="403 Forbidden")
    told = {"embedding": numbers(text), "inputTextTokenCount": len(text)}
    return http({**told, "embeddingsByType": {"float": numbers(text)}}, headers=HEADERS)


def of_cohere(exchange: Exchange) -> bytes:
    vectors = [numbers(text) for text in exchange.json["texts"]]
    told = {"id": "1", "response_type": "embeddings_floats", "texts": exchange.json["texts"]}
    return http({**told, "embeddings": vectors}, headers=HEADERS)


@pytest.fixture
def server(bedrock: BedrockServer) -> BedrockServer:
    """Give a server that embeds as both do."""
    bedrock.answers["titan"] = of_titan
    bedrock.answers["cohere"] = of_cohere
    return bedrock


def titan(server: BedrockServer, way: str = "titan", **options: Any) -> BedrockEmbeddings:
    given = {"region": "us-east-1", "credentials": AwsCredentials(KEY_ID, SECRET, TOKEN), **options}
    return BedrockEmbeddings(TITAN, base_url=server.url(way), **given)


def cohere(server: BedrockServer, way: str = "cohere", **options: Any) -> BedrockEmbeddings:
    given = {"api_key": "bedrock-key", **options}
    return BedrockEmbeddings(COHERE, base_url=server.url(way), **given)


class TestTitan(EmbedderContract):
    """The contract, one text with each signed call."""

    @pytest.fixture(autouse=True)
    def _server(self, server: BedrockServer) -> None:
        self.server = server

    def make(self) -> gp.Embedder:
        return titan(self.server)

    def make_failing(self) -> gp.Embedder:
        return titan(self.server, "500")


class TestCohere(TestTitan):
    """The contract, many texts with each call."""

    def make(self) -> gp.Embedder:
        return cohere(self.server)

    def make_failing(self) -> gp.Embedder:
        return cohere(self.server, "500")

    def request(self, *texts: str) -> gp.EmbeddingRequest:
        return gp.EmbeddingRequest(texts, task="document")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("model", "way", "request_", "body"),
    [
        (
            *(TITAN, "titan"),
            gp.EmbeddingRequest("sea", dimensions=256, extra={"normalize": False}),
            {"inputText": "sea", "dimensions": 256, "normalize": False},
        ),
        (
            *(COHERE, "cohere"),
            gp.EmbeddingRequest(["a", "b"], task="query", dimensions=512),
            {
                "texts": ["a", "b"],
                "input_type": "search_query",
                "truncate": "NONE",
                "output_dimension": 512,
            },
        ),
    ],
)
async def test_it_is_what_the_sdk_sends(
    server: BedrockServer, model: str, way: str, request_: gp.EmbeddingRequest, body: dict[str, Any]
) -> None:
    """Path, body and what is signed are those of Amazon's own SDK."""

    def make() -> None:
        client = botocore.session.get_session().create_client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=server.url(way),
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            aws_session_token=TOKEN,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            written = json.dumps(body)
            answer = client.invoke_model(
                modelId=model, body=written, contentType="application/json"
            )
            assert json.loads(answer["body"].read())
        finally:
            client.close()

    await anyio.to_thread.run_sync(make)
    sdk = server.seen[-1]
    credentials = AwsCredentials(KEY_ID, SECRET, TOKEN)
    embedder = BedrockEmbeddings(
        model, region="us-east-1", base_url=server.url(way), credentials=credentials
    )
    await embedder(request_)
    sent = server.seen[-1]
    assert (sent.target, sent.json) == (sdk.target, sdk.json)
    for part in ("Credential=", "SignedHeaders="):
        signed = [each.headers["authorization"].partition(part)[2] for each in (sent, sdk)]
        assert signed[0].split(",")[0] == signed[1].split(",")[0]


@pytest.mark.anyio
async def test_titan_makes_a_call_for_each_text(server: BedrockServer) -> None:
    """Each call is told of, and together they are one answer, in the order of the texts."""
    texts, told = [f"text {number}" for number in range(40)], list[Any]()
    before = len(server.seen)
    with gp.listen(told.append):
        response = await titan(server)(gp.EmbeddingRequest(texts))
    assert [list(vector) for vector in response.vectors] == [numbers(text) for text in texts]
    assert response.usage.input_tokens == sum(map(len, texts))
    assert (response.model, response.request_id) == (TITAN, "req-1")
    assert len([each for each in told if isinstance(each, CallFinished)]) == 40
    assert len(server.seen) == before + 40


@pytest.mark.anyio
async def test_titan_stops_at_the_first_failure(server: BedrockServer) -> None:
    """When a call fails no more begin, and its error is that of the request."""
    server.answers["busy"] = lambda _: http({"message": "slow"}, status="429 Too Many Requests")
    before = len(server.seen)
    with pytest.raises(errors.RateLimited, match="slow"):
        await titan(server, "busy")(gp.EmbeddingRequest(["a"] * 100))
    assert len(server.seen) <= before + 16


@pytest.mark.anyio
async def test_the_tokens_are_counted(server: BedrockServer) -> None:
    """Titan tells them in its answer, and Bedrock in a header beside Cohere's, also for money."""
    response = await cohere(server)(gp.EmbeddingRequest(["a", "b"], task="document"))
    assert (response.usage.input_tokens, response.attributes) == (7, {})
    server.answers["untold"] = lambda _: http({"embeddings": {"float": [[1, 2]]}})
    response = await cohere(server, "untold")(gp.EmbeddingRequest("a", task="document"))
    assert response.attributes == {"usage_missing": True}
    prices = gp.PriceBook({COHERE: {"input": "1", "output": "1"}})
    journal, embedder = Memory(), cohere(server)

    async def embed(value: str) -> list[float]:
        answer = await embedder(gp.EmbeddingRequest(value, task="document"))
        return list(answer.vectors[0])

    pipeline = gp.Pipeline(
        source=Ledger(["hi"]), stage=gp.map(embed), sink=Kept(), journal=journal, prices=prices
    )
    await pipeline.run()
    (line,) = await journal.costs()
    assert (line.calls, line.unknown, line.input_tokens) == (1, 0, 7)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "request_", "words"),
    [
        (titan, gp.EmbeddingRequest("a", task="query"), "task='query'; this model has no such"),
        (titan, gp.EmbeddingRequest("a", extra={"inputText": "x"}), "would override"),
        (titan, gp.EmbeddingRequest(["a", ""]), "the text is empty"),
        (cohere, gp.EmbeddingRequest("a"), "task=None; this model wants to know"),
        (cohere, gp.EmbeddingRequest("a", task="similarity"), "for: query, document, class"),
        (cohere, gp.EmbeddingRequest(["a"] * 97, task="query"), r"97 texts; .*size=96"),
        (cohere, gp.EmbeddingRequest("a", task="query", extra={"texts": []}), "would override"),
    ],
)
async def test_what_a_model_cannot_do_is_refused(
    server: BedrockServer, make: Any, request_: gp.EmbeddingRequest, words: str
) -> None:
    """A request that would be changed on its way is refused, and the error says how to mend it."""
    with pytest.raises(errors.PipelineError, match=words):
        await make(server)(request_)


@pytest.mark.anyio
@pytest.mark.parametrize("make", [titan, cohere])
@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b"{}",
        b'{"embedding": [], "embeddings": []}',
        b'{"embedding": ["x"], "embeddings": [["x"]]}',
        b'{"embedding": [NaN], "embeddings": {"int8": [[1]]}}',
    ],
)
async def test_what_is_no_answer_is_told(server: BedrockServer, make: Any, document: bytes) -> None:
    """A vector that is missing, or of no numbers, is an invalid answer, never a wrong one."""
    server.answers["odd"] = lambda _: http(document)
    task: Any = "query" if make is cohere else None
    with pytest.raises(errors.InvalidAnswer):
        await make(server, "odd")(gp.EmbeddingRequest("a", task=task))


def test_a_model_that_does_not_tell_its_maker_wants_it_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Profiles are known by what they hold, and ARNs that tell nothing by *maker*."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    arn = "arn:aws:bedrock:eu-central-1:1:application-inference-profile/abc"
    assert BedrockEmbeddings("eu.cohere.embed-v4:0").base_url.endswith("eu-central-1.amazonaws.com")
    assert BedrockEmbeddings(arn, maker="cohere").maker == "cohere"
    with pytest.raises(gp.ConfigurationError, match="maker"):
        BedrockEmbeddings(arn)
    with pytest.raises(gp.ConfigurationError, match="either api_key= or credentials="):
        BedrockEmbeddings(TITAN, api_key="k", credentials=AwsCredentials(KEY_ID, SECRET))
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with pytest.raises(gp.ConfigurationError, match="BedrockEmbeddings: no region"):
        BedrockEmbeddings(TITAN)
