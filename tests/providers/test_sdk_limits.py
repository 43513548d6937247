"""What a model surely does not take is refused before an application's own client is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import attrs
import openai
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import from_anthropic, from_openai
from tests.providers.lent import CANARY, claude_at, openai_at
from tests.providers.test_limits import FITTING, KNOWN, LONG, Letters
from tests.servers.chat import ChatServer
from tests.servers.messages import MessagesServer

pytestmark = pytest.mark.anyio

TOO_MUCH = gp.Request("hello", max_output_tokens=200_000)


async def test_a_prompt_that_cannot_fit_is_not_sent(chat: ChatServer) -> None:
    """It raises `ContextOverflow`, called or streamed, and the client is not asked."""
    told: list[Any] = []
    async with openai_at(chat.url("ok")) as client:
        model = from_openai(client, "acme", catalogue=KNOWN)
        asked = len(chat.seen)
        with gp.listen(told.append):
            with pytest.raises(errors.ContextOverflow, match=r"openai 'acme': .* model reads 20;"):
                await model(LONG)
            with pytest.raises(errors.ContextOverflow, match="has 21 tokens or more"):
                async with model.stream(LONG):
                    raise AssertionError("it was sent")
        assert len(chat.seen) == asked
        assert [each.error for each in told if isinstance(each, CallFinished)] == [
            "ContextOverflow"
        ] * 2
        assert (await model(FITTING)).text.startswith("you said: word")
    assert len(chat.seen) == asked + 1


async def test_the_window_that_is_given_counts(claude: MessagesServer) -> None:
    """`context_window` goes before what the catalogue says, and needs none."""
    async with claude_at(claude.url("ok")) as client:
        asked = len(claude.seen)
        limits: dict[str, Any] = {"catalogue": KNOWN, "max_output_tokens": 10}
        with pytest.raises(errors.ContextOverflow, match=r"anthropic 'acme': .* model reads 20;"):
            await from_anthropic(client, "acme", **limits)(LONG)
        with pytest.raises(errors.ContextOverflow, match="reads 7;"):
            await from_anthropic(client, "m", context_window=7)(gp.Request("w" * 128 * 8))
        assert len(claude.seen) == asked
        await from_anthropic(client, "acme", context_window=21, **limits)(LONG)
    assert len(claude.seen) == asked + 1


async def test_an_exact_counter_decides_to_the_token(
    chat: ChatServer, claude: MessagesServer
) -> None:
    """With `counter`, a prompt of one token too many is refused, and one of so many is sent."""
    asked = len(chat.seen), len(claude.seen)
    async with openai_at(chat.url("ok")) as client, claude_at(claude.url("ok")) as claudes:
        for model in (
            from_openai(client, "m", context_window=20, counter=Letters()),
            from_anthropic(claudes, "m", context_window=20, counter=Letters(), max_output_tokens=9),
        ):
            with pytest.raises(errors.ContextOverflow, match="has 21 tokens or more"):
                await model(gp.Request("w" * 21))
            await model(gp.Request("w" * 20))
    assert (len(chat.seen), len(claude.seen)) == (asked[0] + 1, asked[1] + 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: from_openai(openai.AsyncOpenAI(api_key=CANARY), "gpt-4o-mini-2024-07-18"),
        lambda: from_openai(
            openai.AsyncOpenAI(api_key=CANARY, base_url="https://eu.api.openai.com/v1/"), "gpt-4o"
        ),
        lambda: from_anthropic(anthropic.AsyncAnthropic(api_key=CANARY), "claude-haiku-4-5"),
        lambda: from_anthropic(
            anthropic.AsyncAnthropicVertex(project_id="p", region="global", access_token=CANARY),
            "claude-haiku-4-5@20251001",
        ),
        lambda: from_anthropic(
            anthropic.AsyncAnthropicBedrock(aws_region="us-east-1", api_key=CANARY),
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
    ],
    ids=["openai", "openai in the EU", "anthropic", "vertex", "bedrock"],
)
async def test_the_makers_own_hosts_are_known(make: Callable[[], gp.Provider]) -> None:
    """Where the client asks the model's maker or host, the reference catalogue counts."""
    with pytest.raises(errors.InvalidRequest, match=r"is more than the \d+ that the model writes"):
        await make()(TOO_MUCH)


async def test_elsewhere_a_name_says_nothing(chat: ChatServer, claude: MessagesServer) -> None:
    """At other addresses, and at deployments of Azure, a name that is known limits nothing."""
    async with openai_at(chat.url("ok")) as client:
        await from_openai(client, "gpt-4o")(TOO_MUCH)
    azure = openai.AsyncAzureOpenAI(
        azure_endpoint=chat.url("ok"), api_version="2024-10-21", api_key=CANARY
    )
    async with azure:
        await from_openai(azure, "gpt-4o")(TOO_MUCH)
    async with claude_at(claude.url("ok")) as claudes:
        await from_anthropic(claudes, "claude-haiku-4-5")(TOO_MUCH)


async def test_an_empty_catalogue_refuses_nothing() -> None:
    """Whoever knows better says so, and the maker decides."""
    client, wrong = openai.AsyncOpenAI(api_key=CANARY), attrs.evolve(TOO_MUCH, extra={"model": "m"})
    with pytest.raises(errors.InvalidRequest, match="is more than"):
        await from_openai(client, "gpt-4o")(wrong)
    # What else is wrong with the request is found behind the limits: they let it pass.
    with pytest.raises(gp.ConfigurationError, match=r"extra\['model'\]"):
        await from_openai(client, "gpt-4o", catalogue=gp.ModelCatalogue())(wrong)


async def test_a_limit_of_the_provider_is_checked_when_it_is_made() -> None:
    """An option above what the model writes is a `ConfigurationError` that says the most."""
    client = anthropic.AsyncAnthropic(api_key=CANARY)
    with pytest.raises(
        gp.ConfigurationError, match="from_anthropic: max_output_tokens=64001; give at most 64000"
    ):
        from_anthropic(client, "claude-haiku-4-5", max_output_tokens=64_001)
    from_anthropic(client, "claude-haiku-4-5", max_output_tokens=64_000)
    from_anthropic(
        client, "claude-haiku-4-5", max_output_tokens=64_001, catalogue=gp.ModelCatalogue()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"context_window": 0},
        {"context_window": True},
        {"catalogue": {"acme": {}}},
        {"counter": Letters},
        {"counter": gp.TokenEstimator()},
        {"counter": Letters()},
    ],
    ids=str,
)
async def test_wrong_options_are_refused(options: Any) -> None:
    """The options are checked when the provider is made, and the error names them."""
    (name,) = options
    with pytest.raises(gp.ConfigurationError, match=f"from_openai: {name}=.*; give "):
        from_openai(openai.AsyncOpenAI(api_key=CANARY), "m", **options)
    with pytest.raises(gp.ConfigurationError, match=f"from_anthropic: {name}=.*; give "):
        from_anthropic(anthropic.AsyncAnthropic(api_key=CANARY), "m", **options)
