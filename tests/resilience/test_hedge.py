"""A second attempt beside one that is slow."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError, InvalidRequest, Overloaded, Rejected
from genai_pipeline.resilience import Hedge, HedgeLost, HedgeStarted, RetryBudget
from genai_pipeline.resilience._hedge_policy import Allowance, Usual
from genai_pipeline.testing import FakeClock, Script

from .cancelling import Call, cancel_at_every_wait
from .cycles import no_cycles_of

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")
USED = gp.Usage(input_tokens=5, output_tokens=2)


def _script(clock: FakeClock, *answers: Any, latency: float = 0) -> Script:
    return Script(*answers, then="repeat", latency=latency, clock=clock)


async def test_a_quick_call_is_made_once(clock: FakeClock) -> None:
    """Behaviour 28: a call that ends before the delay is one request, unmarked."""
    model = _script(clock, "x", latency=1.9)
    response = await gp.wrap(model, Hedge(after=2, clock=clock))(ASK)
    assert (response.text, dict(response.attributes), model.calls) == ("x", {}, 1)


async def test_without_a_clock_it_keeps_real_time() -> None:
    """A hedge without a clock of its own goes by the real one."""
    assert (await gp.wrap(Script("x"), Hedge(after=60))(ASK)).text == "x"


async def test_a_slow_call_is_made_once_more(clock: FakeClock) -> None:
    """After the delay a second attempt begins; it answers first, and the first is cancelled."""
    model = Script(
        gp.Response("slow"),
        gp.Response("quick", usage=USED),
        latency=lambda _: 100 if model.calls == 1 else 1,
        clock=clock,
    )
    heard: list[Any] = []
    with gp.listen(heard.append):
        response = await gp.wrap(model, Hedge(after=2, clock=clock))(ASK)
    assert (response.text, response.attributes["hedge"], clock.now()) == ("quick", "same", 3)
    assert (model.calls, model.in_flight) == (2, 0)
    assert [event for event in heard if isinstance(event, HedgeStarted | HedgeLost)] == [
        HedgeStarted(name="hedge", target="same", seconds=2),
        HedgeLost(name="hedge", target="first", seconds=3, usage=USED, estimated=True),
    ]


async def test_the_loser_has_ended_when_the_winner_is_answered(clock: FakeClock) -> None:
    """Behaviour 26: the loser is cancelled and its cleanup awaited before the call returns."""
    log: list[str] = []

    async def slow(request: gp.Request) -> gp.Response:
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            with anyio.CancelScope(shield=True):
                await clock.sleep(5)
            log.append("cleaned up")

    wrapped = gp.wrap(slow, Hedge(_script(clock, "other"), after=1, clock=clock))
    assert (await wrapped(ASK)).text == "other"
    assert log == ["cleaned up"]
    assert clock.now() == 6


async def test_the_first_attempt_may_still_win(clock: FakeClock) -> None:
    """When the first answers after all, the hedge is cancelled and accounted for."""
    first = Script(gp.Response("first", usage=USED), latency=3, clock=clock)
    other = _script(clock, "never", latency=10)
    heard: list[Any] = []
    with gp.listen(heard.append):
        response = await gp.wrap(first, Hedge(other, after=2, clock=clock))(ASK)
    assert (response.text, dict(response.attributes)) == ("first", {})
    lost = [event for event in heard if isinstance(event, HedgeLost)]
    assert lost == [HedgeLost(name="hedge", target="Script", seconds=1, usage=USED, estimated=True)]
    assert other.in_flight == 0


async def test_an_answer_too_late_by_a_hair_is_accounted_as_it_is(clock: FakeClock) -> None:
    """When both answer at one moment, one is answered and the other's own usage told."""
    less = gp.Usage(input_tokens=5, output_tokens=1)
    first = Script(gp.Response("a", usage=USED), latency=3, clock=clock)
    other = Script(gp.Response("a", usage=less), latency=1, clock=clock)
    heard: list[Any] = []
    with gp.listen(heard.append):
        await gp.wrap(first, Hedge(other, after=2, clock=clock))(ASK)
    [lost] = [event for event in heard if isinstance(event, HedgeLost)]
    assert (lost.usage, lost.seconds) in ((USED, 3), (less, 1))
    assert not lost.estimated


async def test_several_others_begin_one_after_another(clock: FakeClock) -> None:
    """Each further target is asked one delay after the one before."""
    began: list[float] = []

    async def never(request: gp.Request) -> gp.Response:
        began.append(clock.now())
        await anyio.sleep_forever()
        raise AssertionError

    hedge = Hedge(never, never, _script(clock, "at last"), after=2, share=1, clock=clock)
    wrapped = gp.wrap(never, hedge)
    for _ in range(3):
        hedge._allowance.deposit()
    assert (await wrapped(ASK)).text == "at last"
    assert began == [0, 2, 4]
    assert clock.now() == 6


async def test_a_failure_starts_the_hedge_at_once(clock: FakeClock) -> None:
    """Behaviour 27: the first attempt's failure makes the hedge due, without the delay."""
    wrapped = gp.wrap(
        _script(clock, Overloaded("busy"), latency=1),
        Hedge(_script(clock, "other"), after=50, clock=clock),
    )
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert (await wrapped(ASK)).text == "other"
    assert clock.now() == 1
    assert HedgeStarted(name="hedge", target="Script", seconds=1, error="Overloaded") in heard


async def test_a_fatal_failure_stops_all(clock: FakeClock) -> None:
    """Behaviour 27: an error that no other attempt mends ends all, and is raised itself."""
    first = _script(clock, "never", latency=100)
    fatal = InvalidRequest("bad")
    wrapped = gp.wrap(first, Hedge(_script(clock, fatal, latency=1), after=2, clock=clock))
    with pytest.raises(InvalidRequest) as caught:
        await wrapped(ASK)
    assert caught.value is fatal
    assert (clock.now(), first.in_flight) == (3, 0)
    alone = gp.wrap(_script(clock, fatal), Hedge(first, after=2, clock=clock))
    with pytest.raises(InvalidRequest):
        await alone(ASK)
    assert first.calls == 1


async def test_a_mistake_in_on_is_raised_as_it_is(clock: FakeClock) -> None:
    """An exception of the user's own function comes out itself, no group."""

    def broken(error: Exception) -> bool:
        raise KeyError("mistake")

    with pytest.raises(KeyError, match="mistake"):
        await gp.wrap(_script(clock, Overloaded), Hedge(after=2, on=broken, clock=clock))(ASK)


async def test_when_all_fail_the_firsts_error_is_raised(clock: FakeClock) -> None:
    """Behaviour 27: it is the first attempt's own error, no group, with a note on the hedge."""
    first = Overloaded("first")
    wrapped = gp.wrap(
        _script(clock, first, latency=5),
        Hedge(_script(clock, Overloaded("other")), after=2, clock=clock),
    )
    with pytest.raises(Overloaded) as caught:
        await wrapped(ASK)
    assert caught.value is first
    assert first.__notes__ == ["Hedges failed too: Script: Overloaded: other"]


async def test_once_one_has_answered_nothing_more_begins(clock: FakeClock) -> None:
    """A hedge that fails at the moment of an answer makes no further attempt due."""
    third = _script(clock, "never")
    wrapped = gp.wrap(
        _script(clock, "x", latency=3),
        Hedge(_script(clock, Overloaded("o"), latency=1), third, after=2, share=1, clock=clock),
    )
    assert (await wrapped(ASK)).text == "x"
    assert third.calls == 0


async def test_a_lone_failure_has_no_note_on_hedges(clock: FakeClock) -> None:
    """Where no hedge was allowed, the error says nothing of any."""
    alone = Overloaded("busy")
    budget = RetryBudget(ratio=0, reserve=0, capacity=1, clock=clock)
    assert budget.withdraw()
    with pytest.raises(Overloaded):
        await gp.wrap(_script(clock, alone), Hedge(after=2, budget=budget, clock=clock))(ASK)
    assert not hasattr(alone, "__notes__")


async def test_failures_leave_no_cycles(clock: FakeClock) -> None:
    """An error that was handled leaves nothing for the garbage collector."""

    async def broken(request: gp.Request) -> gp.Response:
        raise Overloaded("busy")

    wrapped = gp.wrap(broken, Hedge(broken, after=2, share=1, clock=clock))
    with no_cycles_of(Overloaded):
        for _ in range(10):
            with suppress(Overloaded):
                await wrapped(ASK)


async def test_a_hedge_tells_how_long_the_call_had_taken(clock: FakeClock) -> None:
    """The event counts from the beginning of its call, whenever that was."""
    clock.advance(100)
    heard: list[Any] = []
    with gp.listen(heard.append):
        await gp.wrap(_script(clock, "x", latency=3), Hedge(after=2, clock=clock))(ASK)
    [started] = [event for event in heard if isinstance(event, HedgeStarted)]
    assert started.seconds == 2


async def test_a_refusal_is_not_hedged_where_it_was_refused(clock: FakeClock) -> None:
    """An open circuit is not asked once more, but another target is."""
    refused = _script(clock, Rejected("open", retry_after=9))
    with pytest.raises(Rejected):
        await gp.wrap(refused, Hedge(after=2, clock=clock))(ASK)
    assert refused.calls == 1
    assert (await gp.wrap(refused, Hedge(_script(clock, "x"), after=2, clock=clock))(ASK)).text


async def test_hedges_are_a_share_of_the_calls(clock: FakeClock) -> None:
    """However slow everything is, hedges are at most 1 + share * calls."""
    model = _script(clock, "x", latency=5)
    wrapped = gp.wrap(model, Hedge(after=2, share=0.1, clock=clock))
    for _ in range(40):
        await wrapped(ASK)
    assert model.calls == 40 + 5


@given(
    share=st.floats(0.01, 1),
    steps=st.lists(st.booleans(), max_size=300),
)
def test_the_allowance_never_gives_more(share: float, steps: list[bool]) -> None:
    """In any order of calls and hedges, hedges stay within 1 + share * calls, ten in a row."""
    allowance = Allowance(share)
    calls = hedges = row = 0
    for is_call in steps:
        if is_call:
            allowance.deposit()
            calls, row = calls + 1, 0
        elif allowance.withdraw():
            hedges, row = hedges + 1, row + 1
        assert hedges <= 1 + share * calls + 1e-6
        assert row <= 10


def test_ten_hedges_are_saved_up_at_most() -> None:
    """However many calls were quick, ten hedges in a row are allowed and no eleventh."""
    allowance = Allowance(1.0)
    for _ in range(100):
        allowance.deposit()
    assert [allowance.withdraw() for _ in range(11)] == [True] * 10 + [False]


def test_tenths_add_up_to_a_hedge() -> None:
    """Ten calls at a share of a tenth are worth exactly one hedge."""
    allowance = Allowance(0.1)
    assert allowance.withdraw()
    for _ in range(9):
        allowance.deposit()
        assert not allowance.withdraw()
    allowance.deposit()
    assert allowance.withdraw()


def test_the_percentile_is_renewed_after_ten_calls() -> None:
    """The percentile is computed anew after every tenth call, not more often."""
    usual = Usual(1.0, least=1, most=200)
    usual.saw(1)
    assert usual.seconds() == 1
    for _ in range(9):
        usual.saw(5)
        assert usual.seconds() == 1
    usual.saw(5)
    assert usual.seconds() == 5


async def test_an_empty_budget_allows_no_hedge(clock: FakeClock) -> None:
    """Behaviour 28: hedges take tokens of the retry budget, and stop when it is empty."""
    budget = RetryBudget(ratio=0, reserve=0, capacity=2, clock=clock)
    model = _script(clock, "x", latency=5)
    wrapped = gp.wrap(model, Hedge(after=2, share=1, budget=budget, clock=clock))
    for _ in range(5):
        await wrapped(ASK)
    assert model.calls == 7
    assert budget.level == 0


async def test_the_delay_is_learned(clock: FakeClock) -> None:
    """Without after=, the delay is the percentile of what was seen, once 20 calls were."""
    latencies = iter([*map(float, range(1, 21)), 1000.0, 1.0])
    model = Script("x", then="repeat", latency=lambda _: next(latencies), clock=clock)
    hedge: Hedge = Hedge(percentile=0.95, clock=clock)
    wrapped = gp.wrap(model, hedge)
    for _ in range(20):
        assert hedge.delay == math.inf
        await wrapped(ASK)
    assert hedge.delay == 19
    began = clock.now()
    await wrapped(ASK)
    assert clock.now() - began == 20
    assert model.calls == 22


async def test_the_delay_has_a_floor(clock: FakeClock) -> None:
    """A learned delay is never below min_delay."""
    hedge: Hedge = Hedge(min_delay=0.5, clock=clock)
    wrapped = gp.wrap(_script(clock, "x"), hedge)
    for _ in range(20):
        await wrapped(ASK)
    assert hedge.delay == 0.5


@given(seen=st.lists(st.integers(0, 100), min_size=3, max_size=60))
def test_the_percentile_is_the_nearest_rank(seen: list[int]) -> None:
    """Of the latest, at least the percentile are no slower, and it is one of them."""
    usual = Usual(0.9, least=3, most=20)
    for seconds in seen:
        usual.saw(seconds)
    latest = seen[-20:]
    answer = usual.seconds()
    assert answer in latest
    assert sum(each <= answer for each in latest) >= 0.9 * len(latest)
    assert sum(each < answer for each in latest) < 0.9 * len(latest)


async def test_slow_first_attempts_that_lost_are_learned_from(clock: FakeClock) -> None:
    """A first attempt that was cancelled counts as slow as it was, so the delay does not sink."""
    hedge: Hedge = Hedge(
        _script(clock, "other", latency=1), percentile=0.5, share=1, min_delay=0, clock=clock
    )
    quick = gp.wrap(_script(clock, "x", latency=2), hedge)
    slow = gp.wrap(_script(clock, "x", latency=100), hedge)
    for _ in range(20):
        await quick(ASK)
    for _ in range(30):
        await slow(ASK)
    assert hedge.delay == 3


async def test_failures_teach_no_delay(clock: FakeClock) -> None:
    """A call that failed says nothing of how long answers take."""
    hedge: Hedge = Hedge(clock=clock)
    broken = gp.wrap(_script(clock, InvalidRequest("bad"), latency=1), hedge)
    for _ in range(30):
        with suppress(InvalidRequest):
            await broken(ASK)
    assert hedge.delay == math.inf


async def test_the_cleanup_of_a_loser_does_not_count(clock: FakeClock) -> None:
    """What is learned of a first attempt that won is its own time, not that of the call."""

    async def lingers(request: gp.Request) -> gp.Response:
        try:
            await anyio.sleep_forever()
            raise AssertionError
        finally:
            with anyio.CancelScope(shield=True):
                await clock.sleep(50)

    hedge: Hedge = Hedge(lingers, percentile=0.5, share=1, clock=clock)
    for latency in [2] * 20 + [3] * 30:
        await gp.wrap(_script(clock, "x", latency=latency), hedge)(ASK)
    assert hedge.delay == 3


async def test_the_latest_200_calls_are_learned_from(clock: FakeClock) -> None:
    """A call is forgotten when 200 others were made since."""
    hedge: Hedge = Hedge(percentile=1, clock=clock)
    slow, quick = (gp.wrap(_script(clock, "x", latency=each), hedge) for each in (9, 1))
    delays = []
    for number in range(1, 211):
        await (slow if number == 10 else quick)(ASK)
        delays.append(hedge.delay)
    assert set(delays[20:-1]) == {9}
    assert delays[-1] == 1


async def test_other_handlers_are_hedged_too(clock: FakeClock) -> None:
    """A handler of other values is hedged, its answer unmarked and its usage unknown."""

    async def double(value: int) -> int:
        await clock.sleep(10 if clock.now() == 0 else 1)
        return 2 * value

    heard: list[Any] = []
    with gp.listen(heard.append):
        assert await gp.wrap(double, Hedge(after=2, clock=clock))(4) == 8
    assert HedgeLost(name="hedge", target="first", seconds=3, usage=None, estimated=True) in heard


@pytest.mark.parametrize("latency", [1, 5])
async def test_cancellation_ends_all_attempts(clock: FakeClock, latency: float) -> None:
    """Behaviour 26: cancelled at every wait, no attempt goes on, and the next call works."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        first = _script(clock, "first", latency=100)
        other = _script(clock, "other", latency=latency)
        wrapped = gp.wrap(first, Hedge(other, after=2, share=1, clock=clock))
        yield lambda: wrapped(ASK)
        assert first.in_flight == other.in_flight == 0
        assert (await wrapped(ASK)).text == "other"

    assert await cancel_at_every_wait(scenario, may_finish=True) >= 2


async def test_others_live_as_long_as_the_whole() -> None:
    """What it calls is entered and left with it."""
    log: list[str] = []

    class Model(Script):
        async def __aenter__(self) -> None:
            log.append("enter")

        async def __aexit__(self, *raised: object) -> None:
            log.append("leave")

    model = Model("x")
    async with gp.wrap(Script("x"), Hedge(model)):
        assert log == ["enter"]
    assert log == ["enter", "leave"]


def test_the_least_delay_is_that_documented() -> None:
    """Without after= and min_delay=, no hedge begins within a twentieth of a second."""
    hedge: Hedge = Hedge()
    for _ in range(20):
        hedge._usual.saw(0.001)
    assert hedge.delay == 0.05


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"after": -1}, "after=-1"),
        ({"percentile": 0}, "percentile=0"),
        ({"percentile": 1.1}, "percentile=1.1"),
        ({"min_delay": -1}, "min_delay=-1"),
        ({"share": 0}, "share=0"),
        ({"share": True}, "share=True"),
        ({"on": 3}, "on=3"),
        ({"budget": 3}, "budget=3"),
        ({"clock": 3}, "clock=3"),
        ({"name": 3}, "name=3"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Hedge(**options)


def test_a_class_is_no_target() -> None:
    """A class where its instance is meant is refused."""
    with pytest.raises(ConfigurationError, match=r"others\[0\]"):
        Hedge(cast("Any", Script))
