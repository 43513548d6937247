"""Streams where they are used: in the stages of a run, sharing policies with calls."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline.providers import OpenAI
from genai_pipeline.resilience import AdaptiveLimit, RateLimit
from tests import canary
from tests.servers.chat import ChatServer

pytestmark = pytest.mark.anyio


async def test_a_run_streams_and_closes_what_it_opened(chat: ChatServer) -> None:
    """Records whose stage streams are answered each its own, over the run's connections."""
    provider = OpenAI("m", base_url=chat.url("ok"), api_key=canary.KEY, headers=canary.HEADERS)
    quota, limit = RateLimit(), AdaptiveLimit(initial=8)
    call = gp.resilient(provider, rate_limit=quota, concurrency=limit)
    stream = gp.resilient_stream(provider.stream, rate_limit=quota, concurrency=limit)
    before = chat.connections

    async def ask(number: int) -> str:
        request = gp.Request(f"number {number}", system=canary.PROMPT)
        if number % 2:
            return (await call(request)).text
        async with stream(request) as chunks:
            return gp.join_chunks([chunk async for chunk in chunks]).text

    sink = gp.sinks.Collect[str]()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(range(60)), stage=gp.map(ask), sink=sink, max_in_flight=16
    )
    report = await pipeline.run()
    assert sorted(sink.values) == sorted(f"you said: number {each}" for each in range(60))
    assert (report.written, report.dead) == (60, 0)
    assert quota.in_flight == limit.in_use == 0
    assert chat.connections - before <= 16


async def test_a_stream_that_breaks_off_is_the_records_failure(chat: ChatServer) -> None:
    """A retry around all of the reading begins it anew, if the author wants that."""
    broken = OpenAI(
        "m", base_url=chat.url("stream-cut"), api_key=canary.KEY, headers=canary.HEADERS
    )
    attempts = 0

    async def ask(text: str) -> str:
        nonlocal attempts
        attempts += 1
        async with gp.resilient_stream(broken.stream)(
            gp.Request(text, system=canary.PROMPT)
        ) as chunks:
            return gp.join_chunks([chunk async for chunk in chunks]).text

    retried = gp.wrap(ask, gp.Retry(on=gp.errors.StreamInterrupted, attempts=2, first_wait=0.001))
    letters = gp.sinks.Collect[gp.DeadLetter]()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(["x"]),
        stage=gp.map(retried),
        sink=gp.sinks.Collect[str](),
        dead_letters=letters,
    )
    report = await pipeline.run()
    assert (report.dead, attempts) == (1, 2)
    assert letters.values[0].category == "transient"
