"""One handler made of several."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import (
    ConfigurationError,
    InvalidRequest,
    NoTargetReady,
    Overloaded,
    RateLimited,
    Rejected,
)
from genai_pipeline.resilience import LoadBalance, Retry, TargetRested
from genai_pipeline.testing import FakeClock, Script

from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")


def _named(*names: str, **options: Any) -> dict[str, Script]:
    return {name: Script(name, then="repeat", **options) for name in names}


async def _texts(balance: gp.Provider, count: int) -> list[str]:
    return [(await balance(ASK)).text for _ in range(count)]


async def test_weights_share_the_calls() -> None:
    """By weight, each target gets its share of the calls, as the injected chance decides."""
    one, three = Script("one", then="repeat"), Script("three", then="repeat")
    chances = iter([0.0, 0.24, 0.25, 0.99])
    balance = LoadBalance({one: 1, three: 3}, random=lambda: next(chances))
    assert await _texts(balance, 4) == ["one", "one", "three", "three"]
    seeded = LoadBalance({one: 1, three: 3}, random=random.Random(7).random)
    counts = Counter(await _texts(seeded, 1000))
    assert 200 < counts["one"] < 300


async def test_the_answer_names_its_target() -> None:
    """The attribute ``target`` is the name given, or the handler's, numbered if equal."""
    balance = LoadBalance({"eu": Script("x")})
    assert (await balance(ASK)).attributes["target"] == "eu"
    names = [target.name for target in LoadBalance({Script(): 1, Script(): 1}).members]
    assert names == ["Script", "Script-2"]


async def test_the_fewest_in_flight_is_next(clock: FakeClock) -> None:
    """By in_flight, concurrent calls spread in proportion to the weights."""
    one = Script("one", then="repeat", latency=1, clock=clock)
    three = Script("three", then="repeat", latency=1, clock=clock)
    balance = LoadBalance({one: 1, three: 3}, by="in_flight", random=lambda: 0)
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(balance, ASK)
    assert (one.most_in_flight, three.most_in_flight) == (2, 6)
    assert [target.in_flight for target in balance.members] == [0, 0]


async def test_the_quickest_is_next(clock: FakeClock) -> None:
    """By latency, each is tried once, then the quickest serves; a slow one is tried again."""
    slow = Script("slow", then="repeat", latency=4, clock=clock)
    quick = Script("quick", then="repeat", latency=1, clock=clock)
    balance = LoadBalance(
        {slow: 1, quick: 1}, by="latency", memory=60, random=lambda: 0, clock=clock
    )
    assert await _texts(balance, 5) == ["slow", "quick", "quick", "quick", "quick"]
    clock.advance(1000)
    texts = await _texts(balance, 2)
    assert set(texts) == {"slow", "quick"}


async def test_calls_in_flight_count_as_latency(clock: FakeClock) -> None:
    """By latency, a target three times as quick gets three quarters of calls at once."""
    slow = Script("slow", then="repeat", latency=3, clock=clock)
    quick = Script("quick", then="repeat", latency=1, clock=clock)
    balance = LoadBalance(
        {slow: 1, quick: 1}, by="latency", memory=1e9, random=lambda: 0, clock=clock
    )
    await _texts(balance, 2)
    slow.most_in_flight = quick.most_in_flight = 0
    async with anyio.create_task_group() as group:
        for _ in range(16):
            group.start_soon(balance, ASK)
    assert (slow.most_in_flight, quick.most_in_flight) == (4, 12)


async def test_unknown_targets_are_not_flooded(clock: FakeClock) -> None:
    """By latency, calls at once to targets never seen are spread."""
    scripts = _named("a", "b", latency=1, clock=clock)
    balance = LoadBalance(scripts, by="latency", random=lambda: 0, clock=clock)
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(balance, ASK)
    assert [script.most_in_flight for script in scripts.values()] == [5, 5]


async def test_failing_at_once_is_not_being_quick(clock: FakeClock) -> None:
    """By latency, failures make a target look slower, however quick they come."""
    good = Script("good", then="repeat", latency=2, clock=clock)
    bad = Script("bad", Overloaded, then="repeat", latency=1, clock=clock)
    balance = LoadBalance({good: 1, bad: 1}, by="latency", random=lambda: 0, clock=clock)
    outcomes = []
    for _ in range(12):
        try:
            outcomes.append((await balance(ASK)).text)
        except Overloaded:
            outcomes.append("failed")
    assert outcomes[:2] == ["good", "bad"]
    assert 1 <= outcomes.count("failed") <= 4
    assert outcomes.count("good") >= 7


async def test_the_cheapest_is_next_while_it_is_ready() -> None:
    """By cost, the cheapest serves, and the next in price while it rests."""
    clock = FakeClock()
    cheap = Script("cheap", Rejected("no", retry_after=5), "cheap")
    dear = Script("dear", then="repeat")
    balance = LoadBalance(
        {"dear": dear, "cheap": cheap}, by="cost", prices={"dear": 2, "cheap": 1}, clock=clock
    )
    assert await _texts(balance, 3) == ["cheap", "dear", "dear"]
    clock.advance(5)
    assert await _texts(balance, 1) == ["cheap"]


async def test_a_refusing_target_is_passed_over_and_rests() -> None:
    """A Rejected costs no call: the next target answers, and the first rests till it is ready."""
    clock = FakeClock()
    a, b = Script(Rejected("open", retry_after=5), "a"), Script("b", then="repeat")
    balance = LoadBalance({"a": a, "b": b}, random=lambda: 0, clock=clock)
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert await _texts(balance, 2) == ["b", "b"]
    assert [event for event in heard if isinstance(event, TargetRested)] == [
        TargetRested(name="balance", target="a", seconds=5, error="Rejected")
    ]
    clock.advance(4.9)
    assert await _texts(balance, 1) == ["b"]
    clock.advance(0.1)
    assert await _texts(balance, 1) == ["a"]


async def test_a_refusal_without_a_time_rests_a_second() -> None:
    """A Rejected without retry_after lets its target rest for one second."""
    clock = FakeClock()
    balance = LoadBalance({"a": Script(Rejected, "a")}, clock=clock)
    with pytest.raises(NoTargetReady) as caught:
        await balance(ASK)
    assert caught.value.retry_after == 1
    clock.advance(1)
    assert await _texts(balance, 1) == ["a"]


async def test_when_all_rest_the_call_is_refused() -> None:
    """When no target is ready, NoTargetReady tells when the first will be, with no call made."""
    clock = FakeClock()
    scripts = [Script(Rejected("no", retry_after=wait)) for wait in (30, 8, 20)]
    balance = LoadBalance(dict(zip("abc", scripts, strict=True)), clock=clock)
    with pytest.raises(NoTargetReady) as caught:
        await balance(ASK)
    assert caught.value.retry_after == 8
    assert isinstance(caught.value.__cause__, Rejected)
    clock.advance(3)
    with pytest.raises(NoTargetReady) as caught:
        await balance(ASK)
    assert caught.value.retry_after == 5
    assert [script.calls for script in scripts] == [1, 1, 1]


async def test_a_rest_is_bounded() -> None:
    """A target that asks for a very long rest gets max_rest."""
    clock = FakeClock()
    balance = LoadBalance({"a": Script(Rejected("no", retry_after=1e9))}, max_rest=7, clock=clock)
    with pytest.raises(NoTargetReady) as caught:
        await balance(ASK)
    assert caught.value.retry_after == 7


async def test_a_rate_limit_goes_on_elsewhere() -> None:
    """A rate limit of one target is none of the next: that answers, and the first rests."""
    clock = FakeClock()
    a, b = Script(RateLimited("slow down", retry_after=30), "a"), Script("b", then="repeat")
    balance = LoadBalance({"a": a, "b": b}, random=lambda: 0, clock=clock)
    assert await _texts(balance, 3) == ["b", "b", "b"]
    clock.advance(30)
    assert await _texts(balance, 1) == ["a"]


async def test_when_all_are_limited_the_call_waits() -> None:
    """When each target is at its limit, NoTargetReady tells when the first is free again."""
    clock = FakeClock()
    limited = {
        "a": Script(RateLimited("x", retry_after=9)),
        "b": Script(RateLimited("x", retry_after=4)),
    }
    with pytest.raises(NoTargetReady) as caught:
        await LoadBalance(limited, clock=clock)(ASK)
    assert caught.value.retry_after == 4


async def test_retry_goes_on_elsewhere(clock: FakeClock) -> None:
    """Around a balancer, Retry's next attempt goes to another target, without the first's wait."""
    a, b = Script(Overloaded("busy", retry_after=3)), Script("b")
    balance = LoadBalance({"a": a, "b": b}, random=lambda: 0, clock=clock)
    retry = Retry(on=Overloaded, clock=clock, random=lambda: 0)
    assert (await gp.wrap(balance, retry)(ASK)).text == "b"
    assert clock.now() == 0
    assert balance.members[0].rests_until == 3


async def test_with_nowhere_else_the_servers_wait_is_kept() -> None:
    """While no other target is ready, the error keeps the time that the server named."""
    with pytest.raises(Overloaded) as caught:
        await LoadBalance({"a": Script(Overloaded("busy", retry_after=3))})(ASK)
    assert caught.value.retry_after == 3


async def test_other_errors_are_raised_and_rest_nobody() -> None:
    """What is wrong with the request is raised, and its target stays in use."""
    balance = LoadBalance({"a": Script(InvalidRequest("bad"), "a")})
    with pytest.raises(InvalidRequest):
        await balance(ASK)
    assert await _texts(balance, 1) == ["a"]


@settings(deadline=None)
@given(keys=st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True))
async def test_a_key_sticks_to_its_target(keys: list[str]) -> None:
    """Calls of a key go to one target; when another rests, the key does not move."""
    clock = FakeClock()

    def make() -> LoadBalance:
        return LoadBalance(
            _named("a", "b", "c"), sticky=lambda request: request.system, clock=clock
        )

    async def home(balance: Any, key: str) -> str:
        return str((await balance(gp.Request("x", system=key))).text)

    first, second = make(), make()
    homes = {key: await home(first, key) for key in keys}
    assert homes == {key: await home(second, key) for key in keys}
    second.members[0].rests_until = clock.now() + 1
    for key, before in homes.items():
        now = await home(second, key)
        assert now != "a"
        assert before in (now, "a")


async def test_keys_follow_the_weights() -> None:
    """Sticky keys are shared out by weight."""
    one, three = Script("one", then="repeat"), Script("three", then="repeat")
    balance = LoadBalance({"one": one, "three": three}, sticky=lambda request: request.prompt)
    balance.members[1].weight = 3
    texts = [(await balance(gp.Request(str(number)))).text for number in range(400)]
    assert 70 < Counter(texts)["one"] < 130


async def test_a_value_without_key_goes_by_the_rule() -> None:
    """When sticky= answers None, the call goes by weight; other than text is refused."""
    balance = LoadBalance(_named("a", "b"), sticky=lambda _: None, random=lambda: 0.99)
    assert await _texts(balance, 3) == ["b", "b", "b"]
    with pytest.raises(ConfigurationError, match="answered 3"):
        await LoadBalance(_named("a"), sticky=lambda _: 3)(ASK)  # type: ignore[arg-type,return-value]


async def test_cancellation_counts_as_nothing(clock: FakeClock) -> None:
    """Cancelled at every wait, a call leaves nothing in flight and no mark on its target."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        balance = LoadBalance(_named("a", latency=1, clock=clock), clock=clock)
        yield lambda: balance(ASK)
        [target] = balance.members
        assert target.in_flight == 0
        assert target.latency in (None, 1)
        assert target.rests_until < clock.now()

    assert await cancel_at_every_wait(scenario) == 1


async def test_others_live_as_long_as_the_whole() -> None:
    """What it calls is entered and left with it."""
    log: list[str] = []

    class Model(Script):
        async def __aenter__(self) -> None:
            log.append("enter")

        async def __aexit__(self, *raised: object) -> None:
            log.append("leave")

    model = Model("x")
    async with LoadBalance({model: 1}):
        assert log == ["enter"]
    assert log == ["enter", "leave"]


@pytest.mark.parametrize(
    ("targets", "options", "named"),
    [
        ({}, {}, "targets={}"),
        ([], {}, "targets="),
        ({"a": 1}, {}, r"targets\['a'\]=1"),
        ({"": print}, {}, r"targets\[''\]"),
        ({print: 0}, {}, r"targets\[print\]=0"),
        ({print: True}, {}, r"targets\[print\]=True"),
        ({print: float("inf")}, {}, r"targets\[print\]=inf"),
        ({3: 1}, {}, "targets=3"),
        ({"a": print}, {"by": "luck"}, "by='luck'"),
        ({"a": print}, {"by": "cost"}, "prices=None"),
        ({"a": print}, {"by": "cost", "prices": {"b": 1}}, "prices="),
        ({"a": print, "b": print}, {"by": "cost", "prices": {"a": 1}}, "prices="),
        ({"a": print}, {"prices": {"a": 1}}, "prices="),
        ({"a": print}, {"sticky": 3}, "sticky=3"),
        ({"a": print}, {"max_rest": -1}, "max_rest=-1"),
        ({"a": print}, {"memory": 0}, "memory=0"),
        ({"a": print}, {"by": "cost", "prices": {"a": float("inf")}}, "prices="),
        ({"a": print}, {"clock": 3}, "clock=3"),
        ({"a": print}, {"random": 3}, "random=3"),
        ({"a": print}, {"name": 3}, "name=3"),
    ],
)
def test_wrong_options_are_named(targets: Any, options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        LoadBalance(targets, **options)
