"""What decides on a balancer's choice: weights, latencies that were seen, and rests."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from typing import Any, cast

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import NoTargetReady, Overloaded, RateLimited, Rejected
from genai_pipeline.resilience import LoadBalance, TargetRested
from genai_pipeline.testing import FakeClock, Script

from .cycles import no_cycles_of
from .moments import run

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")


def _script(clock: FakeClock, name: str, latency: float = 0) -> Script:
    return Script(name, then="repeat", latency=latency, clock=clock)


def _by_latency(clock: FakeClock, targets: Any, **options: Any) -> LoadBalance:
    return LoadBalance(targets, by="latency", random=lambda: 0, clock=clock, **options)


async def _texts(balance: gp.Provider, count: int) -> list[str]:
    return [(await balance(ASK)).text for _ in range(count)]


async def _at_once(balance: gp.Provider, count: int) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(run, balance, ASK)


async def test_an_idle_target_of_more_weight_is_first(clock: FakeClock) -> None:
    """By in_flight, a single call goes where there is the most room."""
    one, three = _script(clock, "one"), _script(clock, "three")
    balance = LoadBalance({one: 1, three: 3}, by="in_flight", random=lambda: 0)
    assert await _texts(balance, 1) == ["three"]


async def test_latency_goes_by_weight_too(clock: FakeClock) -> None:
    """By latency, of two that are equally quick the larger gets more."""
    one, three = _script(clock, "one", 1), _script(clock, "three", 1)
    balance = _by_latency(clock, {one: 1, three: 3}, memory=1e9)
    await _texts(balance, 2)
    one.most_in_flight = three.most_in_flight = 0
    await _at_once(balance, 16)
    assert (one.most_in_flight, three.most_in_flight) == (4, 12)


async def test_one_slow_answer_does_not_drive_a_target_away(clock: FakeClock) -> None:
    """Latencies are smoothed: the latest counts 30 %."""
    latencies = [1.0, 11.0]
    model = Script("x", then="repeat", latency=lambda _: latencies.pop(0), clock=clock)
    balance = _by_latency(clock, {model: 1})
    await _texts(balance, 2)
    assert balance.members[0].latency == pytest.approx(4)


async def test_a_failure_counts_like_an_answer_of_twice_the_time(clock: FakeClock) -> None:
    """By latency, a target that fails looks twice as slow as it was, whenever that is."""
    clock.advance(100)
    balance = _by_latency(clock, {Script(Overloaded, latency=1, clock=clock): 1})
    with pytest.raises(Overloaded):
        await balance(ASK)
    assert balance.members[0].latency == 2


async def test_a_new_target_is_tried_before_the_quickest(clock: FakeClock) -> None:
    """By latency, one that was never asked is asked at once, however quick the others are."""
    balance = _by_latency(
        clock, {_script(clock, "quick", 0.5): 1, _script(clock, "new", 4): 1}, memory=60
    )
    assert await _texts(balance, 3) == ["quick", "new", "quick"]


async def test_a_new_target_is_taken_for_one_like_the_others(clock: FakeClock) -> None:
    """Until its first answer, a new target gets calls as if it took what the others take."""
    new, ten, fourteen = _script(clock, "n", 99), _script(clock, "t", 10), _script(clock, "f", 14)
    balance = _by_latency(clock, {ten: 1, fourteen: 1, new: 1}, memory=1e9)
    for target, latency in zip(balance.members, (10, 14), strict=False):
        target.saw(latency, clock.now())
    await _at_once(balance, 5)
    # 10, 14 and 12 seconds to expect, times the calls there: the fifth goes to the new one
    assert (ten.calls, fourteen.calls, new.calls) == (2, 1, 2)


async def test_a_machine_may_be_up_for_long(clock: FakeClock) -> None:
    """By latency, the choice is the same however much the clock shows."""
    clock.advance(1e8)
    balance = _by_latency(clock, {_script(clock, "slow", 4): 1, _script(clock, "quick", 1): 1})
    assert await _texts(balance, 4) == ["slow", "quick", "quick", "quick"]


async def test_keys_follow_the_weights_of_several() -> None:
    """Sticky keys are shared out by weight among any number of targets."""
    targets: Any = {Script(name, then="repeat"): 1 for name in "abcd"}
    targets[Script("large", then="repeat")] = 8
    balance = LoadBalance(targets, sticky=lambda request: request.prompt)
    texts = [(await balance(gp.Request(str(number)))).text for number in range(600)]
    counts = Counter(texts)
    assert 370 < counts["large"] < 430, "two thirds are 400"
    assert all(30 < counts[name] < 70 for name in "abcd")


async def test_any_chance_below_one_chooses_a_target(clock: FakeClock) -> None:
    """Weights that do not add up exactly leave no gap at the end."""
    targets = {_script(clock, "a"): 0.1, _script(clock, "b"): 0.1, _script(clock, "c"): 0.6}
    balance = LoadBalance(targets, random=lambda: math.nextafter(1, 0))
    assert await _texts(balance, 1) == ["c"]


async def test_each_is_asked_once_when_none_may_rest() -> None:
    """With max_rest=0 a call that all refuse goes to each once, and is refused."""
    clock = FakeClock()
    targets = {name: Script(Rejected("open"), then="repeat") for name in "ab"}
    balance = LoadBalance(targets, max_rest=0, clock=clock)
    heard: list[Any] = []
    with gp.listen(heard.append), pytest.raises(NoTargetReady):
        await balance(ASK)
    assert [target.calls for target in targets.values()] == [1, 1]
    assert not [event for event in heard if isinstance(event, TargetRested)]


async def test_a_short_rest_is_told_as_it_is() -> None:
    """A call that all refuse is told the time to the first, also if it is short."""
    balance = LoadBalance({"a": Script(Rejected("open", retry_after=0.25))}, clock=FakeClock())
    with pytest.raises(NoTargetReady) as caught:
        await balance(ASK)
    assert caught.value.retry_after == 0.25


@pytest.mark.parametrize("second", [10, 1])
async def test_a_rest_is_told_once_and_never_shortened(second: float, clock: FakeClock) -> None:
    """Calls refused at once make one rest: the longest that any of them was told."""
    errors = [RateLimited("slow down", retry_after=wait) for wait in (10, second)]
    latencies = [1.0, 1.0 if second == 10 else 2.0]
    model = Script(*errors, latency=lambda _: latencies.pop(0), clock=clock)
    balance = LoadBalance({"a": model}, clock=clock)
    heard: list[Any] = []

    async def ask() -> None:
        with suppress(NoTargetReady):
            await balance(ASK)

    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
    assert balance.members[0].rests_until == 11
    rests = [event.seconds for event in heard if isinstance(event, TargetRested)]
    assert rests == [10]


async def test_refusals_leave_no_cycles() -> None:
    """An error that was handled leaves nothing for the garbage collector."""

    async def full(request: gp.Request) -> gp.Response:
        raise Rejected("full", retry_after=0)

    balance = LoadBalance({"a": full, "b": full})
    with no_cycles_of(Rejected):
        for _ in range(10):
            with suppress(Rejected):
                await balance(ASK)


async def test_a_target_may_be_free(clock: FakeClock) -> None:
    """By cost, a price of nothing, or of less than one, is a price."""
    targets: Any = {"a": _script(clock, "a"), "b": _script(clock, "b")}
    balance = LoadBalance(targets, by="cost", prices={"a": 0.5, "b": 0})
    assert await _texts(balance, 1) == ["b"]


def test_only_the_targets_need_no_name() -> None:
    """Every other option must be named, so that none is taken for another."""
    with pytest.raises(TypeError):
        cast("Any", LoadBalance)({"a": Script("x")}, "weight")


def test_the_defaults_are_those_documented() -> None:
    """A target rests a minute at most, and a latency counts a third after a minute."""
    balance = LoadBalance({"a": Script("x")})
    assert (balance.by, balance.max_rest, balance.memory) == ("weight", 60, 60)
