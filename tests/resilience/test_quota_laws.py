"""The laws of the buckets: never more than the quota, and nothing lost or made."""

from __future__ import annotations

import math

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import genai_pipeline as gp
from genai_pipeline.resilience import MemoryBuckets, Quota, RateLimit
from genai_pipeline.testing import FakeClock

calls = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 1.0, 7.0]),  # after the one before
        st.integers(1, 50),  # tokens
        st.sampled_from([0.0, 0.5, 3.0]),  # on its way
        st.sampled_from(["keep", "refund", "half"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    calls=calls,
    burst=st.sampled_from([1.0, 5.0, 60.0]),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_no_window_grants_more_than_the_quota(
    calls: list[tuple[float, int, float, str]], burst: float, backend: str
) -> None:
    """32: in any window of w seconds, what is granted and not given back is <= burst + rate * w."""
    grants: list[tuple[float, int, float]] = []

    async def main() -> None:
        async with FakeClock() as clock:
            limit = RateLimit(
                requests=60, tokens=3000, burst=burst, cost=lambda need: need, clock=clock
            )

            async def call(need: int, seconds: float, end: str) -> None:
                reservation = await limit.reserve(need)
                grants.append((clock.now(), 1, need))
                await clock.sleep(seconds)
                if end == "refund":
                    grants.append((clock.now(), -1, -need))
                    reservation.refund()
                elif end == "half":
                    grants.append((clock.now(), 0, need / 2 - need))
                    limit.buckets.settle({"tokens": need / 2})
                    reservation.keep()
                else:
                    reservation.keep()

            async with anyio.create_task_group() as group:
                for after, need, seconds, end in calls:
                    await clock.sleep(after)
                    group.start_soon(call, need, seconds, end)

    anyio.run(main, backend=backend)
    for index, rate in ((1, 1.0), (2, 50.0)):
        capacity = max(1.0, rate * burst)
        for first in range(len(grants)):
            total = 0.0
            for last in range(first, len(grants)):
                total += grants[last][index]
                window = grants[last][0] - grants[first][0]
                assert total <= capacity + rate * window + 1e-3


class Levels(RuleBasedStateMachine):
    """33: after any sequence of steps, each level is what a plain model says."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.buckets = MemoryBuckets(clock=self.clock)
        self.quotas = {
            "requests": Quota(limit=60, per=60, burst=10),
            "tokens": Quota(limit=6000, per=60, burst=500),
            "requests_per_day": Quota(limit=50, per=86_400, burst=50, calendar=True),
        }
        self.buckets.configure(self.quotas)
        self.model = {"requests": 10.0, "tokens": 500.0, "requests_per_day": 50.0}
        self.blocked = 0.0

    def _rate(self, name: str) -> float:
        return self.quotas[name].limit / 60 if name != "requests_per_day" else 0.0

    def _cap(self, name: str) -> float:
        return self.quotas[name].burst

    @rule(seconds=st.floats(0.01, 30))
    def time_passes(self, seconds: float) -> None:
        """Each level rises at its rate, unless all are blocked, up to its burst."""
        before = self.clock.now()
        self.clock.advance(seconds)
        passed = max(0.0, self.clock.now() - max(before, self.blocked))
        for name in ("requests", "tokens"):
            self.model[name] = min(self._cap(name), self.model[name] + passed * self._rate(name))

    @rule(days=st.integers(1, 3))
    def days_pass(self, days: int) -> None:
        """At midnight the day's quota is back, less any debt."""
        before = self.clock.wall() // 86_400
        self.time_passes(days * 86_400.0)
        assert self.clock.wall() // 86_400 == before + days
        debt = min(0.0, self.model["requests_per_day"])
        self.model["requests_per_day"] = 50 + debt

    @rule(tokens=st.integers(0, 900))
    def take(self, tokens: int) -> None:
        """All is taken when all is there and nothing is blocked, else nothing is."""
        need = {"requests": 1, "tokens": tokens, "requests_per_day": 1}
        there = all(
            self.model[name] - min(amount, self._cap(name)) > -1e-7 for name, amount in need.items()
        )
        free = self.blocked - self.clock.now() <= 1e-6
        close = any(
            abs(self.model[name] - min(amount, self._cap(name))) < 1e-3
            for name, amount in need.items()
        )
        taken = self.buckets.take(need)
        if not close:
            assert taken == (there and free)
        if taken:
            for name, amount in need.items():
                self.model[name] -= amount

    @rule(tokens=st.integers(-300, 300), requests=st.integers(-1, 1))
    def settle(self, tokens: int, requests: int) -> None:
        """A difference is added, up to the burst."""
        difference = {"tokens": tokens, "requests": requests, "requests_per_day": requests}
        self.buckets.settle(difference)
        for name, amount in difference.items():
            self.model[name] = min(self._cap(name), self.model[name] + amount)

    @rule(tokens=st.integers(-100, 700))
    def lower(self, tokens: int) -> None:
        """35: a lower level holds, a higher one never raises."""
        self.buckets.lower({"tokens": tokens})
        self.model["tokens"] = min(self.model["tokens"], tokens)

    @rule(seconds=st.floats(0.1, 20))
    def block(self, seconds: float) -> None:
        """A longer block replaces a shorter one, and takes away what was saved up."""
        anyio.run(self.buckets.block, seconds)
        if self.clock.now() + seconds > self.blocked:
            self.blocked = self.clock.now() + seconds
            for name in ("requests", "tokens"):
                self.model[name] = min(0.0, self.model[name])

    @invariant()
    def levels_agree(self) -> None:
        """The levels are those of the model."""
        assert self.buckets.levels() == pytest.approx(self.model, abs=1e-3)


Levels.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLevels = Levels.TestCase


@settings(max_examples=40, deadline=None)
@given(
    first=st.floats(0, 500),
    need=st.floats(1, 2000),
)
def test_after_the_forecast_the_need_is_there(first: float, need: float) -> None:
    """Who comes again after the seconds that were answered gets what it needs, and not before."""
    clock = FakeClock()
    buckets = MemoryBuckets(clock=clock)
    buckets.configure({"tokens": Quota(limit=6000, per=60, burst=500)})
    buckets.take({"tokens": first})
    wait = anyio.run(buckets.reserve, {"tokens": need})
    if wait > 0:
        assert math.isfinite(wait)
        assert buckets.forecast({"tokens": need}, {}) == wait
        if wait > 1e-3:
            clock.advance(wait * 0.99 - 1e-5)
            assert anyio.run(buckets.reserve, {"tokens": need}) > 0
            clock.advance(wait - clock.now())
        else:
            clock.advance(wait)
        assert anyio.run(buckets.reserve, {"tokens": need}) == 0


def test_the_public_words_are_there() -> None:
    """The limit answers how many wait and are on their way."""
    limit = RateLimit(requests=1)
    assert (limit.waiting, limit.in_flight) == (0, 0)
    assert isinstance(gp.wrap(anyio.sleep, limit).middlewares[0], RateLimit)
