"""Policies around streams: all that they do for calls, up to the first chunk and at the end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import (
    AttemptTimeout,
    BulkheadFull,
    CircuitOpen,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    RateLimited,
    Refused,
    StreamInterrupted,
)
from genai_pipeline.events import CallFinished, PolicyWaited
from genai_pipeline.resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    FallbackTaken,
    MemoryBuckets,
    RateLimit,
    Retry,
    RetryBudget,
    RetryScheduled,
    StreamTimeout,
    resilient_stream,
)
from genai_pipeline.testing import FakeClock, Script, StreamScript
from genai_pipeline.walk import deadline_at

from .cancelling import Call, cancel_at_every_wait
from .moments import a_moment

pytestmark = pytest.mark.anyio
ASK = gp.Request("one two", max_output_tokens=100)
BARE: dict[str, Any] = {
    "retry": None,
    "rate_limit": None,
    "concurrency": None,
    "breaker": None,
    "timeout": None,
}


async def read(stream: gp.StreamingProvider, request: gp.Request = ASK) -> str:
    """Answer the text of a stream read to its end."""
    async with stream(request) as chunks:
        return gp.join_chunks([chunk async for chunk in chunks]).text


def bare(stream: gp.StreamingProvider, clock: FakeClock, **policies: Any) -> gp.StreamingProvider:
    """Put none but these *policies* around *stream*."""
    return resilient_stream(stream, clock=clock, **{**BARE, **policies})


class Watched:
    """Limits that tell whether anything of them is held, and how streams ended."""

    def __init__(self, clock: FakeClock) -> None:
        self.buckets = MemoryBuckets(clock=clock)
        self.quota = RateLimit(
            requests=1000, output_tokens=1000, burst=60, clock=clock, buckets=self.buckets
        )
        self.slots = Bulkhead(1, queue=0, clock=clock)
        self.breaker = CircuitBreaker(consecutive=1, jitter=0, clock=clock)
        self.policies = {
            "rate_limit": self.quota,
            "concurrency": self.slots,
            "breaker": self.breaker,
        }

    @property
    def output_left(self) -> float:
        return self.buckets.levels()["output_tokens"]

    def check_nothing_is_held(self) -> None:
        assert self.slots.in_use == 0
        assert self.quota.in_flight == 0
        assert self.breaker._circuit.probes == 0


# Up to the first chunk: a call like any other.


async def test_a_stream_is_tried_again_before_its_first_chunk(clock: FakeClock) -> None:
    """39: what fails before the first chunk, also by an empty end, is tried again, with waits."""
    heard: list[Any] = []
    answers: list[Any] = [Overloaded("busy"), [None], [1.0, ConnectionFailed("cut")], "fine"]
    script = StreamScript(*answers, clock=clock)
    retry = Retry(on=gp.Transient, attempts=4, clock=clock)
    with gp.listen(heard.append):
        assert await read(bare(script, clock, retry=retry)) == "fine"
    scheduled = [each.error for each in heard if isinstance(each, RetryScheduled)]
    assert scheduled == ["Overloaded", "StreamInterrupted", "ConnectionFailed"]
    assert [each.kind for each in heard if isinstance(each, PolicyWaited)] == ["backoff"] * 3
    ends = [each.error for each in heard if isinstance(each, CallFinished)]
    assert ends == ["Overloaded", "StreamInterrupted", "ConnectionFailed", None]


async def test_a_hint_of_the_server_is_obeyed(clock: FakeClock) -> None:
    """The server's ``retry_after`` is the least wait, as it is for calls."""
    script = StreamScript(RateLimited("slow", retry_after=20), "fine")
    await read(bare(script, clock, retry=Retry(on=gp.Transient, clock=clock)))
    assert 20 <= clock.now() <= 20.5


async def test_the_budget_is_that_of_calls(clock: FakeClock) -> None:
    """Streams and calls draw retries from one budget; on an empty one the error is raised."""
    budget = RetryBudget(ratio=0, reserve=0, capacity=1, clock=clock)
    retry = Retry(on=gp.Transient, budget=budget, clock=clock)
    assert await gp.wrap(Script(Overloaded, "fine"), retry)(ASK)
    script = StreamScript(Overloaded("busy"), "never")
    with pytest.raises(Overloaded):
        await read(bare(script, clock, retry=retry))
    assert script.left == 1


async def test_nothing_is_tried_again_after_the_first_chunk(clock: FakeClock) -> None:
    """39: after the first chunk no retry and no fallback is made; the text so far is told."""
    script, other = StreamScript(["he", ConnectionFailed("cut")], "never"), StreamScript("never")
    stream = resilient_stream(script, fallback=other, clock=clock)
    with pytest.raises(StreamInterrupted) as caught:
        await read(stream)
    assert (script.calls, other.calls) == (1, 0)
    assert caught.value.partial == "he"
    assert isinstance(caught.value.__cause__, ConnectionFailed)


async def test_another_target_streams_instead(clock: FakeClock) -> None:
    """39: before the first chunk a fallback takes over, and the last chunk and an event name it."""
    heard: list[Any] = []
    primary = StreamScript(Overloaded("busy"))
    third = StreamScript("fine")
    timeout = StreamTimeout(first_chunk=1)
    second = resilient_stream(
        StreamScript([5.0, "late"], clock=clock), retry=None, timeout=timeout, clock=clock
    )
    with gp.listen(heard.append):
        stream = bare(primary, clock, fallback=[second, third])
        async with stream(ASK) as chunks:
            response = gp.join_chunks([chunk async for chunk in chunks])
    assert (response.text, response.attributes) == ("fine", {"fallback": "StreamScript"})
    taken = [(each.target, each.error) for each in heard if isinstance(each, FallbackTaken)]
    assert taken == [("StreamScript", "Overloaded"), ("StreamScript", "AttemptTimeout")]


async def test_only_the_last_chunk_of_another_target_is_marked(clock: FakeClock) -> None:
    """All other chunks, and those of an answer that needed no fallback, stay what they are."""
    stream = bare(StreamScript("a", Overloaded("busy")), clock, fallback=StreamScript("b"))
    last: dict[str, str]
    for last in ({}, {"fallback": "StreamScript"}):
        async with stream(ASK) as chunks:
            assert [chunk.attributes async for chunk in chunks] == [{}, last]


async def test_what_is_wrong_with_the_request_is_raised_at_once(clock: FakeClock) -> None:
    """An error that no other attempt would mend goes to the caller as it is."""
    script = StreamScript(InvalidRequest("no"), "never")
    with pytest.raises(InvalidRequest):
        await read(resilient_stream(script, fallback=StreamScript("never"), clock=clock))
    assert script.left == 1


async def test_what_says_who_must_act_stays_what_it_is(clock: FakeClock) -> None:
    """A refusal after some text is no interruption, which would invite another try."""
    with pytest.raises(Refused):
        await read(resilient_stream(StreamScript(["I", Refused("no")]), clock=clock))


# Time.


async def test_each_of_the_three_limits_holds(clock: FakeClock) -> None:
    """The first chunk, the time between two and the whole have limits of their own."""
    timeout = StreamTimeout(first_chunk=10, between_chunks=5, total=12)
    cases: list[tuple[list[Any], float, type[Exception], str]] = [
        ([11, "a"], 10, AttemptTimeout, "the first chunk took longer than 10 s"),
        (["a", 6, "b"], 5, StreamInterrupted, "the next chunk took longer than 5 s"),
        ([9, "a", 2, "b", 4, "c"], 12, StreamInterrupted, "longer than 12 s .total."),
    ]
    for pieces, seconds, kind, message in cases:
        began = clock.now()
        with pytest.raises(kind, match=message) as caught:
            await read(bare(StreamScript(pieces, clock=clock), clock, timeout=timeout))
        assert clock.now() - began == seconds
        if kind is StreamInterrupted:
            assert isinstance(caught.value.__cause__, AttemptTimeout)


@pytest.mark.parametrize(
    ("pieces", "seconds"), [([999, "a"], 120), (["a", 999], 60), (["a", *[59, "b"] * 12], 600)]
)
async def test_the_usual_limits_of_time(clock: FakeClock, pieces: list[Any], seconds: int) -> None:
    """Two minutes for the first chunk, one between two, and ten in all."""
    stream = resilient_stream(StreamScript(pieces, clock=clock), retry=None, clock=clock)
    with pytest.raises((AttemptTimeout, StreamInterrupted), match="took longer than"):
        await read(stream)
    assert clock.now() == seconds


async def test_a_slow_consumer_never_trips_a_limit(clock: FakeClock) -> None:
    """39: a consumer that takes an hour over each chunk uses up none of the stream's time."""
    slow = CircuitBreaker(slow_after=30, window=1, min_calls=1, clock=clock)
    timeout = StreamTimeout(first_chunk=1, between_chunks=1, total=3)
    script = StreamScript([0.5, "a", 0.5, "b", 0.5, "c"], clock=clock)
    texts = []
    async with bare(script, clock, timeout=timeout, breaker=slow)(ASK) as chunks:
        async for chunk in chunks:
            texts.append(chunk.text)
            await clock.sleep(3600)
    assert texts == ["a", "b", "c", ""]
    assert slow.state == "closed"


async def test_waiting_in_line_is_not_the_attempts_time(clock: FakeClock) -> None:
    """The limit for the first chunk begins when the request is made, not when it queues."""
    slots, timeout = Bulkhead(1, clock=clock), StreamTimeout(first_chunk=2, total=50)
    script = StreamScript([1.0, "a", 9.0, "b"], [1.0, "c"], clock=clock)
    stream = bare(script, clock, concurrency=slots, timeout=timeout)
    async with anyio.create_task_group() as group:
        group.start_soon(read, stream)
        group.start_soon(read, stream)
    assert script.most_in_flight == 1


async def test_the_callers_deadline_holds(clock: FakeClock) -> None:
    """Before, at and after the first chunk the caller's deadline raises its own error."""
    cases: list[list[Any]] = [[5.0, "a"], ["a", 5.0, "b"]]
    for pieces in cases:
        script = StreamScript(pieces, clock=clock)
        began = clock.now()
        with deadline_at(began + 3), pytest.raises(DeadlineExceeded):
            await read(bare(script, clock))
        assert (clock.now() - began, script.in_flight) == (3, 0)


async def test_a_deadline_that_passes_between_chunks_ends_it(clock: FakeClock) -> None:
    """A consumer past the caller's deadline gets no more, and leaves nothing open."""
    watched, script = Watched(clock), StreamScript("a b c", clock=clock)
    with deadline_at(clock.now() + 3), pytest.raises(DeadlineExceeded):
        async with bare(script, clock, **watched.policies)(ASK) as chunks:
            await anext(chunks)
            await clock.sleep(3)
            await anext(chunks)
    watched.check_nothing_is_held()
    assert watched.breaker.state == "closed"
    assert script.in_flight == 0


async def test_past_the_deadline_not_even_a_ready_chunk_is_given(clock: FakeClock) -> None:
    """From the very moment of the deadline on nothing comes, also if nothing need be awaited."""

    @asynccontextmanager
    async def stream(request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async def chunks() -> AsyncGenerator[gp.Chunk, None]:
            while True:
                yield gp.Chunk("ready")

        async with aclosing(chunks()) as ready:
            yield ready

    with deadline_at(clock.now() + 3), pytest.raises(DeadlineExceeded):
        async with bare(stream, clock)(ASK) as chunks:
            await anext(chunks)
            clock.advance(3)
            await anext(chunks)


async def test_the_deadline_comes_before_other_limits(clock: FakeClock) -> None:
    """Where both end at once it is the caller's deadline that passed, so nothing is tried again."""
    script = StreamScript([5.0, "a"], "never", clock=clock)
    retry, timeout = Retry(on=gp.Transient, clock=clock), StreamTimeout(first_chunk=3)
    with deadline_at(clock.now() + 3), pytest.raises(DeadlineExceeded):
        await read(bare(script, clock, retry=retry, timeout=timeout))
    assert script.left == 1


async def test_a_deadline_covers_all_up_to_the_first_chunk(clock: FakeClock) -> None:
    """With every attempt and wait; what follows has limits of its own."""
    deadline = gp.Deadline(3, clock=clock)
    retry = Retry(on=gp.Transient, clock=clock)
    with pytest.raises(Overloaded):
        script = StreamScript(Overloaded("x", retry_after=4), "never")
        await read(bare(script, clock, deadline=deadline, retry=retry))
    assert clock.now() == 0
    script = StreamScript([2.0, "a", 2.0, "b"], clock=clock)
    assert await read(bare(script, clock, deadline=deadline)) == "ab"


# The end: everything is settled once.


async def test_a_whole_stream_settles_by_its_usage(clock: FakeClock) -> None:
    """39: of a whole answer the quota pays what the last chunk says, at once."""
    watched = Watched(clock)
    stream = bare(StreamScript("six words in all it is"), clock, **watched.policies)
    async with stream(ASK) as chunks:
        assert watched.output_left == 900
        assert watched.slots.in_use == 1
        async for _ in chunks:
            pass
        watched.check_nothing_is_held()
        assert watched.output_left == 994
    watched.check_nothing_is_held()
    assert watched.output_left == 994


@pytest.mark.parametrize("pieces", [["a", ConnectionFailed("cut")], ["a", None], ["a", 999.0]])
async def test_a_broken_stream_settles_as_a_failure(clock: FakeClock, pieces: list[Any]) -> None:
    """39: an error, an early end and silence count against the provider, and keep the estimate."""
    watched = Watched(clock)
    timeout = StreamTimeout(between_chunks=10)
    script = StreamScript(pieces, clock=clock)
    with pytest.raises(StreamInterrupted):
        await read(bare(script, clock, timeout=timeout, **watched.policies))
    watched.check_nothing_is_held()
    assert watched.breaker.state == "open"
    assert script.in_flight == 0
    assert watched.output_left == min(1000, 900 + clock.now() * 1000 / 60)


async def test_a_stream_that_is_left_settles_as_nothing(clock: FakeClock) -> None:
    """39: leaving early says nothing of the provider; the quota pays for the text that came."""
    watched = Watched(clock)
    script = StreamScript(["a" * 40, "b" * 40, "c"])
    async with bare(script, clock, **watched.policies)(ASK) as chunks:
        await anext(chunks)
        await anext(chunks)
    watched.check_nothing_is_held()
    assert watched.output_left == 1000 - 20  # tokens of four letters
    assert watched.breaker.state == "closed"
    assert script.in_flight == 0


async def test_what_the_consumer_raises_is_the_consumers(clock: FakeClock) -> None:
    """An exception in the block goes on as it is, and counts as nothing against the provider."""
    watched = Watched(clock)
    with pytest.raises(ZeroDivisionError):
        async with bare(StreamScript("a b"), clock, **watched.policies)(ASK):
            raise ZeroDivisionError
    watched.check_nothing_is_held()
    assert watched.breaker.state == "closed"


@pytest.mark.parametrize("concurrency", [lambda: Bulkhead(1), lambda: AdaptiveLimit(initial=1)])
async def test_a_stream_may_be_cancelled_at_every_wait(clock: FakeClock, concurrency: Any) -> None:
    """39: wherever a cancellation strikes, all is given back, once, and nothing is counted."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        watched = Watched(clock)
        slots = concurrency()
        watched.policies["concurrency"] = slots
        script = StreamScript(Overloaded("busy"), [1.0, "a", 1.0, "b"], clock=clock)
        breaker = CircuitBreaker(clock=clock)
        policies = {**watched.policies, "breaker": breaker}
        retry = Retry(on=gp.Transient, clock=clock)
        stream = bare(script, clock, retry=retry, timeout=StreamTimeout(), **policies)
        held = anyio.Event()

        async def hold() -> None:
            async with slots.slot():
                held.set()
                await clock.sleep(1)

        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await held.wait()
            yield lambda: read(stream)
        assert slots.in_use == slots.waiting == 0
        assert watched.quota.in_flight == watched.quota.waiting == 0
        assert script.in_flight == 0
        assert breaker.state == "closed"

    assert await cancel_at_every_wait(scenario) >= 6


async def test_a_slot_is_held_until_the_end(clock: FakeClock) -> None:
    """37: a stream holds its slot from the request to its end, and calls share the slots."""
    slots = Bulkhead(1, queue=0, clock=clock)
    call = gp.wrap(Script("fine", then="repeat"), slots)
    async with bare(StreamScript("a b"), clock, concurrency=slots)(ASK):
        with pytest.raises(BulkheadFull):
            await call(ASK)
    assert await call(ASK)


async def test_quota_is_shared_with_calls(clock: FakeClock) -> None:
    """A stream waits for the quota that a call used up."""
    quota = RateLimit(requests=1, per=60, burst=60, clock=clock)
    await gp.wrap(Script("fine"), quota)(ASK)
    await read(bare(StreamScript("a"), clock, rate_limit=quota))
    assert clock.now() == 60


async def test_a_rate_limit_in_a_stream_cools_everybody_down(clock: FakeClock) -> None:
    """A provider that asks to slow down in the middle of an answer is left alone for a while."""
    quota = RateLimit(requests=1000, clock=clock, random=lambda: 0.0)
    told = {"remaining-requests": 0.0}
    script = StreamScript(["a", RateLimited("slow", retry_after=30, rate_limits=told)], "b")
    stream = bare(script, clock, rate_limit=quota)
    with pytest.raises(StreamInterrupted) as caught:
        await read(stream)
    assert (caught.value.retry_after, caught.value.rate_limits) == (30, told)
    await read(stream)
    assert clock.now() >= 30


async def test_an_adaptive_limit_learns_from_streams(clock: FakeClock) -> None:
    """Whole streams raise the limit, protests lower it, and those that are left say nothing."""
    limit = AdaptiveLimit(initial=2, clock=clock)
    script = StreamScript("a", ["a", Overloaded("busy")], "a b")
    stream = bare(script, clock, concurrency=limit)
    await read(stream)
    assert limit.limit == 3
    with pytest.raises(StreamInterrupted):
        await read(stream)
    assert limit.limit == 2
    async with stream(ASK) as chunks:
        await anext(chunks)
    assert (limit.limit, limit.in_use) == (2, 0)


async def test_an_open_circuit_refuses_before_anything_is_held(clock: FakeClock) -> None:
    """What a call made of the circuit holds for streams: no quota, no slot, no request."""
    watched = Watched(clock)
    watched.breaker.admit().settle(Overloaded("down"))
    script = StreamScript("never")
    with pytest.raises(CircuitOpen):
        await read(bare(script, clock, **watched.policies))
    watched.check_nothing_is_held()
    assert (script.calls, watched.output_left) == (0, 1000)


async def test_a_stream_that_queued_into_a_cooldown_waits(clock: FakeClock) -> None:
    """One that has its quota, but waited for a slot while the provider protested, sits it out."""
    watched = Watched(clock)
    watched.policies["concurrency"] = slots = Bulkhead(1, clock=clock)
    stream = bare(StreamScript("fine"), clock, **watched.policies)
    async with anyio.create_task_group() as group, slots.slot():
        group.start_soon(read, stream)
        await a_moment()
        await watched.buckets.block(20)
    assert clock.now() >= 20
    watched.check_nothing_is_held()


async def test_nobody_queues_for_what_is_down(clock: FakeClock) -> None:
    """An open circuit refuses at once, and does not let a stream wait for a slot first."""
    watched = Watched(clock)
    watched.policies["concurrency"] = slots = Bulkhead(1, clock=clock)
    watched.breaker.admit().settle(Overloaded("down"))
    async with slots.slot():
        with clock.cancel_at(clock.now() + 1) as scope, pytest.raises(CircuitOpen):
            await read(bare(StreamScript("never"), clock, **watched.policies))
    assert not scope.cancelled_caught
    assert clock.now() == 0


async def test_a_circuit_that_opens_meanwhile_gives_all_back(clock: FakeClock) -> None:
    """A stream that queued while the circuit opened is not sent, and pays nothing."""
    watched = Watched(clock)
    slots = Bulkhead(1, clock=clock)
    watched.policies["concurrency"] = slots
    script = StreamScript("never")

    async def ask() -> None:
        with pytest.raises(CircuitOpen):
            await read(bare(script, clock, **watched.policies))

    async with anyio.create_task_group() as group, slots.slot():
        group.start_soon(ask)
        await a_moment()
        watched.breaker.admit().settle(Overloaded("down"))
    assert (script.calls, slots.in_use, watched.output_left) == (0, 0, 1000)
    assert watched.quota.in_flight == 0


async def test_a_full_bulkhead_refuses_alike_without_a_quota(clock: FakeClock) -> None:
    """What a policy refuses is raised as it is, whichever of the others there are."""
    slots = Bulkhead(1, queue=0, clock=clock)
    async with slots.slot():
        with pytest.raises(BulkheadFull):
            await read(bare(StreamScript("never"), clock, concurrency=slots))
    assert slots.in_use == 0


async def test_a_probe_is_settled_by_the_first_chunk(clock: FakeClock) -> None:
    """A half-open circuit does not wait for the end of a long answer to let others through."""
    breaker = CircuitBreaker(consecutive=1, open_for=10, successes=1, jitter=0, clock=clock)
    breaker.admit().settle(Overloaded("down"))
    await clock.sleep(11)
    script = StreamScript(["a", 100.0, "b"], clock=clock)
    async with bare(script, clock, breaker=breaker)(ASK) as chunks:
        await anext(chunks)
        assert breaker.state == "closed"
        async for _ in chunks:
            pass
    assert breaker.state == "closed"


async def test_a_long_answer_is_slow_by_the_providers_time(clock: FakeClock) -> None:
    """A slow call is one whose provider took long, first chunk and all."""
    slow = CircuitBreaker(slow_after=3, window=1, min_calls=1, clock=clock)
    await clock.sleep(100)
    await read(bare(StreamScript([2.0, "a", 2.0, "b"], clock=clock), clock, breaker=slow))
    assert slow.state == "open"


async def test_a_probe_that_fails_opens_again(clock: FakeClock) -> None:
    """A half-open circuit takes what happens before the first chunk for what it is."""
    breaker = CircuitBreaker(consecutive=1, open_for=10, jitter=0, clock=clock)
    breaker.admit().settle(Overloaded("down"))
    await clock.sleep(11)
    with pytest.raises(Overloaded):
        await read(bare(StreamScript(Overloaded("still down")), clock, breaker=breaker))
    assert breaker.state == "open"
    assert breaker._circuit.probes == 0


async def test_a_provider_that_fails_to_close_fails_nobody(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that is whole stays whole; what closing raises is logged, and all is settled."""
    watched = Watched(clock)

    @asynccontextmanager
    async def stream(request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async def chunks() -> AsyncIterator[gp.Chunk]:
            yield gp.Chunk("fine")
            yield gp.Chunk(finish_reason="stop")

        yield chunks()
        raise OSError("cannot close")

    assert await read(bare(stream, clock, **watched.policies)) == "fine"
    watched.check_nothing_is_held()
    assert "closing a stream failed" in caplog.text


async def test_a_provider_may_raise_again_what_ended_it(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A context manager that lets the error of its block through is no failure to close."""

    @asynccontextmanager
    async def stream(request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async def chunks() -> AsyncIterator[gp.Chunk]:
            yield gp.Chunk("a")
            raise ConnectionFailed("cut")

        yield chunks()

    class Raising:
        async def __aenter__(self) -> AsyncIterator[gp.Chunk]:
            self.inner = stream(ASK)
            return await self.inner.__aenter__()

        async def __aexit__(self, kind: object, error: object, trace: object) -> None:
            assert isinstance(error, BaseException)
            await self.inner.__aexit__(type(error), error, error.__traceback__)
            raise error

    for provider in (stream, lambda _: Raising()):
        with pytest.raises(StreamInterrupted):
            await read(bare(cast("gp.StreamingProvider", provider), clock))
    assert caplog.text == ""


class Closing:
    """A provider that remembers what its streams were left with, and takes a while to close."""

    def __init__(self, *answers: Any, clock: FakeClock) -> None:
        self.script = StreamScript(*answers, clock=clock)
        self.clock = clock
        self.told: list[Any] = []
        self.closed = 0

    @asynccontextmanager
    async def read(self, request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async with self.script(request) as chunks:
            yield chunks

    def __call__(self, request: gp.Request) -> Any:
        self.inner = self.read(request)
        return self

    async def __aenter__(self) -> AsyncIterator[gp.Chunk]:
        return await self.inner.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.told.append((kind, error, trace))
        await self.clock.sleep(1)
        self.closed += 1
        with suppress(Exception):
            await self.inner.__aexit__(kind, error, trace)


async def test_a_provider_is_told_what_ended_its_stream(clock: FakeClock) -> None:
    """As by an `async with` of its own: nothing after the last chunk, or the exception."""
    cut, mistake = ConnectionFailed("cut"), ZeroDivisionError()
    provider = Closing("a", ["a", cut], "a b", clock=clock)
    stream = bare(cast("gp.StreamingProvider", provider), clock)
    assert await read(stream) == "a"
    with pytest.raises(StreamInterrupted) as caught:
        await read(stream)
    with pytest.raises(ZeroDivisionError):
        async with stream(ASK):
            raise mistake
    whole, broken, left = provider.told
    assert whole == (None, None, None)
    assert broken[:2] == (StreamInterrupted, caught.value)
    assert left[:2] == (ZeroDivisionError, mistake)
    assert broken[2] is not None
    assert left[2] is mistake.__traceback__


async def test_a_cancelled_stream_is_closed_all_the_way(clock: FakeClock) -> None:
    """A provider may wait while it closes, also when the consumer is cancelled."""
    provider = Closing(["a", 99.0, "b"], clock=clock)
    with clock.cancel_at(clock.now() + 3) as scope:
        await read(bare(cast("gp.StreamingProvider", provider), clock))
    assert scope.cancelled_caught
    assert (provider.closed, clock.now()) == (1, 4)


async def test_a_stream_that_never_opened_is_not_closed(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that fails on entering is asked for nothing more, and nothing is logged."""
    with pytest.raises(Overloaded):
        await read(bare(StreamScript(Overloaded("busy")), clock))
    assert caplog.text == ""


async def test_a_stream_that_just_ends_is_interrupted(clock: FakeClock) -> None:
    """A provider that forgets its last chunk cannot pass for one that answered."""
    watched = Watched(clock)

    @asynccontextmanager
    async def stream(request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        async def chunks() -> AsyncIterator[gp.Chunk]:
            yield gp.Chunk("half")

        yield chunks()

    with pytest.raises(StreamInterrupted, match="without a finish reason") as caught:
        await read(bare(stream, clock, **watched.policies))
    assert caught.value.partial == "half"
    watched.check_nothing_is_held()
    assert watched.breaker.state == "open"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_cancelled_the_asyncio_way_settles_too(clock: FakeClock) -> None:
    """`asyncio.Task.cancel`, which strikes once, closes and settles as a cancel scope does."""
    watched, script = Watched(clock), StreamScript(["a", 99.0, "b"], clock=clock)
    task = asyncio.ensure_future(read(bare(script, clock, **watched.policies)))
    await a_moment()
    assert watched.slots.in_use == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watched.check_nothing_is_held()
    assert (script.in_flight, watched.breaker.state) == (0, "closed")


async def test_a_stream_that_is_over_gives_no_more(clock: FakeClock) -> None:
    """After its last chunk it ends; after a failure or cancellation it does not seem whole."""
    failing: list[Any] = ["d", ConnectionFailed("cut"), "e"]
    stream = bare(StreamScript("a", ["b", 99.0, "c"], failing, clock=clock), clock)
    async with stream(ASK) as chunks:
        assert [chunk.text async for chunk in chunks] == ["a", ""]
        assert [chunk async for chunk in chunks] == []
    async with stream(ASK) as chunks:
        await anext(chunks)
        with clock.cancel_at(clock.now() + 1):
            await anext(chunks)
        with pytest.raises(StreamInterrupted, match="closed") as caught:
            await anext(chunks)
        assert caught.value.partial == "b"
    async with stream(ASK) as chunks:
        await anext(chunks)
        for message in ("cut", "closed"):
            with pytest.raises(StreamInterrupted, match=message):
                await anext(chunks)


ENDS = st.lists(
    st.sampled_from(["whole", "left", "cut", "ended", "silent", "refused", "failed"]), max_size=12
)


@given(ends=ENDS)
def test_nothing_is_lost_or_counted_twice(ends: list[str]) -> None:
    """Whatever ways streams end in, one after the other, no slot, quota or permit is missing."""
    pieces: dict[str, Any] = {
        "whole": "a b c",
        "left": "a b c",
        "cut": ["a", ConnectionFailed("cut")],
        "ended": ["a", None],
        "silent": ["a", 99.0, "b"],
        "refused": ["a", Refused("no")],
        "failed": Overloaded("busy"),
    }

    async def play() -> None:
        async with FakeClock() as clock:
            watched = Watched(clock)
            breaker = CircuitBreaker(consecutive=3, open_for=1, jitter=0, clock=clock)
            script = StreamScript(*[pieces[end] for end in ends], clock=clock)
            timeout = StreamTimeout(between_chunks=10)
            policies = {**watched.policies, "breaker": breaker}
            stream = bare(script, clock, timeout=timeout, **policies)
            for end in ends:
                try:
                    async with stream(ASK) as chunks:
                        async for _ in chunks:
                            if end == "left":
                                break
                except (StreamInterrupted, Overloaded, Refused):
                    assert end in ("cut", "ended", "silent", "refused", "failed")
                except CircuitOpen as refused:
                    script.requests.append(ASK)
                    await clock.sleep(refused.retry_after or 0)
                assert watched.slots.in_use == 0
                assert watched.quota.in_flight == 0
                assert breaker._circuit.probes == 0
                assert script.in_flight == 0

    for backend in ("asyncio", "trio"):
        anyio.run(play, backend=backend)


PIECES = st.lists(
    st.sampled_from([0.5, 3.0, 30.0, "a", "b", None, ConnectionFailed("cut"), RateLimited("slow")]),
    max_size=5,
)
READERS = st.lists(
    st.tuples(st.integers(0, 5), PIECES, PIECES, st.integers(1, 60), st.integers(0, 4)), max_size=8
)


@given(readers=READERS, backend=st.sampled_from(["asyncio", "trio"]))
def test_many_readers_lose_nothing(readers: list[Any], backend: str) -> None:
    """39: streams at once, retried, cancelled and left as it comes, settle each exactly once."""

    async def play() -> None:
        async with FakeClock() as clock:
            slots, quota = Bulkhead(2, clock=clock), RateLimit(requests=6000, clock=clock)
            breaker = CircuitBreaker(consecutive=2, open_for=1, clock=clock)
            retry = Retry(on=gp.Transient, attempts=2, patience=5, clock=clock)
            in_flight = most = 0

            @asynccontextmanager
            async def counted(script: StreamScript, request: gp.Request) -> AsyncIterator[Any]:
                nonlocal in_flight, most
                in_flight += 1
                most = max(most, in_flight)
                try:
                    async with script(request) as chunks:
                        yield chunks
                finally:
                    in_flight -= 1

            async def reader(
                delay: int, first: list[Any], second: list[Any], until: int, leave_after: int
            ) -> None:
                script = StreamScript(first, second, clock=clock)
                stream = resilient_stream(
                    partial(counted, script),
                    retry=retry,
                    rate_limit=quota,
                    concurrency=slots,
                    breaker=breaker,
                    timeout=StreamTimeout(first_chunk=5, between_chunks=5, total=40),
                    clock=clock,
                )
                await clock.sleep(delay)
                with suppress(gp.PipelineError), clock.cancel_at(clock.now() + until):
                    async with stream(ASK) as chunks:
                        async for _ in chunks:
                            leave_after -= 1
                            if leave_after == 0:
                                break
                            await clock.sleep(1)
                assert script.in_flight == 0

            async with anyio.create_task_group() as group:
                for each in readers:
                    group.start_soon(reader, *each)
            assert most <= 2
            assert (in_flight, slots.in_use, slots.waiting) == (0, 0, 0)
            assert (quota.in_flight, quota.waiting, breaker._circuit.probes) == (0, 0, 0)

    anyio.run(play, backend=backend)


async def test_usage_so_far_is_told(clock: FakeClock) -> None:
    """Where a provider counts as it goes, an interruption tells what was used by then."""
    used = gp.Usage(input_tokens=7)
    script = StreamScript([gp.Chunk("a", usage=used), gp.Chunk("b"), None])
    with pytest.raises(StreamInterrupted) as caught:
        await read(bare(script, clock))
    assert (caught.value.usage, caught.value.partial) == (used, "ab")


async def test_a_foreign_error_that_passes_is_an_interruption(clock: FakeClock) -> None:
    """A provider's own `ConnectionError` counts as what it is; a mistake in its code does not."""
    with pytest.raises(StreamInterrupted) as caught:
        await read(bare(StreamScript(["a", ConnectionResetError("reset")]), clock))
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(KeyError):
        await read(bare(StreamScript(["a", KeyError("bug")]), clock))


async def test_failures_leave_no_cycles(clock: FakeClock) -> None:
    """What a stream that failed leaves behind is freed at once, not by the collector."""
    retry = Retry(on=gp.Transient, attempts=2, clock=clock)

    async def fail(*answers: Any) -> None:
        with suppress(gp.PipelineError):
            await read(bare(StreamScript(*answers), clock, retry=retry, timeout=StreamTimeout()))

    for answers in ([Overloaded("x"), Overloaded("y")], [["a", Overloaded("x")]], [["a", None]]):
        await fail(*answers)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await fail(*answers)
            assert gc.collect() == 0, answers
        finally:
            gc.enable()


# Options.


async def test_the_usual_policies_are_those_of_calls(clock: FakeClock) -> None:
    """Without options a stream is tried again, limited and guarded, and `describe` shows it."""
    stream = resilient_stream(StreamScript(Overloaded("busy"), "fine"), clock=clock)
    shown = gp.describe(stream)
    kinds = ("Retry(", "RateLimit(", "AdaptiveLimit(", "CircuitBreaker(", "StreamTimeout(")
    places = [shown.index(kind) for kind in kinds]
    assert places == sorted(places)
    assert "!" not in shown
    assert shown.splitlines()[-1].endswith("<StreamScript: 2 answers, 0 calls>")
    nested = resilient_stream(StreamScript(), fallback=stream, retry=None)
    assert "Fallback(resilient_stream(<StreamScript: 2 answers" in gp.describe(nested)
    assert await read(stream) == "fine"


async def test_entering_it_opens_what_it_is_made_of() -> None:
    """The provider that the method belongs to lives as long as the stream around it."""

    class Model:
        name = "model"
        opened = 0

        async def __aenter__(self) -> Model:
            self.opened += 1
            return self

        async def __aexit__(self, *_: object) -> None:
            self.opened -= 1

        def stream(self, request: gp.Request) -> Any:
            return StreamScript("a")(request)

    model, other = Model(), Model()
    stream = resilient_stream(model.stream, fallback=other.stream)
    assert stream.name == "model"
    async with stream:
        assert (model.opened, other.opened) == (1, 1)
        assert await read(stream) == "a"
    assert (model.opened, other.opened) == (0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": 3}, "retry=3; give Retry, or None"),
        ({"rate_limit": Bulkhead(1)}, "rate_limit=.*give RateLimit, or None"),
        ({"concurrency": 8}, "concurrency=8; give AdaptiveLimit or Bulkhead, or None"),
        ({"breaker": "b"}, "breaker='b'; give CircuitBreaker, or None"),
        ({"timeout": gp.Timeout(1)}, "timeout=.*give StreamTimeout, or None"),
        ({"deadline": 3.0}, "deadline=3.0; give Deadline, or None"),
        ({"fallback": [None]}, r"fallback=\[None\]; give a streaming provider"),
        ({"fallback": [StreamScript(), None]}, r"fallback=\[.*None\]; give a streaming provider"),
        ({"clock": 3}, "resilient_stream: clock=3; give a clock"),
    ],
)
def test_an_option_that_is_wrong_is_refused(options: dict[str, Any], message: str) -> None:
    """Each error names the option, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        resilient_stream(StreamScript(), **options)


async def test_a_stream_is_read_after_it_was_entered(clock: FakeClock) -> None:
    """Whoever forgets the `async with` is told so."""
    unentered = cast("AsyncIterator[gp.Chunk]", bare(StreamScript("a"), clock)(ASK))
    with pytest.raises(AssertionError, match=r"inside of its `async with`"):
        await anext(unentered)


def test_a_stream_that_is_none_is_refused() -> None:
    """What cannot be called is no streaming provider."""
    with pytest.raises(ConfigurationError, match="stream=None; give a streaming provider"):
        resilient_stream(cast("gp.StreamingProvider", None))


@pytest.mark.parametrize("option", ["first_chunk", "between_chunks", "total"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "1", True])
def test_limits_of_time_are_checked(option: str, value: Any) -> None:
    """Seconds are a number above zero."""
    with pytest.raises(ConfigurationError, match=f"StreamTimeout: {option}="):
        StreamTimeout(**{option: value})
