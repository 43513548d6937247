"""Laws of policies put together, whatever happens to the calls, and when they are cancelled."""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations_with_replacement, pairwise
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import ConnectionFailed, Overloaded, PipelineError, RateLimited
from genai_pipeline.resilience import CircuitClosed, CircuitHalfOpened, CircuitOpened, resilient
from genai_pipeline.testing import FakeClock

BACKENDS = st.sampled_from(["asyncio", "trio"])
LEGAL = {("closed", "open"), ("open", "half"), ("half", "closed"), ("half", "open")}


@attrs.define
class Fickle:
    """A provider whose calls end as *fates* say, in the order of calls; then well."""

    clock: FakeClock
    fates: list[str]
    began: list[float] = attrs.field(factory=list)
    in_flight: int = 0
    most: int = 0

    async def __call__(self, request: gp.Request) -> gp.Response:
        """Answer after a second, or not."""
        number = len(self.began)
        self.began.append(self.clock.now())
        fate = self.fates[number] if number < len(self.fates) else "well"
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self.clock.sleep(40 if fate == "hangs" else 4 if fate == "slow" else 1)
        finally:
            self.in_flight -= 1
        if fate == "down":
            raise Overloaded("503")
        if fate == "limited":
            raise RateLimited("429", retry_after=3)
        if fate == "unsent":
            raise ConnectionFailed("refused", sent=False)
        return gp.Response(request.prompt.upper())


@attrs.frozen(kw_only=True)
class Calls:
    """When each call begins, what it asks, and after how long its caller goes away."""

    begins: list[tuple[int, int, float | None]]
    ends: list[str] = attrs.field(factory=list)

    async def make(self, model: Any, clock: FakeClock) -> None:
        """Make them all, and note how each ended."""

        async def one(begin: int, what: int, leaves: float | None) -> None:
            await clock.sleep(begin)
            end = "cancelled"
            until = float("inf") if leaves is None else clock.now() + leaves
            with clock.cancel_at(until):
                try:
                    answer = await model(gp.Request(f"text {what}"))
                except PipelineError as error:
                    end = type(error).__name__
                else:
                    end = answer.text
                    assert end == f"TEXT {what}"
            self.ends.append(end)

        async with anyio.create_task_group() as group:
            for begin, what, leaves in self.begins:
                group.start_soon(one, begin, what, leaves)


FATES = st.lists(
    st.sampled_from(["well", "slow", "down", "limited", "unsent", "hangs"]), max_size=20
)
BEGINS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(0, 3), st.none() | st.sampled_from([0, 0.5, 1, 2, 6])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(fates=FATES, begins=BEGINS, cached=st.booleans(), hedged=st.booleans(), backend=BACKENDS)
def test_at_rest_nothing_is_held_and_the_next_call_is_answered(
    fates: list[str],
    begins: list[tuple[int, int, float | None]],
    cached: bool,
    hedged: bool,
    backend: str,
) -> None:
    """Pain 17: however calls end, the stack keeps no slot, permit, quota or call, and goes on."""

    async def main() -> None:
        async with FakeClock() as clock:
            provider = Fickle(clock, fates)
            calls = Calls(begins=begins)
            limit = gp.RateLimit(requests=60, burst=3, clock=clock)
            slots = gp.AdaptiveLimit(initial=2, clock=clock)
            breaker = gp.CircuitBreaker(consecutive=3, open_for=5, jitter=0, clock=clock)
            model = resilient(
                provider,
                deadline=gp.Deadline(60, clock=clock),
                cache=gp.Cache(store=gp.stores.Memory(clock=clock), clock=clock)
                if cached
                else None,
                hedge=gp.Hedge(after=2, share=1, clock=clock) if hedged else None,
                retry=gp.Retry(on=gp.Transient, clock=clock),
                rate_limit=limit,
                concurrency=slots,
                breaker=breaker,
                timeout=gp.Timeout(5, clock=clock),
                clock=clock,
            )
            async with model:
                await calls.make(model, clock)
                assert len(calls.ends) == len(begins), "every call has exactly one end"
                assert provider.in_flight == 0
                assert (limit.in_flight, limit.waiting) == (0, 0)
                assert (slots.in_use, slots.waiting) == (0, 0)
                assert breaker._circuit.probes == 0
                sent = len(provider.began)
                await clock.sleep(1000)
                assert len(provider.began) == sent, "nothing goes on behind anybody's back"
                assert limit.buckets.forecast({"requests": 3}, {}) == 0, "all quota came back"
                provider.fates = []
                for _ in range(2):  # the probes of a circuit that was open
                    assert (await model(gp.Request("again"))).text == "AGAIN"

    anyio.run(main, backend=backend)


@settings(max_examples=60, deadline=None)
@given(
    fates=FATES,
    begins=BEGINS,
    burst=st.sampled_from([1, 3]),
    backend=BACKENDS,
)
def test_no_window_sends_more_than_the_quota(
    fates: list[str], begins: list[tuple[int, int, float | None]], burst: int, backend: str
) -> None:
    """32: retries and hedges included, any w seconds see at most burst + rate * w requests."""
    fates = ["down" if fate == "unsent" else fate for fate in fates]  # what is unsent comes back

    async def main() -> None:
        async with FakeClock() as clock:
            provider = Fickle(clock, fates)
            model = gp.wrap(
                provider,
                gp.Hedge(after=2, share=1, clock=clock),
                gp.Retry(on=gp.Transient, attempts=4, clock=clock),
                gp.RateLimit(requests=60, burst=burst, clock=clock),
                gp.Timeout(5, clock=clock),
            )
            await Calls(begins=begins).make(model, clock)
            pairs = combinations_with_replacement(range(len(provider.began)), 2)
            for first, last in pairs:
                window = provider.began[last] - provider.began[first]
                assert last - first + 1 <= burst + window + 1e-3

    anyio.run(main, backend=backend)


@settings(max_examples=60, deadline=None)
@given(
    fates=FATES,
    begins=BEGINS,
    seconds=st.sampled_from([0.5, 3, 7, 20]),
    backend=BACKENDS,
)
def test_the_total_holds_for_every_wait(
    fates: list[str], begins: list[tuple[int, int, float | None]], seconds: float, backend: str
) -> None:
    """22: waits for quota, slot, backoff, hedge and attempt together never pass the deadline."""

    async def main() -> None:
        async with FakeClock() as clock:
            provider = Fickle(clock, fates)
            took: list[float] = []

            async def timed(request: gp.Request, call_next: Any) -> gp.Response:
                began = clock.now()
                try:
                    response: gp.Response = await call_next(request)
                finally:
                    took.append(clock.now() - began)
                return response

            model = gp.wrap(
                provider,
                timed,
                gp.Deadline(seconds, clock=clock),
                gp.Hedge(after=2, share=1, clock=clock),
                gp.Retry(on=gp.Transient, attempts=9, clock=clock),
                gp.RateLimit(requests=30, burst=2, clock=clock),
                gp.Bulkhead(1, clock=clock),
                gp.Timeout(10, clock=clock),
            )
            await Calls(begins=begins).make(model, clock)
            assert max(took) <= seconds + 0.05

    anyio.run(main, backend=backend)


@settings(max_examples=60, deadline=None)
@given(
    fates=FATES,
    begins=BEGINS,
    permits=st.integers(1, 2),
    backend=BACKENDS,
)
def test_a_circuit_changes_lawfully_and_keeps_its_permits(
    fates: list[str], begins: list[tuple[int, int, float | None]], permits: int, backend: str
) -> None:
    """1, 2: for any calls and cancellations, changes are legal, and probes within permits."""

    async def main() -> None:
        async with FakeClock() as clock:
            provider = Fickle(clock, fates)
            breaker = gp.CircuitBreaker(
                consecutive=2, permits=permits, open_for=2, jitter=0, clock=clock
            )
            states = ["closed"]
            probes = 0

            async def probing(request: gp.Request, call_next: Any) -> gp.Response:
                nonlocal probes
                if breaker.state != "half-open":
                    response: gp.Response = await call_next(request)
                    return response
                era = len(states)
                probes += 1
                try:
                    assert probes <= permits
                    response = await call_next(request)
                finally:
                    if era == len(states):
                        probes -= 1
                return response

            def hear(event: object) -> None:
                nonlocal probes
                kinds = {CircuitOpened: "open", CircuitHalfOpened: "half", CircuitClosed: "closed"}
                if type(event) in kinds:
                    states.append(kinds[type(event)])
                    probes = 0

            with gp.listen(hear):
                await Calls(begins=begins).make(gp.wrap(provider, breaker, probing), clock)
            assert set(pairwise(states)) <= LEGAL
            assert breaker._circuit.probes == 0

    anyio.run(main, backend=backend)


@pytest.mark.anyio
async def test_a_race_closes_what_it_opened(clock: FakeClock) -> None:
    """26: when the first answer is there, the loser's slot, permit and reservation are closed."""
    breaker = gp.CircuitBreaker(permits=2, successes=9, clock=clock)
    for _ in range(10):
        breaker.admit().settle(Overloaded("503"))
    await clock.sleep(60)
    limit = gp.RateLimit(requests=5, per=3600, burst=3600, clock=clock)
    slots = gp.Bulkhead(2, clock=clock)
    provider = Fickle(clock, ["hangs", "well"])
    model = gp.wrap(provider, gp.Hedge(after=2, share=1, clock=clock), limit, slots, breaker)
    assert (await model(gp.Request("hi"))).text == "HI"
    assert len(provider.began) == 2
    assert (provider.in_flight, limit.in_flight, slots.in_use) == (0, 0, 0)
    assert breaker._circuit.probes == 0
    assert limit.buckets.forecast({"requests": 3}, {}) == 0
    assert limit.buckets.forecast({"requests": 4}, {}) > 700, "both requests were sent, and count"


@pytest.mark.anyio
async def test_retries_count_against_the_quota_one_by_one(clock: FakeClock) -> None:
    """32: with one request a minute, the third attempt is made two minutes after the first."""
    provider = Fickle(clock, ["down", "down"])
    retry = gp.Retry(on=gp.Transient, clock=clock)
    model = gp.wrap(provider, retry, gp.RateLimit(requests=1, burst=60, clock=clock))
    with suppress(Overloaded):
        await model(gp.Request("hi"))
    assert provider.began == pytest.approx([0, 60, 120])
