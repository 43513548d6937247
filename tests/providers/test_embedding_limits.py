"""Texts that a model which embeds surely does not read are refused before a byte is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import (
    BedrockEmbeddings,
    GeminiEmbeddings,
    OllamaEmbeddings,
    OpenAIEmbeddings,
)
from genai_pipeline.testing import FakeClock
from tests.engine.test_embed import embed_all
from tests.providers.test_bedrock_embeddings import (
    COHERE,
    TITAN,
    cohere,
    of_cohere,
    of_titan,
    titan,
)
from tests.providers.test_limits import Letters
from tests.providers.test_openai_embeddings import embed
from tests.providers.test_other_embeddings import of_gemini, of_ollama
from tests.servers.bedrock import BedrockServer
from tests.servers.chat import ChatServer
from tests.servers.embeddings import numbers

pytestmark = pytest.mark.anyio

LIMIT = 5
KNOWN = gp.ModelCatalogue(
    {
        name: {"max_input_tokens": LIMIT, "tokenizer": "cl100k_base"}
        for name in ("m", "gemini-m", TITAN, COHERE)
    }
)
FITS, LONG, LONGER = "word " * LIMIT, "word " * (LIMIT + 1), "word " * (LIMIT + 2)


@pytest.fixture(params=["openai", "gemini", "ollama", "titan", "cohere"])
def embedder(
    request: pytest.FixtureRequest, chat: ChatServer, bedrock: BedrockServer
) -> tuple[gp.Embedder, list[Any]]:
    """Give each embedder, of a model that reads few tokens, and what its server has seen."""
    chat.answers.update({"openai": embed, "gemini": of_gemini, "ollama": of_ollama})
    bedrock.answers.update({"titan": of_titan, "cohere": of_cohere})
    way = request.param
    known: Any = {"api_key": "k", "catalogue": KNOWN}
    made: dict[str, Callable[[], gp.Embedder]] = {
        "openai": lambda: OpenAIEmbeddings("m", base_url=chat.url(way), **known),
        "gemini": lambda: GeminiEmbeddings("gemini-m", base_url=chat.url(way), **known),
        "ollama": lambda: OllamaEmbeddings("m", base_url=chat.url(way), **known),
        "titan": lambda: titan(bedrock, catalogue=KNOWN),
        "cohere": lambda: cohere(bedrock, catalogue=KNOWN),
    }
    return made[way](), (bedrock if way in {"titan", "cohere"} else chat).seen


def ask(embedder: gp.Embedder, *texts: str) -> gp.EmbeddingRequest:
    """Answer a request that *embedder* takes."""
    wants = getattr(embedder, "model", "") == COHERE
    return gp.EmbeddingRequest(texts, task="document" if wants else None)


async def test_a_text_that_cannot_fit_is_not_sent(
    embedder: tuple[gp.Embedder, list[Any]],
) -> None:
    """It raises `ContextOverflow`, told of once, whose error of each text says which and why."""
    model, seen = embedder
    asked, told = len(seen), list[Any]()
    with gp.listen(told.append):
        with pytest.raises(errors.ContextOverflow, match=r"has 6 tokens .* reads 5; .* max_input"):
            await model(ask(model, LONG))
        with pytest.raises(
            errors.ContextOverflow, match=r"2 of 4 .* number 1: the text has 6"
        ) as x:
            await model(ask(model, "a", LONG, "b", LONGER))
    assert len(seen) == asked
    assert [each.error for each in told if isinstance(each, CallFinished)] == [
        "ContextOverflow"
    ] * 2
    assert list(x.value.texts) == [1, 3]
    assert "has 7 tokens or more, and the model reads 5;" in str(x.value.texts[3])
    await model(ask(model, FITS))
    assert len(seen) == asked + 1


async def test_it_fails_in_its_slot(
    embedder: tuple[gp.Embedder, list[Any]], clock: FakeClock
) -> None:
    """In `embed` each text that is too long fails alone, and its neighbours go in one request."""
    model, seen = embedder
    asked = len(seen)
    one_by_one = getattr(model, "model", "") == TITAN
    stage = gp.embed(
        gp.wrap(model, gp.Retry(on=gp.Transient, attempts=2)),
        task=ask(model, "a").task,
        clock=clock,
    )
    ends = await embed_all(stage, [LONG, "a", FITS, LONGER, "b"])
    assert [ends[place] for place in (1, 2, 4)] == [numbers(t)[0] for t in ("a", FITS, "b")]
    assert isinstance(ends[0], errors.ContextOverflow)
    assert "has 6 tokens" in str(ends[0])
    assert "has 7 tokens" in str(ends[3])
    assert len(seen) == asked + (3 if one_by_one else 1)


async def test_what_a_server_may_cut_is_sent(chat: ChatServer) -> None:
    """With ``extra``, which may have the server cut it, no text is judged."""
    chat.answers["ollama"] = of_ollama
    model = OllamaEmbeddings("m", base_url=chat.url("ollama"), context=5)
    text = "w" * 128 * 6
    with pytest.raises(errors.ContextOverflow, match=r"ollama 'm': the text has 6 .* reads 5;"):
        await model(gp.EmbeddingRequest(text))
    await model(gp.EmbeddingRequest(text, extra={"truncate": True}))
    await attrs.evolve(model, max_input_tokens=6)(gp.EmbeddingRequest(text))


async def test_an_exact_counter_decides_to_the_token(chat: ChatServer) -> None:
    """With `counter`, a text of one token too many is refused, and one of so many is sent."""
    chat.answers["openai"] = embed
    model = OpenAIEmbeddings(
        "m", base_url=chat.url("openai"), max_input_tokens=20, counter=Letters()
    )
    asked = len(chat.seen)
    with pytest.raises(errors.ContextOverflow, match=r"1 of 3 .* number 1: .* 21 tokens") as caught:
        await model(gp.EmbeddingRequest(["w", "w" * 21, "w" * 20]))
    assert list(caught.value.texts) == [1]
    assert len(chat.seen) == asked
    await model(gp.EmbeddingRequest(["w", "w" * 20]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: OpenAIEmbeddings("text-embedding-3-small", api_key="k"),
        lambda: OpenAIEmbeddings(
            "text-embedding-3-large", api_key="k", base_url="https://eu.api.openai.com/v1"
        ),
        lambda: GeminiEmbeddings("gemini-embedding-001", api_key="k"),
        lambda: GeminiEmbeddings("gemini-embedding-001", api_key="k", project="p"),
        lambda: BedrockEmbeddings(TITAN, api_key="k", region="us-east-1"),
        lambda: BedrockEmbeddings(COHERE, api_key="k", region="us-east-1"),
    ],
    ids=["openai", "openai in the EU", "google ai", "vertex", "titan", "cohere"],
)
async def test_the_makers_own_hosts_are_known(make: Callable[[], gp.Embedder]) -> None:
    """At the maker's or host's own address the reference catalogue counts, without an option."""
    model = make()
    most = 128_000 if getattr(model, "model", "") == COHERE else 8_192
    with pytest.raises(errors.ContextOverflow, match=r"the model reads \d{4,6} \(as of 20"):
        await model(gp.EmbeddingRequest("w" * 128 * (most + 1) + " w" * 8_193))


async def test_elsewhere_a_name_says_nothing(chat: ChatServer) -> None:
    """At another address, or with an empty catalogue, a name that is known limits nothing."""
    chat.answers["openai"] = embed
    text = gp.EmbeddingRequest("word " * 8_193)
    await OpenAIEmbeddings("text-embedding-3-small", base_url=chat.url("openai"))(text)
    azure = OpenAIEmbeddings(
        "text-embedding-3-small", base_url="https://acme.openai.azure.com/openai/v1", api_key="k"
    )
    free = OpenAIEmbeddings("text-embedding-3-small", api_key="k", catalogue=gp.ModelCatalogue())
    for model in (azure, free):
        assert model._limits.overflow_of(text) is None


@pytest.mark.parametrize(
    "options",
    [
        {"max_input_tokens": 0},
        {"max_input_tokens": True},
        {"catalogue": {"m": {}}},
        {"counter": gp.TokenEstimator()},
        {"counter": Letters()},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: Any) -> None:
    """The options are checked when the embedder is built, and the error names them."""
    (name,) = options
    with pytest.raises(gp.ConfigurationError, match=f"OpenAIEmbeddings: {name}=.*; give ") as told:
        OpenAIEmbeddings("m", api_key="k", **options)
    if isinstance(options[name], Letters):
        assert "max_input_tokens= too, as it is not known how much 'm' reads" in str(told.value)
