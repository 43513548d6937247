"""What policies and streams do about a journal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline._journal import Intent
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.events import CallFinished
from genai_pipeline.journals import Memory
from genai_pipeline.resilience import MemoryBuckets
from genai_pipeline.testing import FakeClock, Script, StreamScript

from .test_journaled_runs import asking, pipeline, upper

pytestmark = pytest.mark.anyio


async def test_a_replayed_answer_uses_no_quota(clock: FakeClock) -> None:
    """What comes out of the journal was not asked of the provider, and nothing is kept for it."""
    journal, script = Memory(), upper()
    for version, left in (("1", 7.0), ("2", 10.0)):
        buckets = MemoryBuckets(clock=clock)
        limit = gp.RateLimit(requests=10, per=1e6, burst=1e6, buckets=buckets, clock=clock)

        async def passed(value: str) -> str:
            return value

        stage = gp.chain(
            gp.map(asking(gp.wrap(script, limit)), name="ask"),
            gp.map(passed, version=version),
        )
        await pipeline("abc", stage, journal=journal).run()
        assert round(buckets.levels()["requests"], 3) == left
    assert script.calls == 3


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_stream_is_refused_where_a_journal_would_not_know_of_it(wrapped: bool) -> None:
    """Nothing is paid for behind the journal's back, and the error says what to do instead."""
    model = gp.providers.OpenAI("any", base_url="http://127.0.0.1:1/v1")
    script = StreamScript("never")
    stream: Any = gp.resilient_stream(script) if wrapped else model.stream

    async def ask(value: str) -> str:
        async with stream(gp.Request(value)) as chunks:
            return gp.join_chunks([chunk async for chunk in chunks]).text

    with pytest.raises(gp.RunFailed) as failed:
        await pipeline("a", gp.map(ask), journal=Memory()).run()
    error = failed.value.exceptions[0]
    assert isinstance(error, ConfigurationError)
    assert "without stream()" in str(error)
    assert script.requests == []


class Foreign:
    """A provider that knows of no journal, and names *serving* as the model that answers."""

    name = "foreign"
    model = "asked"

    def __init__(self, serving: str = "") -> None:
        self.serving = serving
        self.calls = 0

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.calls += 1
        usage = gp.Usage(input_tokens=1, output_tokens=2)
        return gp.Response("yes", usage=usage, model=self.serving, finish_reason="length")


@pytest.mark.parametrize(("serving", "named"), [("served", "served"), ("", "asked")])
async def test_a_foreign_provider_is_asked_once(serving: str, named: str) -> None:
    """`resilient` keeps its answers; one that is replayed is the same, and told, at no cost."""
    journal, provider, heard, got = Memory(), Foreign(serving), list[Any](), list[gp.Response]()
    model = gp.resilient(provider)

    async def ask(value: str) -> str:
        got.append(await model(gp.Request(value)))
        return value

    with gp.listen(heard.append):
        for version in "12":
            stage = gp.chain(gp.map(ask, name="a"), gp.map(str.upper, name="b", version=version))
            await pipeline("x", stage, journal=journal).run()
    first, again = got
    assert provider.calls == 1
    assert first.attributes == {}
    assert again == gp.Response(
        "yes",
        usage=first.usage,
        model=serving,
        finish_reason="length",
        attributes={"replayed": True},
    )
    (told,) = [event for event in heard if isinstance(event, CallFinished)]
    assert (told.provider, told.model, told.finish_reason) == ("foreign", named, "length")
    assert (told.replayed, told.seconds, told.cost) == (True, 0, Decimal(0))


def test_a_provider_that_records_itself_is_not_recorded_twice() -> None:
    """`resilient` looks inside of what it is given, and keeps calls where nobody else does."""
    recording = Script("yes")
    for provider in (recording, gp.wrap(recording, gp.Timeout(5))):
        assert "Journaled" not in gp.describe(gp.resilient(provider))
    inside = gp.resilient(gp.wrap(Foreign(), gp.Timeout(5))).middlewares[-1]
    assert isinstance(inside, gp.Journaled)


@pytest.mark.parametrize(("options", "seconds"), [({}, 600), ({"timeout": 7.0}, 7)])
async def test_how_long_a_call_may_be_open(options: Any, seconds: float) -> None:
    """After *timeout*, ten minutes unless given, a call without an end is taken to have ended."""
    intents: list[Intent] = []

    class Watched(Memory):
        async def begin_call(self, intent: Intent, /) -> int:
            intents.append(intent)
            return await super().begin_call(intent)

    model = gp.wrap(Foreign(), gp.Journaled(provider="foreign", model="m", **options))
    await pipeline("x", gp.map(asking(model)), journal=Watched()).run()
    (intent,) = intents
    assert intent.deadline - intent.at == pytest.approx(seconds)
    assert (intent.provider, intent.model) == ("foreign", "m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"provider": ""}, "provider=''; give a text"),
        ({"model": None}, "model=None; give a text"),
        ({"timeout": 0}, "timeout=0; give a number above 0"),
    ],
)
def test_what_a_call_is_kept_as_is_checked(options: dict[str, Any], message: str) -> None:
    """The error names the option, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        gp.Journaled(**{"provider": "foreign", "model": "m", **options})
