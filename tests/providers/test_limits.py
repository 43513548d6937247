"""What a model surely does not take is refused before a byte is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import (
    Anthropic,
    AzureOpenAI,
    Bedrock,
    Gemini,
    Ollama,
    OpenAI,
    OpenAIResponses,
)
from tests.servers.chat import ChatServer

pytestmark = pytest.mark.anyio

KNOWN = gp.ModelCatalogue(
    {"acme": {"context_window": 20, "max_output_tokens": 10, "tokenizer": "o200k_base"}}
)
LONG, FITTING = gp.Request("word " * 21), gp.Request("word " * 20)
HUGE = "word " * 200_000


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """Give a server that nobody else asks, to see that it is not even connected to."""
    with ChatServer() as server:
        yield server


def acme(server: ChatServer, **options: Any) -> OpenAI:
    """Answer a provider of the server whose model reads 20 tokens, and writes 10."""
    return OpenAI("acme", base_url=server.url("ok"), api_key="k", catalogue=KNOWN, **options)


async def test_a_prompt_that_cannot_fit_is_not_sent(server: ChatServer) -> None:
    """It raises `ContextOverflow`, called or streamed, and the server sees no connection."""
    model = acme(server)
    told: list[Any] = []
    with gp.listen(told.append):
        with pytest.raises(errors.ContextOverflow, match=r"'acme': .* model reads 20; shorten it"):
            await model(LONG)
        with pytest.raises(errors.ContextOverflow, match="has 21 tokens or more"):
            async with model.stream(LONG):
                raise AssertionError("it was sent")
    assert server.connections == 0
    finished = [event for event in told if isinstance(event, CallFinished)]
    assert [event.error for event in finished] == ["ContextOverflow"] * 2


async def test_a_prompt_that_may_fit_is_sent(server: ChatServer) -> None:
    """What is at the limit, or of unknown size, goes to the server."""
    model = acme(server)
    assert (await model(FITTING)).text.startswith("you said: word")
    async with model.stream(FITTING) as chunks:
        assert [chunk async for chunk in chunks]
    assert (await model(gp.Request("w" * 10_000))).text == "you said: " + "w" * 10_000
    assert len(server.seen) == 3


async def test_more_output_than_the_model_writes_is_not_asked_for(server: ChatServer) -> None:
    """It raises `InvalidRequest` that names both numbers, and nothing is sent."""
    model = acme(server)
    with pytest.raises(errors.InvalidRequest, match="max_output_tokens=11 is more than the 10"):
        await model(gp.Request("hello", max_output_tokens=11))
    assert server.connections == 0
    await model(gp.Request("hello", max_output_tokens=10))


async def test_the_window_that_is_given_counts(server: ChatServer) -> None:
    """`context_window` goes before what the catalogue says, and needs none."""
    await acme(server, context_window=21)(LONG)
    with pytest.raises(errors.ContextOverflow, match="reads 19; "):
        await acme(server, context_window=19)(FITTING)
    own = OpenAI("mine", base_url=server.url("ok"), context_window=10)
    await own(gp.Request("w" * 128 * 10))
    with pytest.raises(errors.ContextOverflow, match=r"openai 'mine': .* 11 tokens .* reads 10;"):
        await own(gp.Request("w" * 128 * 11))
    assert len(server.seen) == 2


class Letters:
    """Counts exactly, for a tokenizer of letters, and tells for what model."""

    def __repr__(self) -> str:
        return "Letters()"

    def __init__(self) -> None:
        self.models: list[str] = []

    def count(self, content: str | gp.Request | gp.EmbeddingRequest, /, *, model: str = "") -> int:
        assert isinstance(content, str)
        self.models.append(model)
        return len(content)


async def test_an_exact_counter_decides_to_the_token(server: ChatServer) -> None:
    """With `counter`, a prompt of one token too many is refused, and one of so many is sent."""
    counter = Letters()
    for options in ({"catalogue": KNOWN}, {"context_window": 20}):
        model = OpenAI("acme", base_url=server.url("ok"), counter=counter, **options)
        with pytest.raises(errors.ContextOverflow, match=r"prompt has 21 tokens .* reads 20;"):
            await model(gp.Request("w" * 21))
        with pytest.raises(errors.ContextOverflow, match="has 21 tokens or more"):
            async with model.stream(gp.Request("w" * 21)):
                raise AssertionError("it was sent")
    assert server.connections == 0
    await model(gp.Request("w" * 19, system="s"))
    assert len(server.seen) == 1
    assert set(counter.models) == {"acme"}


@pytest.mark.parametrize(
    "counter",
    [gp.TokenEstimator(), gp.tokens.ByCharacters(), Letters, Letters().count, "letters", 3],
    ids=lambda counter: type(counter).__name__,
)
def test_an_estimate_is_no_exact_counter(counter: Any) -> None:
    """An estimate, which would refuse what fits, and what counts no tokens are told at once."""
    with pytest.raises(
        gp.ConfigurationError, match=r"OpenAI: counter=.*; give an exact token coun"
    ):
        OpenAI("acme", api_key="k", context_window=8, counter=counter)


def test_a_counter_needs_a_limit() -> None:
    """Where it is not known how much the model reads, a counter would do nothing, and says so."""
    with pytest.raises(gp.ConfigurationError, match=r"counter=.*; give context_window= too, as it"):
        OpenAI("acme", api_key="k", counter=Letters())
    OpenAI("gpt-4o", api_key="k", counter=Letters())
    with pytest.raises(gp.ConfigurationError, match="how much 'gpt-4o' reads"):
        OpenAI("gpt-4o", base_url="http://127.0.0.1:1", counter=Letters())
    Ollama("qwen", context=7, counter=Letters())


async def test_it_is_the_records_own_fault(server: ChatServer) -> None:
    """In a pipeline the record is a dead letter, untried, and the others are written."""
    dead, sink = gp.sinks.Collect[gp.DeadLetter](), gp.sinks.Collect[str]()
    model = gp.wrap(acme(server), gp.Retry(on=gp.Transient, attempts=3))

    async def ask(text: str) -> str:
        return (await model(gp.Request(text))).text

    pipeline = gp.Pipeline(
        source=gp.sources.Values(["hello", LONG.prompt]),
        stage=gp.map(ask),
        sink=sink,
        dead_letters=dead,
    )
    report = await pipeline.run()
    assert (report.written, report.dead) == (1, 1)
    assert report.errors["ContextOverflow"] == 1
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "model",
    [
        OpenAI("gpt-4o-mini-2024-07-18", api_key="k"),
        OpenAI("gpt-4o", api_key="k", base_url="https://eu.api.openai.com/v1"),
        OpenAIResponses("gpt-4o", api_key="k"),
    ],
    ids=lambda model: f"{type(model).__name__} {model.base_url}",
)
async def test_the_makers_own_hosts_are_known(model: OpenAI | OpenAIResponses) -> None:
    """At the maker's own address the reference catalogue counts, without an option."""
    with pytest.raises(errors.ContextOverflow, match=r"reads 128000 \(as of 20"):
        await model(gp.Request(HUGE))
    with pytest.raises(errors.InvalidRequest, match="is more than the 16384"):
        await model(gp.Request("hello", max_output_tokens=16_385))


@pytest.mark.parametrize(
    "model",
    [
        Anthropic("claude-opus-4-5-20251101", api_key="k"),
        Gemini("gemini-2.5-flash", api_key="k"),
        Gemini("gemini-2.5-flash", api_key="k", project="p"),
        Gemini("gemini-2.5-flash", api_key="k", project="p", location="us"),
        Gemini("gemini-2.5-flash", api_key="k", project="p", location="europe-west4"),
        Bedrock("us.anthropic.claude-haiku-4-5-20251001-v1:0", region="us-east-1", api_key="k"),
    ],
    ids=lambda model: f"{type(model).__name__} {model.base_url}",
)
async def test_hosts_of_others_are_known(model: gp.Provider) -> None:
    """Anthropic, Google AI, Vertex AI and Bedrock are known, too."""
    with pytest.raises(errors.InvalidRequest, match=r"is more than the 6\d{4}"):
        await model(gp.Request("hello", max_output_tokens=70_000))


@pytest.mark.parametrize(
    "options",
    [{}, {"catalogue": gp.ModelCatalogue()}],
    ids=["elsewhere", "empty"],
)
async def test_elsewhere_a_name_says_nothing(server: ChatServer, options: Any) -> None:
    """At another address, or with an empty catalogue, a name that is known limits nothing."""
    model = OpenAI("gpt-4o-mini", base_url=server.url("ok"), api_key="k", **options)
    await model(gp.Request("hello", max_output_tokens=10**6))
    assert len(server.seen) == 1


async def test_a_deployment_may_have_any_name() -> None:
    """At Azure, where a deployment has whatever name it was given, nothing is looked up."""
    model = AzureOpenAI("gpt-4o-mini", base_url="https://acme.openai.azure.com", api_key="k")
    assert not model._is_known_host()
    with pytest.raises(errors.ContextOverflow, match="reads 7;"):
        await attrs.evolve(model, context_window=7)(gp.Request("w" * 128 * 8))


async def test_the_context_of_ollama_counts() -> None:
    """Ollama cuts what is too long and says nothing; here it is refused by its `context`."""
    prompt = gp.Request("w" * 128 * 8)
    with pytest.raises(errors.ContextOverflow, match=r"ollama 'qwen': .* reads 7;"):
        await Ollama("qwen", context=7)(prompt)
    with pytest.raises(errors.ContextOverflow, match="reads 6;"):
        await Ollama("qwen", context=7, context_window=6)(prompt)


def test_a_limit_of_the_provider_is_checked_when_it_is_built() -> None:
    """An option above what the model writes is a `ConfigurationError` that says the most."""
    with pytest.raises(
        gp.ConfigurationError, match="Anthropic: max_output_tokens=64001; give at most 64000"
    ):
        Anthropic("claude-haiku-4-5", api_key="k", max_output_tokens=64_001)
    Anthropic("claude-haiku-4-5", api_key="k", max_output_tokens=64_000)
    Anthropic("claude-unheard-of", api_key="k", max_output_tokens=10**6)
    free = gp.ModelCatalogue()
    Anthropic("claude-haiku-4-5", api_key="k", max_output_tokens=64_001, catalogue=free)


@pytest.mark.parametrize(
    "options",
    [
        {"context_window": 0},
        {"context_window": 8192.0},
        {"context_window": True},
        {"catalogue": {"acme": {}}},
        {"catalogue": gp.ModelCatalogue},
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: Any) -> None:
    """The options are checked when the provider is built, and the error names them."""
    name = next(iter(options))
    with pytest.raises(gp.ConfigurationError, match=f"OpenAI: {name}=.*; give a"):
        OpenAI("acme", api_key="k", **options)


def test_the_reference_is_read_only_when_it_is_needed() -> None:
    """Building providers loads no catalogue, so that it is quick; the first call does."""
    code = (
        "import genai_pipeline as gp\n"
        "import sys\n"
        "gp.providers.OpenAI('gpt-4o', api_key='k'), gp.providers.Anthropic('claude-haiku-4-5')\n"
        "assert 'genai_pipeline.catalogue' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
