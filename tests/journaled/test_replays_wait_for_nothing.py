"""A call that the journal answers passes by limits, and takes the road it took when it was paid."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import (
    ConnectionFailed,
    InvalidAnswer,
    Overloaded,
    RateLimited,
)
from genai_pipeline.journals import Memory
from genai_pipeline.resilience import MemoryBuckets
from genai_pipeline.testing import FakeClock, Script

from .test_journaled_runs import asking, pipeline

BACKENDS = st.sampled_from(["asyncio", "trio"])
FATES = ("well", "down", "limited", "unsent", "bad", "slow")


@attrs.define
class World:
    """Providers whose calls end as *fates* say, in the order of calls; then well."""

    clock: FakeClock
    fates: list[str] = attrs.field(factory=list)
    dies_at: int | None = None
    """At which call, counted from 0, the run is cancelled."""

    sent: Counter[str] = attrs.field(factory=Counter)
    """How many requests of each prompt arrived."""

    good: Counter[str] = attrs.field(factory=Counter)
    """How many good answers were given to each prompt."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)

    async def answer(self, request: gp.Request) -> gp.Response:
        """Answer after a second, or not."""
        number = self.sent.total()
        self.sent[request.prompt] += 1
        if number == self.dies_at:
            self.scope.cancel()
        fate = self.fates[number] if number < len(self.fates) else "well"
        await self.clock.sleep(40 if fate == "slow" else 1)
        if fate == "down":
            raise Overloaded("503")
        if fate == "limited":
            raise RateLimited("429", retry_after=3)
        if fate == "unsent":
            raise ConnectionFailed("refused", sent=False)
        if fate == "bad":
            return gp.Response("bad")
        self.good[request.prompt] += 1
        return gp.Response(request.prompt.upper())

    async def run(
        self, asks: list[list[str]], model: Any, journal: Memory, *, at_once: bool, version: str
    ) -> gp.Report | None:
        """Carry a record for each of *asks*, which asks *model* for these; `None` if it died."""

        async def ask(prompts: list[str]) -> list[str]:
            answers = list[str]()

            async def one(prompt: str) -> None:
                answers.append((await model(gp.Request(prompt, max_output_tokens=9))).text)

            async with anyio.create_task_group() as group:
                for prompt in prompts:
                    if at_once:
                        group.start_soon(one, prompt)
                    else:
                        await one(prompt)
            return answers

        stage = gp.chain(gp.map(ask, name="ask"), gp.map(sorted, name="sort", version=version))
        with self.scope:
            return await pipeline(asks, stage, journal=journal, clock=self.clock).run()
        return None


async def checked(request: gp.Request, call_next: Any) -> gp.Response:
    """Refuse a bad answer, as a user's own middleware does."""
    response: gp.Response = await call_next(request)
    if response.text == "bad":
        raise InvalidAnswer("bad")
    return response


@attrs.frozen
class Stack:
    """Which policies stand around the model, and in which order."""

    limits: list[str]
    route: str
    hedged: bool
    cached: bool
    retried: bool
    checked_inside: bool

    def model(self, world: World, *, closed: bool) -> Any:
        """Build it anew; *closed* lets no call pass that is sent, and counts as one for ever."""
        clock = world.clock
        targets = [self._target(name, world, closed=closed) for name in ("a", "b")]
        around: list[Any] = []
        if self.cached:
            around.append(gp.Cache(store=gp.stores.Memory(clock=clock), clock=clock))
        if self.route == "fallback":
            around.append(gp.Fallback(targets[1], clock=clock))
        if self.hedged:
            others = targets[1:] if self.route == "none" else []
            around.append(gp.Hedge(*others, after=5, share=1, clock=clock))
        if self.retried:
            budget = gp.RetryBudget(clock=clock) if closed else None
            around.append(gp.Retry(on=gp.Transient, attempts=20, budget=budget, clock=clock))
        if self.route == "balance":
            return gp.wrap(gp.LoadBalance({"a": targets[0], "b": targets[1]}, clock=clock), *around)
        if self.route == "degrade":
            levels = zip("ab", targets, strict=True)
            return gp.wrap(gp.Degrade(*levels, least_calls=1, clock=clock), *around)
        return gp.wrap(targets[0], *around)

    def _target(self, name: str, world: World, *, closed: bool) -> Any:
        limits = [_LIMITS[limit](world.clock, closed) for limit in self.limits]
        known = gp.Journaled(provider=name, model=name)
        policies = [*limits, checked] if self.checked_inside else [checked, *limits]
        return gp.wrap(world.answer, *policies, gp.Timeout(100, clock=world.clock), known)


def _quota(clock: FakeClock, closed: bool) -> Any:
    if not closed:
        return gp.RateLimit(requests=30, per=60, burst=10, clock=clock)
    limit = gp.RateLimit(requests=1, per=1e9, burst=1e9, clock=clock)
    assert limit.buckets.take({"requests": 1.0}) is not None
    return limit


def _throttle(clock: FakeClock, closed: bool) -> Any:
    throttle = gp.Throttle(clock=clock, random=lambda: 0.0)
    for _ in range(10 if closed else 0):
        throttle._count(True)
    return throttle


def _bulkhead(clock: FakeClock, closed: bool) -> Any:
    bulkhead = gp.Bulkhead(1 if closed else 2, clock=clock)
    assert not closed or bulkhead._slots.take_free()
    return bulkhead


def _adaptive(clock: FakeClock, closed: bool) -> Any:
    limit = gp.AdaptiveLimit(initial=1 if closed else 2, clock=clock)
    assert not closed or limit._slots.take_free()
    return limit


def _breaker(clock: FakeClock, closed: bool) -> Any:
    breaker = gp.CircuitBreaker(consecutive=3, open_for=5, jitter=0, clock=clock)
    if closed:
        breaker.force_open()
    return breaker


_LIMITS: dict[str, Callable[[FakeClock, bool], Any]] = {
    "quota": _quota,
    "throttle": _throttle,
    "bulkhead": _bulkhead,
    "adaptive": _adaptive,
    "breaker": _breaker,
}

STACKS = st.builds(
    Stack,
    limits=st.permutations(list(_LIMITS)).flatmap(
        lambda order: st.integers(1, len(order)).map(lambda count: list(order[:count]))
    ),
    route=st.sampled_from(["none", "fallback", "balance", "degrade"]),
    hedged=st.booleans(),
    cached=st.booleans(),
    retried=st.booleans(),
    checked_inside=st.booleans(),
)
ASKS = st.lists(st.lists(st.sampled_from("xy"), min_size=1, max_size=3), min_size=1, max_size=3)


@pytest.mark.filterwarnings("ignore::genai_pipeline.MisorderedStack")
@settings(max_examples=50, deadline=None)
@given(
    stack=STACKS,
    asks=ASKS,
    fates=st.lists(st.sampled_from(FATES), max_size=12),
    dies_at=st.integers(0, 12),
    at_once=st.booleans(),
    backend=BACKENDS,
)
@example(
    stack=Stack(
        limits=["quota", "throttle", "bulkhead"],
        route="balance",
        hedged=False,
        cached=False,
        retried=False,
        checked_inside=False,
    ),
    asks=[["x", "x"], ["x", "x", "x"]],
    fates=["down", "limited"],
    dies_at=4,
    at_once=True,
    backend="trio",
)
def test_what_was_answered_is_neither_paid_for_again_nor_waited_for(
    stack: Stack, asks: list[list[str]], fates: list[str], dies_at: int, at_once: bool, backend: str
) -> None:
    """Whatever the policies, the faults and the moment of death: replays pass by every limit."""
    if at_once and "bad" in fates:
        # Of equal calls side by side, the journal does not know which got the bad answer.
        asks = [sorted(set(each)) for each in asks]
    if stack.hedged:
        # So it is with a call and its hedge.
        fates = ["down" if fate == "bad" else fate for fate in fates]
    wanted = [[f"{name} of {number}" for name in each] for number, each in enumerate(asks)]
    counts = Counter(prompt for prompts in wanted for prompt in prompts)

    async def main() -> None:
        async with FakeClock() as clock:
            journal = Memory()
            first = World(clock, fates, dies_at)
            model = stack.model(first, closed=False)
            await first.run(wanted, model, journal, at_once=at_once, version="1")

            second = World(clock)
            model = stack.model(second, closed=False)
            await second.run(wanted, model, journal, at_once=at_once, version="1")
            for prompt, count in counts.items():
                if first.good[prompt] >= count:
                    assert second.sent[prompt] == 0, f"{prompt} was answered, and asked again"

            third, began = World(clock), clock.now()
            model = stack.model(third, closed=True)
            report = None
            with clock.cancel_at(began + 60):
                report = await third.run(wanted, model, journal, at_once=at_once, version="2")
            assert third.sent == Counter()
            assert clock.now() == began
            assert report is not None
            assert report.written + report.skipped == len(wanted)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gp.MisorderedStack)
        anyio.run(main, backend=backend)


def _asking(model: Any, prompts: list[str], got: list[Any] | None = None) -> Any:
    async def ask(_: object) -> list[str]:
        answers = [await model(gp.Request(prompt, max_output_tokens=9)) for prompt in prompts]
        if got is not None:
            got.extend(answers)
        return [answer.text for answer in answers]

    return ask


@pytest.mark.anyio
async def test_a_resume_takes_no_time_under_a_quota(clock: FakeClock) -> None:
    """A hundred answered calls under one call a minute are replayed at once, not in 100 minutes."""
    journal, script = Memory(), Script.of(lambda request: request.prompt.upper())
    for version, limited, minutes in (("1", False, 0), ("2", True, 0), ("3", True, 40)):
        limit = gp.RateLimit(requests=1, per=60, burst=60, clock=clock) if limited else None
        model = gp.resilient(script, rate_limit=limit, clock=clock)
        more = range(140 if version == "3" else 100)
        stage = gp.chain(
            gp.map(asking(model), name="ask"), gp.map(str.lower, name="low", version=version)
        )
        began = clock.now()
        report = await pipeline(map(str, more), stage, journal=journal, clock=clock).run()
        assert report.written == len(more)
        assert round((clock.now() - began) / 60) == max(0, minutes - 1)
        assert (report.calls, report.replayed) == ((100, 0) if version == "1" else (minutes, 100))


@pytest.mark.anyio
async def test_a_retry_does_not_wait_between_replays(clock: FakeClock) -> None:
    """Two bad answers and a good one are replayed at once, and use up no budget of retries."""
    journal = Memory()
    script = Script("bad", "bad", "good", clock=clock)
    for version in "12":
        budget = gp.RetryBudget(clock=clock)
        assert all(budget.withdraw() for _ in range(5))
        retry = gp.Retry(on=gp.Transient, budget=budget, clock=clock, random=lambda: 0.9)
        model = gp.wrap(script, retry, checked)
        stage = gp.chain(
            gp.map(_asking(model, ["x"]), name="ask"), gp.map(len, name="n", version=version)
        )
        began, before = clock.now(), budget.level
        report = await pipeline("r", stage, journal=journal, clock=clock).run()
        assert report.written == 1
    assert (report.replayed, script.calls) == (3, 3)
    assert clock.now() == began
    assert budget.level == before


@pytest.mark.anyio
@pytest.mark.parametrize("route", ["fallback", "hedge", "balance", "degrade"])
async def test_the_answer_is_taken_from_the_target_that_gave_it(
    clock: FakeClock, route: str
) -> None:
    """A target that was ill before is not asked, and not paid, for what another answered."""
    journal, got = Memory(), list[gp.Response]()
    for well in (False, True):
        ill = Overloaded("503")
        first = Script("late" if well else ill, then="repeat", clock=clock, model="first")
        second = Script("in time", then="repeat", clock=clock, model="second")
        chance = 0.0 if well else 0.9
        model: Any = {
            "fallback": gp.wrap(first, gp.Fallback(second, clock=clock)),
            "hedge": gp.wrap(first, gp.Hedge(second, after=9, clock=clock)),
            "balance": gp.LoadBalance({"1st": first, "2nd": second}, random=partial(float, chance)),
            "degrade": gp.Degrade(("1st", first), ("2nd", second), least_calls=1, clock=clock),
        }[route]
        stage = gp.chain(
            gp.map(_asking(model, ["x"], got), name="ask"),
            gp.map(len, name="n", version=str(well)),
        )
        await pipeline("r", stage, journal=journal, clock=clock).run()
        assert second.calls == (0 if well else 1)
        assert first.calls == (0 if well or route == "balance" else 1)
    paid, replayed = got
    assert paid.text == "in time"
    assert replayed.attributes == {**paid.attributes, "replayed": True}


@pytest.mark.anyio
async def test_a_call_that_is_sent_after_all_goes_through_the_limits(clock: FakeClock) -> None:
    """Of two equal calls beside each other, one takes the only answer, the other its share."""

    async def pausing(request: gp.Request, call_next: Any) -> Any:
        await clock.sleep(1)
        return await call_next(request)

    journal, script = Memory(), Script.of(lambda _: "yes", clock=clock)
    for version, times, left in (("1", 1, 9), ("2", 2, 9)):
        buckets = MemoryBuckets(clock=clock)
        limit = gp.RateLimit(requests=10, per=1e9, burst=1e9, buckets=buckets, clock=clock)
        model = gp.wrap(script, limit, pausing)

        async def ask(value: str, model: Any = model, times: int = times) -> str:
            async with anyio.create_task_group() as group:
                for _ in range(times):
                    group.start_soon(model, gp.Request(value))
            return value

        stage = gp.chain(gp.map(ask, name="a"), gp.map(len, name="n", version=version))
        await pipeline("x", stage, journal=journal, clock=clock).run()
        assert round(buckets.levels()["requests"]) == left
        assert script.calls == times


@pytest.mark.anyio
async def test_a_limit_of_ones_own_is_passed_by_as_well(clock: FakeClock) -> None:
    """A middleware that says `passed_by_replays` sees the calls that are sent, and no others."""

    @attrs.define(eq=False)
    class Own:
        passed_by_replays = True
        seen: int = 0

        async def __call__(self, request: gp.Request, call_next: Any) -> Any:
            self.seen += 1
            return await call_next(request)

    journal, script, own = Memory(), Script.of(lambda _: "yes", clock=clock), Own()
    for version in "12":
        stage = gp.chain(
            gp.map(_asking(gp.wrap(script, checked, own), ["x", "y"]), name="a"),
            gp.map(len, name="n", version=version),
        )
        report = await pipeline("r", stage, journal=journal, clock=clock).run()
    assert (report.replayed, own.seen) == (2, 2)


@pytest.mark.anyio
async def test_a_plan_waits_for_no_limit(clock: FakeClock) -> None:
    """A plan sends nothing, so limits neither hold it up nor count what it looks at."""
    journal, script = Memory(), Script.of(lambda _: "yes", clock=clock)
    limit = gp.RateLimit(requests=1, per=60, burst=60, clock=clock)
    model = gp.resilient(script, rate_limit=limit, clock=clock)
    stage = gp.map(_asking(model, ["x", "y"]), name="ask")
    made = pipeline(map(str, range(50)), stage, journal=journal, clock=clock)
    began = clock.now()
    plan = await made.plan(sample=50)
    assert (plan.sampled, plan.next_calls) == (50, 50)
    assert clock.now() == began
    assert limit.buckets.forecast({"requests": 1.0}, {}) == 0
