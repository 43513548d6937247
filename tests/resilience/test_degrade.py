"""Less good answers rather than none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import genai_pipeline as gp
from genai_pipeline.errors import (
    ConfigurationError,
    InvalidRequest,
    NotCached,
    Overloaded,
    Rejected,
)
from genai_pipeline.resilience import Cache, Canned, DegradationChanged, Degrade, cache_only
from genai_pipeline.resilience._health import Health, Thresholds
from genai_pipeline.stores import Memory
from genai_pipeline.testing import FakeClock, Script

from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")


class Switch:
    """A provider that is well or not."""

    def __init__(self, name: str, *, well: bool = True) -> None:
        self.name = name
        self.error: Exception | None = None if well else Overloaded(name)
        self.calls = 0

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return gp.Response(self.name)


def changes_into(heard: list[Any]) -> Callable[[object], None]:
    """Answer a listener that keeps the changes of level, and not who gave each answer."""

    def hear(event: object) -> None:
        if isinstance(event, DegradationChanged):
            heard.append(event)

    return hear


async def _outcomes(model: gp.Provider, count: int) -> list[str]:
    found = []
    for _ in range(count):
        try:
            found.append((await model(ASK)).text)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            found.append(type(error).__name__)
    return found


async def test_the_best_level_answers_while_it_is_well() -> None:
    """The first level answers, named and not degraded, and no other is asked."""
    large, small = Switch("large"), Switch("small")
    degrade = Degrade(large, small)
    response = await degrade(ASK)
    assert (response.text, response.attributes) == ("large", {"level": "large"})
    assert (degrade.level, small.calls) == ("large", 0)


async def test_failures_beyond_the_threshold_go_a_level_down() -> None:
    """Failures are raised up to the threshold; the call that crosses it is answered below."""
    large, small = Switch("large", well=False), Switch("small")
    degrade = Degrade(("best", large), ("plain", small), least_calls=3, clock=FakeClock())
    heard: list[Any] = []
    with gp.listen(changes_into(heard)):
        assert await _outcomes(degrade, 4) == ["Overloaded", "Overloaded", "small", "small"]
    assert large.calls == 3
    assert degrade.level == "plain"
    assert heard == [
        DegradationChanged(name="degrade", level="plain", previous="best", index=1, degraded=True)
    ]
    assert (await degrade(ASK)).attributes == {"level": "plain", "degraded": True}


async def test_the_rate_counts_and_not_the_number() -> None:
    """With half the calls good, failure_rate=0.5 is reached exactly, and 0.6 is not."""
    for rate, expected in ((0.5, "small"), (0.6, "large")):
        large = Switch("large")
        clock = FakeClock()
        degrade = Degrade(large, Switch("small"), failure_rate=rate, least_calls=4, clock=clock)
        await _outcomes(degrade, 2)
        large.error = Overloaded()
        await _outcomes(degrade, 2)
        assert degrade.level == expected


async def test_old_failures_are_forgotten() -> None:
    """Failures longer ago than the window do not count."""
    clock = FakeClock()
    degrade = Degrade(
        Switch("large", well=False), Switch("small"), least_calls=3, window=60, clock=clock
    )
    await _outcomes(degrade, 2)
    clock.advance(60)
    assert await _outcomes(degrade, 2) == ["Overloaded", "Overloaded"]
    clock.advance(59)
    assert await _outcomes(degrade, 1) == ["small"]


async def test_an_open_circuit_counts_as_a_failure() -> None:
    """What a policy refuses counts as well, so an open circuit degrades."""
    large = Switch("large")
    large.error = Rejected("open")
    degrade = Degrade(large, Switch("small"), least_calls=1, clock=FakeClock())
    assert await _outcomes(degrade, 1) == ["small"]


async def test_errors_of_the_request_count_as_nothing() -> None:
    """What on= does not name is raised, also below the first level, and moves nothing."""
    large = Switch("large")
    large.error = InvalidRequest("bad")
    degrade = Degrade(large, Switch("small"), least_calls=1, clock=FakeClock())
    assert await _outcomes(degrade, 9) == ["InvalidRequest"] * 9
    assert degrade.level == "large"


async def test_it_comes_up_again_after_good_probes() -> None:
    """After probe_after, calls try the level above; recover_after good ones restore it."""
    clock = FakeClock()
    large, small = Switch("large", well=False), Switch("small")
    degrade = Degrade(large, small, least_calls=1, probe_after=30, recover_after=2, clock=clock)
    assert await _outcomes(degrade, 1) == ["small"]
    large.error = None
    clock.advance(29.9)
    assert await _outcomes(degrade, 1) == ["small"]
    clock.advance(0.1)
    heard: list[Any] = []
    with gp.listen(changes_into(heard)):
        assert await _outcomes(degrade, 1) == ["large"]
        assert degrade.level == "small"
        assert await _outcomes(degrade, 1) == ["large"]
        assert degrade.level == "large"
    assert heard == [
        DegradationChanged(name="degrade", level="large", previous="small", index=0, degraded=False)
    ]
    large.error = Overloaded()
    assert await _outcomes(degrade, 1) == ["small"]


async def test_the_defaults_are_those_documented() -> None:
    """Half of five calls within a minute; probes after 30 s up to 10 min, two of them good."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(large, Switch("small"), clock=clock)
    assert await _outcomes(degrade, 1) == ["Overloaded"]
    clock.advance(30)
    assert await _outcomes(degrade, 3) == ["Overloaded"] * 3
    clock.advance(30)
    assert await _outcomes(degrade, 2) == ["Overloaded", "small"]
    began, probes = clock.now(), list[float]()
    for _ in range(2200):
        clock.advance(1)
        before = large.calls
        await degrade(ASK)
        if large.calls > before:
            probes.append(clock.now() - began)
    assert probes == [30, 90, 210, 450, 930, 1530, 2130]
    large.error = None
    clock.advance(600)
    assert await _outcomes(degrade, 1) == ["large"]
    assert degrade.level == "small"
    assert await _outcomes(degrade, 1) == ["large"]
    assert degrade.level == "large"


async def test_a_probe_may_fail_in_any_way_that_on_names() -> None:
    """An error of another library, which asks for no wait, is answered below as well."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(large, Switch("small"), least_calls=1, probe_after=1, clock=clock)
    await degrade(ASK)
    large.error = ConnectionResetError("gone")
    clock.advance(1)
    assert await _outcomes(degrade, 1) == ["small"]


async def test_in_an_outage_probes_grow_rare_and_nobody_suffers() -> None:
    """A bad probe's caller is answered below, and probes come after 30, 60, 120, 120 seconds."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(
        large, Switch("small"), least_calls=1, probe_after=30, max_probe_after=120, clock=clock
    )
    await degrade(ASK)
    probes: list[float] = []
    for _ in range(400):
        clock.advance(1)
        before = large.calls
        assert (await degrade(ASK)).text == "small"
        if large.calls > before:
            probes.append(clock.now())
    assert probes == [30, 90, 210, 330]


async def test_a_probe_waits_as_long_as_the_level_asks() -> None:
    """A refused probe is repeated no sooner than its retry_after, within max_probe_after."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(large, Switch("small"), least_calls=1, probe_after=1, clock=clock)
    await degrade(ASK)
    large.error = Rejected("open", retry_after=100)
    clock.advance(1)
    await degrade(ASK)
    large.error = None
    clock.advance(99)
    assert (await degrade(ASK)).text == "small"
    clock.advance(1)
    assert (await degrade(ASK)).text == "large"


async def test_below_the_first_level_a_call_goes_on_down() -> None:
    """Once degraded, a failure is answered by the next lower level within the call."""
    large, small = Switch("large", well=False), Switch("small")
    degrade = Degrade(large, small, Canned("sorry"), least_calls=3, clock=FakeClock())
    await _outcomes(degrade, 3)
    small.error = Overloaded()
    assert await _outcomes(degrade, 1) == ["sorry"]
    assert degrade.level == "small"
    assert await _outcomes(degrade, 1) == ["sorry"]
    assert degrade.level == "canned"  # one good and two bad


async def test_a_level_that_stays_broken_does_not_block_the_way_up() -> None:
    """Probes go to the higher levels in turn, so the best returns past a broken middle."""
    clock = FakeClock()
    large, small = Switch("large", well=False), Switch("small", well=False)
    degrade = Degrade(
        large, small, Canned("sorry"), least_calls=1, probe_after=1, recover_after=1, clock=clock
    )
    assert await _outcomes(degrade, 1) == ["sorry"]
    assert degrade.level == "canned"
    large.error = None
    clock.advance(1)
    assert await _outcomes(degrade, 1) == ["sorry"]
    clock.advance(2)
    assert await _outcomes(degrade, 1) == ["large"]
    assert degrade.level == "large"


async def test_a_probe_that_says_nothing_moves_nothing() -> None:
    """A probe whose answer is not known, or whose request is wrong, counts neither way."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(
        large, Switch("small"), least_calls=1, probe_after=1, recover_after=2, clock=clock
    )
    await degrade(ASK)
    clock.advance(1)
    large.error = NotCached()
    heard: list[Any] = []
    with gp.listen(changes_into(heard)):
        assert await _outcomes(degrade, 1) == ["small"]
        large.error = InvalidRequest("bad")
        assert await _outcomes(degrade, 1) == ["InvalidRequest"]
    assert not heard
    large.error = None
    assert await _outcomes(degrade, 1) == ["large"]
    assert degrade.level == "small"
    assert await _outcomes(degrade, 1) == ["large"]
    assert degrade.level == "large"


async def test_its_levels_live_as_long_as_itself() -> None:
    """Every level is entered and left with the whole."""
    log: list[str] = []

    class Model(Switch):
        async def __aenter__(self) -> None:
            log.append(f"enter {self.name}")

        async def __aexit__(self, *raised: object) -> None:
            log.append(f"leave {self.name}")

    async with Degrade(Model("large"), Model("small")):
        assert log == ["enter large", "enter small"]
    assert log[2:] == ["leave small", "leave large"]


async def test_known_answers_are_a_level() -> None:
    """Model, then known answers, then a canned one: what is not known counts as nothing."""
    clock = FakeClock()
    store: Memory[Any] = Memory(clock=clock)
    large = Switch("large")
    degrade = Degrade(
        ("large", gp.wrap(large, Cache(store=store, scope="large", ttl=60, clock=clock))),
        ("known", gp.wrap(cache_only, Cache(store=store, scope="large", ttl=3600, clock=clock))),
        ("sorry", Canned("come back later")),
        least_calls=1,
        clock=clock,
    )
    assert (await degrade(ASK)).text == "large"
    large.error = Overloaded()
    unknown = gp.Request("Another")
    for _ in range(10):
        response = await degrade(unknown)
        assert (response.text, response.attributes["level"]) == ("come back later", "sorry")
    known = await degrade(ASK)
    assert (known.text, known.attributes["level"]) == ("large", "known")
    assert degrade.level == "known"


async def test_the_last_levels_error_is_raised() -> None:
    """When even the last level fails, its error is raised, and that is no change of level."""
    degrade = Degrade(
        Switch("large", well=False), Switch("small", well=False), least_calls=1, clock=FakeClock()
    )
    heard: list[Any] = []
    with gp.listen(changes_into(heard)), pytest.raises(Overloaded, match="small"):
        await degrade(ASK)
    assert [event.level for event in heard] == ["small"]
    with pytest.raises(NotCached):
        await Degrade(Switch("large", well=False), cache_only, least_calls=1)(ASK)


async def test_degraded_answers_are_not_cached() -> None:
    """A cache around keeps answers of the first level alone."""
    clock = FakeClock()
    large = Switch("large", well=False)
    degrade = Degrade(large, Switch("small"), least_calls=1, probe_after=5, clock=clock)
    cached = gp.wrap(degrade, Cache(store=Memory(clock=clock), clock=clock))
    assert (await cached(ASK)).text == "small"
    large.error = None
    clock.advance(5)
    assert [(await cached(ASK)).text for _ in range(2)] == ["large", "large"]
    assert large.calls == 2


async def test_one_probe_at_a_time(clock: FakeClock) -> None:
    """While a probe is under way, other calls are answered by the current level."""
    calls = 0

    async def large(request: gp.Request) -> gp.Response:
        nonlocal calls
        calls += 1
        await clock.sleep(10)
        raise Overloaded

    degrade = Degrade(large, Switch("small"), least_calls=1, probe_after=1, clock=clock)
    await degrade(ASK)
    await clock.sleep(1)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(degrade, ASK)
    assert calls == 2


async def test_a_cancelled_call_counts_as_nothing(clock: FakeClock) -> None:
    """Cancelled at every wait, a call moves nothing, and the next may probe."""
    slow = Script(Overloaded, then="repeat", latency=1, clock=clock)

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        quick = Script("small", then="repeat", latency=1, clock=clock)
        degrade = Degrade(("l", slow), ("s", quick), least_calls=1, probe_after=1, clock=clock)
        await degrade(ASK)
        await clock.sleep(1)
        yield lambda: degrade(ASK)
        assert degrade.level == "s"
        await clock.sleep(5)
        before = slow.calls
        await degrade(ASK)
        assert slow.calls == before + 1

    assert await cancel_at_every_wait(scenario) == 2


async def test_canned_answers() -> None:
    """A canned answer is free and marked, made of the request if told, and must be a label."""
    response = await Canned(lambda request: request.prompt.upper())(ASK)
    assert response == gp.Response(
        "HELLO", usage=gp.Usage(cost=Decimal(0)), model="canned", attributes={"canned": True}
    )
    labelled = gp.Request("x", labels=["yes", "no"])
    assert (await Canned("no")(labelled)).text == "no"
    with pytest.raises(ConfigurationError, match="'maybe' is none of"):
        await Canned("maybe")(labelled)
    with pytest.raises(ConfigurationError, match="answer=3"):
        Canned(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional"):
        Canned("sorry", "closed")  # type: ignore[call-arg]


def _health(clock: FakeClock, levels: int = 3, **limits: Any) -> Health:
    given = {
        "failure_rate": 0.5,
        "least_calls": 1,
        "window": 10.0,
        "probe_after": 3.0,
        "max_probe_after": 12.0,
        "recover_after": 2,
    }
    return Health(levels, Thresholds(**{**given, **limits}), clock)


def test_failures_that_grew_old_are_taken_off_the_count() -> None:
    """After failures left the window, the rate is that of the calls within."""
    clock = FakeClock()
    health = _health(clock, least_calls=4, failure_rate=0.5)
    clock.advance(5)
    for _ in range(3):
        health.note(0, failed=True)
    clock.advance(10)
    assert not health.note(0, failed=True)
    for _ in range(2):
        health.note(0, failed=False)
    assert health.note(0, failed=True)
    assert health.level == 1


def test_failures_that_left_the_window_are_no_part_of_the_rate() -> None:
    """One failure of three is less than half, however many there were before."""
    clock = FakeClock()
    health = _health(clock, least_calls=3, failure_rate=0.5)
    clock.advance(5)
    for _ in range(2):
        health.note(0, failed=True)
    clock.advance(10)
    for failed in (False, False, True):
        assert not health.note(0, failed=failed)


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        ({"least_calls": 2, "failure_rate": 1}, [True]),
        ({"least_calls": 4, "failure_rate": 0.75}, [False, False, True, True]),
    ],
)
def test_a_level_begins_anew_whenever_it_is_come_to(limits: Any, calls: list[bool]) -> None:
    """What a level did before we left it upwards does not count when we come down to it again."""
    clock = FakeClock()
    health = _health(clock, recover_after=1, probe_after=1, **limits)
    for _ in range(limits["least_calls"]):
        health.note(0, failed=True)
    assert health.level == 1
    health.note(1, failed=True)
    clock.advance(1)
    health.begin_probe()
    assert health.end_probe("good")
    for _ in range(limits["least_calls"]):
        health.note(0, failed=True)
    for failed in calls:
        assert not health.note(1, failed=failed)
    assert health.level == 1


def test_a_probe_says_nothing_of_another_level() -> None:
    """When we went down while a probe was out, its end moves nothing, and the next one may go."""
    clock = FakeClock()
    for outcome in ("good", "bad"):
        health = _health(clock, recover_after=1)
        health.note(0, failed=True)
        clock.advance(3)
        assert health.begin_probe() == 0
        assert health.note(1, failed=True)
        assert not health.end_probe(outcome)
        assert health.level == 2
        clock.advance(3)
        assert health.begin_probe() == 1


def test_each_move_makes_probes_frequent_again() -> None:
    """After bad probes made them rare, one comes probe_after seconds after a move down or up."""
    clock = FakeClock()
    health = _health(clock, recover_after=1)

    def probe(outcome: Any) -> int | None:
        probed = health.begin_probe()
        if probed is not None:
            health.end_probe(outcome)
        return probed

    health.note(0, failed=True)
    clock.advance(3)
    assert probe("bad") == 0
    health.note(1, failed=True)
    clock.advance(3)
    assert probe("bad") == 1
    clock.advance(6)
    assert probe("bad") == 0
    clock.advance(12)
    assert probe("good") == 1
    clock.advance(3)
    assert probe("bad") == 0


def test_good_probes_of_before_do_not_count_after_going_down() -> None:
    """Each level that we left has to earn its return from the beginning."""
    clock = FakeClock()
    health = _health(clock, recover_after=2)
    health.note(0, failed=True)
    clock.advance(3)
    health.begin_probe()
    health.end_probe("good")
    health.note(1, failed=True)
    clock.advance(3)
    assert health.begin_probe() == 1
    assert not health.end_probe("good")
    assert health.begin_probe() == 1
    assert health.end_probe("good")


def test_good_probes_must_come_in_a_row() -> None:
    """A bad probe between good ones makes the count begin anew."""
    clock = FakeClock()
    health = _health(clock, levels=2)
    health.note(0, failed=True)
    moves = []
    for outcome in ("good", "bad", "good", "good"):
        clock.advance(12)
        assert health.begin_probe() == 0
        moves.append(health.end_probe(outcome))
    assert moves == [False, False, False, True]
    assert health.level == 0


def test_half_the_way_up_the_rest_is_probed_from_there() -> None:
    """Come up to a middle level, it is probe_after until the next higher one is tried."""
    clock = FakeClock()
    health = _health(clock, levels=4, recover_after=1)
    for level in range(3):
        health.note(level, failed=True)
    clock.advance(3)
    assert health.begin_probe() == 2
    assert health.end_probe("good")
    assert health.level == 2
    clock.advance(2.9)
    assert health.begin_probe() is None
    clock.advance(0.1)
    assert health.begin_probe() == 1
    assert health.end_probe("good")
    clock.advance(3)
    assert health.begin_probe() == 0
    assert health.end_probe("good")
    clock.advance(1000)
    assert health.begin_probe() is None


def test_a_bad_probe_without_a_wish_waits_twice_as_long() -> None:
    """The pause doubles from probe_after, and no wait of nobody's asking is added."""
    clock = FakeClock()
    health = _health(clock, levels=2, probe_after=0.25)
    health.note(0, failed=True)
    clock.advance(0.25)
    assert health.begin_probe() == 0
    health.end_probe("bad")
    clock.advance(0.5)
    assert health.begin_probe() == 0


class HealthMachine(RuleBasedStateMachine):
    """Any sequence of outcomes, probes and passing time keeps the laws of levels."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        limits = Thresholds(
            failure_rate=0.5,
            least_calls=2,
            window=10,
            probe_after=3,
            max_probe_after=12,
            recover_after=2,
        )
        self.health = Health(3, limits, self.clock)
        self.probe: int | None = None
        self.moved_down_at = 0.0

    @rule(level=st.integers(0, 2), failed=st.booleans())
    def call(self, level: int, failed: bool) -> None:
        before = self.health.level
        moved = self.health.note(level, failed=failed)
        assert self.health.level == before + moved
        if moved:
            assert (level, failed) == (before, True)
            self.moved_down_at = self.clock.now()

    @rule()
    def begin(self) -> None:
        probe = self.health.begin_probe()
        if self.probe is not None:
            assert probe is None
        elif probe is not None:
            assert 0 <= probe < self.health.level
            assert self.clock.now() >= self.moved_down_at + 3
            self.probe = probe

    @rule(outcome=st.sampled_from(["good", "bad", "none"]), wait=st.none() | st.integers(0, 99))
    def end(self, outcome: Any, wait: int | None) -> None:
        if self.probe is None:
            return
        before = self.health.level
        moved = self.health.end_probe(outcome, wait)
        assert moved == (self.health.level != before)
        if moved:
            assert outcome == "good"
            assert self.health.level < before
        self.probe = None

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def a_probe_comes_in_time(self) -> None:
        if self.health.level and self.probe is None:
            assert self.health._probe_at <= self.clock.now() + 12


TestHealth = HealthMachine.TestCase


@pytest.mark.parametrize(
    ("levels", "options", "named"),
    [
        ([], {}, "levels="),
        ([print], {}, "levels="),
        ([print, print], {}, "levels="),
        ([print, 3], {}, r"levels\[1\]=3"),
        ([print, ("a",)], {}, r"levels\[1\]"),
        ([print, ("", print)], {}, r"levels\[1\]"),
        ([print, Script], {}, r"levels\[1\]"),
        ([print, input], {"on": 3}, "on=3"),
        ([print, input], {"failure_rate": 0}, "failure_rate=0"),
        ([print, input], {"failure_rate": 1.5}, "failure_rate=1.5"),
        ([print, input], {"failure_rate": True}, "failure_rate=True"),
        ([print, input], {"failure_rate": "half"}, "failure_rate='half'"),
        ([print, input], {"least_calls": 0}, "least_calls=0"),
        ([print, input], {"recover_after": 0}, "recover_after=0"),
        ([print, input], {"window": 0}, "window=0"),
        ([print, input], {"probe_after": 0}, "probe_after=0"),
        ([print, input], {"max_probe_after": 1}, "max_probe_after=1"),
    ],
)
def test_wrong_options_are_named(levels: list[Any], options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Degrade(*levels, **options)


def test_limits_of_options_are_allowed() -> None:
    """All calls may have to fail, and probes need not grow rare."""
    Degrade(Canned("a", name="a"), Canned("b", name="b"), failure_rate=1, least_calls=1)
    Degrade(Canned("a", name="a"), Canned("b", name="b"), probe_after=9, max_probe_after=9)
