"""What policies and streams do about a journal."""

from __future__ import annotations

from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals import Memory
from genai_pipeline.resilience import MemoryBuckets
from genai_pipeline.testing import FakeClock, StreamScript

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
