"""An adaptive limit finds what a provider bears, and never stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import (
    AttemptTimeout,
    BulkheadFull,
    ConfigurationError,
    ConnectionFailed,
    Overloaded,
    RateLimited,
)
from genai_pipeline.resilience import AdaptiveLimit, ConcurrencyChanged
from genai_pipeline.testing import FakeClock, Script

from .cancelling import Call, cancel_at_every_wait
from .moments import a_moment, run

pytestmark = pytest.mark.anyio


async def fail(error: Exception) -> None:
    raise error


async def protest(limit: AdaptiveLimit, error: Exception | None = None) -> None:
    with pytest.raises(gp.Transient):
        await gp.wrap(fail, limit)(error or RateLimited("slow down"))


async def load(limit: AdaptiveLimit, clock: FakeClock, calls: int) -> None:
    """Make so many calls at once, each of a second."""
    handler = gp.wrap(clock.sleep, limit)
    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(run, handler, 1)


@pytest.mark.parametrize("kind", [RateLimited, Overloaded, AttemptTimeout])
async def test_a_protest_takes_a_tenth_off(kind: type[gp.Transient], clock: FakeClock) -> None:
    """A 429, an overload and a timeout take a tenth off the limit, and at least one."""
    limit = AdaptiveLimit(initial=100, clock=clock)
    await protest(limit, kind("no"))
    assert limit.limit == 90
    small = AdaptiveLimit(initial=5, clock=clock)
    for expected in (4, 3, 2):
        await protest(small, kind("no"))
        assert small.limit == expected


async def test_other_errors_change_nothing(clock: FakeClock) -> None:
    """Errors that say nothing about the load leave the limit as it is, and free the slot."""
    limit = AdaptiveLimit(clock=clock)
    for error in (ConnectionFailed("reset"), gp.Permanent("bad"), ValueError("bug")):
        with pytest.raises(type(error)):
            await gp.wrap(fail, limit)(error)
    assert (limit.limit, limit.in_use) == (10, 0)


async def test_a_burst_of_protests_counts_once(clock: FakeClock) -> None:
    """Ten calls on their way together that all fail take one tenth off, not ten."""
    limit = AdaptiveLimit(initial=100, clock=clock)

    async def refused(seconds: float) -> None:
        await clock.sleep(seconds)
        raise RateLimited("slow down")

    async def call() -> None:
        with pytest.raises(RateLimited):
            await gp.wrap(refused, limit)(1)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(call)
    assert limit.limit == 90
    await protest(limit)
    assert limit.limit == 81


async def test_it_never_falls_below_its_floor(clock: FakeClock) -> None:
    """However often the provider protests, the limit stays at its floor."""
    limit = AdaptiveLimit(initial=4, floor=2, clock=clock)
    for _ in range(10):
        await protest(limit)
    assert limit.limit == 2


async def test_it_ramps_up_by_one_for_each_success(clock: FakeClock) -> None:
    """At the start each success with half of the limit in use adds one, up to the ceiling."""
    limit = AdaptiveLimit(initial=2, ceiling=20, clock=clock)
    seen = [limit.limit]
    for _ in range(5):
        await load(limit, clock, limit.limit)
        seen.append(limit.limit)
    # the last of a round find less than half of the limit in use
    assert seen == [2, 3, 5, 7, 10, 14]
    await load(limit, clock, 200)
    assert limit.limit == 20


async def test_it_does_not_grow_when_hardly_used(clock: FakeClock) -> None:
    """Calls one after another, with less than half of the limit in use, do not raise it."""
    limit = AdaptiveLimit(initial=10, clock=clock)
    for _ in range(50):
        await gp.wrap(clock.sleep, limit)(0)
    assert limit.limit == 10
    two = AdaptiveLimit(initial=2, clock=clock)
    await gp.wrap(clock.sleep, two)(0)
    assert two.limit == 3, "one of two is half"


async def test_after_trouble_it_recovers_quickly_and_then_gently(clock: FakeClock) -> None:
    """From 1 it doubles up to half of what it was before the trouble, and then creeps."""
    limit = AdaptiveLimit(initial=40, clock=clock)
    for _ in range(40):
        await protest(limit)
    assert limit.limit == 1
    began = clock.now()
    while limit.limit < 20:
        await load(limit, clock, 2 * limit.limit)
    assert clock.now() - began <= 12, "creeping would take 19 rounds or more"
    before = limit.limit
    await load(limit, clock, before)
    assert limit.limit <= before + 1


async def test_a_round_of_successes_ends_the_trouble(clock: FakeClock) -> None:
    """As many successes as the limit is, without a protest, and it grows: by one, then gently."""
    limit = AdaptiveLimit(initial=20, floor=5, clock=clock)
    handler = gp.wrap(clock.sleep, limit)
    while limit.limit > 5:
        await protest(limit)
    seen = []
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(run, handler, 1000)  # that enough of the limit is in use
        await a_moment()
        for _ in range(4):
            await handler(1)
        await protest(limit)
        for _ in range(9):
            await handler(1)
            seen.append(limit.limit)
        for _ in range(2):
            group.start_soon(run, handler, 1000)
        await a_moment()
        for _ in range(11):
            await handler(1)
            seen.append(limit.limit)
    assert seen == [5] * 4 + [6, 7, 8, 9, 10] + [10] * 10 + [11]


@pytest.mark.parametrize("end", [None, RateLimited("slow"), ConnectionFailed("reset")])
async def test_the_end_of_any_call_is_a_sign_of_life(
    end: Exception | None, clock: FakeClock
) -> None:
    """The patience counts from the last end of a call, however it ended, not from who came last."""
    limit = AdaptiveLimit(initial=10, floor=10, patience=30, clock=clock)
    began: list[float] = []

    async def work(seconds: float) -> None:
        began.append(clock.now())
        await clock.sleep(seconds)
        if seconds == 25 and end is not None:
            raise end

    async def call(seconds: float) -> None:
        with suppress(Exception):
            await gp.wrap(work, limit)(seconds)

    async with anyio.create_task_group() as group:
        for seconds in [25] + [1000] * 10:
            group.start_soon(call, seconds)
            await a_moment()
        if end is None:
            limit._ramp_to = 0  # so that one success does not raise it
        for _ in range(2):
            group.start_soon(call, 1)
            await clock.sleep(20)
    assert began == [0] * 10 + [25, 55, 56]


@pytest.mark.parametrize("as_slot", [False, True])
async def test_a_cancelled_call_is_no_sign_of_life(as_slot: bool, clock: FakeClock) -> None:
    """The patience is not renewed by calls whose callers gave up."""
    limit = AdaptiveLimit(initial=2, patience=30, clock=clock)
    began: list[float] = []

    async def work(seconds: float) -> None:
        began.append(clock.now())
        with clock.cancel_at(clock.now() + 1000):
            await anyio.sleep_forever()

    async def call(gives_up: float) -> None:
        with clock.cancel_at(gives_up):
            if not as_slot:
                await gp.wrap(work, limit)(1)
                return
            async with limit.slot():
                await work(1)

    async with anyio.create_task_group() as group:
        for gives_up in (25, 2000, 2000, 2000):
            group.start_soon(call, gives_up)
            await a_moment()
    assert began == [0, 0, 25, 30]


async def test_who_joins_the_line_does_not_hold_it_up(clock: FakeClock) -> None:
    """The patience counts from when the first began to wait, however many come after."""
    limit = AdaptiveLimit(initial=1, patience=30, clock=clock)
    began: list[float] = []

    async def work(seconds: float) -> None:
        began.append(clock.now())
        await clock.sleep(seconds)

    handler = gp.wrap(work, limit)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(run, handler, 1000)
            await clock.sleep(10)
    assert began == [0, 40, 70]


async def test_the_answer_is_passed_back(clock: FakeClock) -> None:
    """What the handler answers is answered."""
    assert await gp.wrap(Script("x"), AdaptiveLimit(clock=clock))(gp.Request("x"))


async def test_it_never_stalls_behind_hanging_calls(clock: FakeClock) -> None:
    """Pain 7: when nothing ends for the patience while calls wait, one more is let through."""
    limit = AdaptiveLimit(initial=1, patience=30, clock=clock)
    done: list[float] = []
    heard: list[Any] = []

    async def work(value: int) -> None:
        await clock.sleep(1000 if value == 0 else 1)
        done.append(clock.now())

    handler = gp.wrap(work, limit)
    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(run, handler, number)
                await a_moment()
    assert done == [31, 32, 32, 1000]
    changes = [each for each in heard if isinstance(each, ConcurrencyChanged)]
    assert changes[0] == ConcurrencyChanged(name="adaptive_limit", limit=2, was=1, reason="stalled")


async def test_the_defaults_are_those_documented() -> None:
    """It begins at 10, between 1 and 256, and is patient for a minute; 1,000 may wait."""
    limit = AdaptiveLimit()
    assert (limit.initial, limit.floor, limit.ceiling) == (10, 1, 256)
    assert (limit.patience, limit.queue) == (60, 1000)


async def test_an_overloaded_provider_is_kept_busy(clock: FakeClock) -> None:
    """Against a provider that bears 20 calls at once, it makes progress at 18 or more of them."""
    limit = AdaptiveLimit(clock=clock)
    running = served = refused = 0

    async def provider(value: int) -> None:
        nonlocal running, served, refused
        if running >= 20:
            refused += 1
            raise RateLimited("slow down")
        running += 1
        await clock.sleep(1)
        running -= 1
        served += 1

    async def worker() -> None:
        handler = gp.wrap(provider, limit)
        while clock.now() < 300:
            try:
                await handler(0)
            except RateLimited:
                await clock.sleep(0.5)

    async with anyio.create_task_group() as group:
        for _ in range(60):
            group.start_soon(worker)
    assert served >= 0.85 * 20 * 300
    assert refused <= 0.05 * served


async def test_changes_are_told(clock: FakeClock) -> None:
    """Each change of the whole number is an event with both limits and the reason."""
    heard: list[Any] = []
    limit = AdaptiveLimit(initial=1, name="gpt", clock=clock)
    with gp.listen(heard.append):
        await gp.wrap(clock.sleep, limit)(0)
        await protest(limit)
        await protest(limit)
    assert heard == [
        ConcurrencyChanged(name="gpt", limit=2, was=1, reason="grown"),
        ConcurrencyChanged(name="gpt", limit=1, was=2, reason="throttled"),
    ]


async def test_a_lower_limit_takes_no_slot_away(clock: FakeClock) -> None:
    """Calls on their way go on when the limit falls; nobody new starts until they are fewer."""
    limit = AdaptiveLimit(initial=3, clock=clock)
    began: list[float] = []

    async def work(value: int) -> None:
        began.append(clock.now())
        await clock.sleep(9 if value == 0 else 10)
        if value == 0:
            raise RateLimited("slow down")

    async def call(value: int) -> None:
        try:
            await gp.wrap(work, limit)(value)
        except RateLimited:
            assert limit.limit == 2

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(call, number)
            await a_moment()
    assert began == [0, 0, 0, 10]


async def test_the_line_is_bounded(clock: FakeClock) -> None:
    """With every place in line taken, the next call is refused at once."""
    limit = AdaptiveLimit(initial=1, queue=1, clock=clock)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(run, gp.wrap(clock.sleep, limit), 5)
        await clock.sleep(1)
        assert (limit.in_use, limit.waiting) == (1, 1)
        with pytest.raises(BulkheadFull, match="adaptive_limit: 1 calls run and 1 wait"):
            await gp.wrap(clock.sleep, limit)(5)


async def test_cancelling_is_neutral(clock: FakeClock) -> None:
    """A call cancelled in line or at work keeps no slot, and changes no limit."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        limit = AdaptiveLimit(initial=1, ceiling=1, clock=clock)
        handler = gp.wrap(clock.sleep, limit)
        async with anyio.create_task_group() as group:
            group.start_soon(run, handler, 1)
            await a_moment()
            yield partial(run, handler, 1)
        assert (limit.in_use, limit.waiting, limit.limit) == (0, 0, 1)

    assert await cancel_at_every_wait(scenario) == 2


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(0, 5),
            st.sampled_from(["fine", "429", "bug", "cancel"]),
        ),
        max_size=30,
    ),
    floor=st.integers(1, 3),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_it_keeps_its_bounds_and_its_slots(
    calls: list[tuple[int, int, str]], floor: int, backend: str
) -> None:
    """However calls end, the limit stays within its bounds, and every slot comes back."""

    async def main() -> None:
        async with FakeClock() as clock:
            limit = AdaptiveLimit(initial=3, floor=floor, ceiling=5, clock=clock)

            async def work(call: tuple[int, int, str]) -> None:
                assert floor <= limit.limit <= 5
                await clock.sleep(call[1])
                if call[2] in {"429", "bug"}:
                    raise RateLimited("slow down") if call[2] == "429" else ValueError("bug")

            async def make(call: tuple[int, int, str]) -> None:
                await clock.sleep(call[0])
                with (
                    suppress(RateLimited, ValueError),
                    clock.cancel_at(call[0] + 1 if call[2] == "cancel" else 1e9),
                ):
                    await gp.wrap(work, limit)(call)

            async with anyio.create_task_group() as group:
                for call in calls:
                    group.start_soon(make, call)
            assert floor <= limit.limit <= 5
            assert (limit.in_use, limit.waiting) == (0, 0)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize(
    "options", [{"floor": 0}, {"initial": 5, "floor": 6}, {"initial": 300}, {"ceiling": 99.5}]
)
async def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """An initial limit outside floor and ceiling is refused when it is built."""
    with pytest.raises(ConfigurationError, match=r"AdaptiveLimit: .*; give a whole number"):
        AdaptiveLimit(**options)


@pytest.mark.parametrize(
    ("option", "wrong", "allowed"),
    [
        ("initial", 0, "a whole number, 1 or more"),
        ("initial", 5.5, "a whole number, 1 or more"),
        ("ceiling", 0, "a whole number, 1 or more"),
        ("queue", -1, "a whole number, 0 or more"),
        ("patience", 0, "a number above 0"),
        ("name", 3, ""),
        ("clock", 3, ""),
    ],
)
def test_each_option_is_checked(option: str, wrong: Any, allowed: str) -> None:
    """The message names the option, its value and what is allowed."""
    with pytest.raises(
        ConfigurationError, match=f"AdaptiveLimit: {option}={wrong}; give {allowed}"
    ):
        AdaptiveLimit(**{option: wrong})
    assert AdaptiveLimit(initial=1, ceiling=1, queue=0).queue == 0


async def test_a_slot_learns_as_a_call_does(clock: FakeClock) -> None:
    """A block that holds a slot grows and lowers the limit as a call would, once for a burst."""
    limit = AdaptiveLimit(initial=4, clock=clock)

    async def hold(error: BaseException | None) -> None:
        with suppress(Overloaded, ValueError):
            async with limit.slot():
                await clock.sleep(1)
                if error is not None:
                    raise error

    async def hold_at_once(*errors: BaseException | None) -> int:
        async with anyio.create_task_group() as group:
            for error in errors:
                group.start_soon(hold, error)
            await a_moment()
            assert limit.in_use == min(limit.limit, len(errors))
        assert (limit.in_use, limit.waiting) == (0, 0)
        return limit.limit

    assert await hold_at_once(None, None) == 5, "the second finds less than half of it in use"
    assert await hold_at_once(ValueError("bug"), ValueError("bug")) == 5
    assert await hold_at_once(*[Overloaded("busy")] * 5) == 4
    assert await hold_at_once(Overloaded("busy")) == 3
    with clock.cancel_at(clock.now() + 0.5):
        await hold_at_once(None, None)
    assert (limit.limit, limit.in_use) == (3, 0)
    assert await hold_at_once(*[None] * 4) >= 3
