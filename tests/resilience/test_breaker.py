"""The circuit breaker: when it opens, whom it lets through, and when it closes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import (
    AttemptTimeout,
    AuthenticationFailed,
    CircuitOpen,
    ConnectionFailed,
    InvalidAnswer,
    InvalidRequest,
    Overloaded,
    RateLimited,
    Throttled,
)
from genai_pipeline.events import listen
from genai_pipeline.resilience import (
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitListener,
    CircuitOpened,
    is_outage,
)
from genai_pipeline.testing import FakeClock

from .calls import Heard, answer, breaker_on, end, refused_for, state, trip
from .cancelling import Call, cancel_at_every_wait

DOWN = Overloaded("down")


# When it opens.


def test_opens_at_min_calls_and_not_one_call_earlier() -> None:
    """6: with ten calls needed, nine failures leave it closed and the tenth outcome opens it."""
    for last in (DOWN, None):
        breaker = breaker_on(FakeClock(), min_calls=10, consecutive=100)
        end(breaker, *[DOWN] * 9)
        assert state(breaker) == "closed"
        end(breaker, last)
        assert state(breaker) == "open"


def test_rate_of_a_half_with_a_window_of_four_needs_two() -> None:
    """6: one failure of four is too few, two of four open it."""
    breaker = breaker_on(FakeClock(), window=4, min_calls=4, failure_rate=0.5)
    end(breaker, None, None, None, DOWN)
    assert state(breaker) == "closed"
    end(breaker, None, DOWN)
    assert state(breaker) == "open"


@pytest.mark.parametrize(("rate", "failures", "calls"), [(0.55, 11, 20), (0.07, 7, 100)])
def test_rate_is_reached_exactly(rate: float, failures: int, calls: int) -> None:
    """A share of failures that equals the rate opens it, whatever floats make of the product."""
    breaker = breaker_on(FakeClock(), min_calls=calls, failure_rate=rate, consecutive=1000)
    end(breaker, *[None] * (calls - failures), *[DOWN] * (failures - 1))
    assert state(breaker) == "closed"
    end(breaker, DOWN)
    assert state(breaker) == "open"


def test_calls_leave_the_window_by_number_and_by_age() -> None:
    """What is older than the window of calls or of seconds counts no more."""
    clock = FakeClock()
    breaker = breaker_on(clock, window=4, min_calls=4, window_seconds=60)
    end(breaker, DOWN, None, None, None, None)  # the failure has left
    end(breaker, DOWN)
    assert state(breaker) == "closed"
    clock.advance(59.9)
    end(breaker, None)
    clock.advance(0.1)  # all but the last good one have left
    end(breaker, DOWN, DOWN)
    assert state(breaker) == "closed"
    end(breaker, DOWN)
    assert state(breaker) == "open"


def test_failures_in_a_row_open_it_however_slowly_they_come() -> None:
    """Ten failures in a row open it though each is alone in its window; an answer starts anew."""
    clock = FakeClock()
    breaker = breaker_on(clock, consecutive=10, min_calls=100)
    for failures in (9, 9, 10):
        end(breaker, None)
        for _ in range(failures):
            assert state(breaker) == "closed"
            end(breaker, DOWN)
            clock.advance(120)
    assert state(breaker) == "open"


def test_opens_by_its_rules_alone() -> None:
    """However many failures there are, too few in a row and for a rate do not open it."""
    breaker = breaker_on(FakeClock(), window=400, min_calls=400, consecutive=300)
    end(breaker, *[DOWN] * 299)
    assert state(breaker) == "closed"


def slow_calls(breaker: CircuitBreaker, clock: FakeClock, *calls: tuple[float, Any]) -> None:
    """Make calls that take so many seconds and end so."""
    for seconds, error in calls:
        admission = breaker.admit()
        clock.advance(seconds)
        admission.settle(error)


def test_slow_calls_alone_open_it() -> None:
    """8: eight of ten calls that took longer than allowed open it; just that long is fine."""
    clock = FakeClock()
    breaker = breaker_on(clock, slow_after=2, slow_rate=0.8, min_calls=10)
    slow_calls(breaker, clock, *[(2, None)] * 2, *[(2.1, None)] * 7)
    assert state(breaker) == "closed"
    slow_calls(breaker, clock, (2.1, None))
    assert state(breaker) == "open"


def test_a_slow_failure_counts_once_in_each_rate() -> None:
    """8: calls that are slow and failed are one call each: five of ten reach half, not all."""
    clock = FakeClock()
    heard = Heard()
    breaker = breaker_on(clock, slow_after=2, slow_rate=0.6, failure_rate=0.6, consecutive=99)
    with listen(heard):
        slow_calls(breaker, clock, *[(1, None)] * 4, *[(3, DOWN)] * 5)
        assert state(breaker) == "closed"
        slow_calls(breaker, clock, (3, DOWN))
    assert heard == [
        CircuitOpened(name="circuit", seconds=15, reason="6 of the last 10 calls failed")
    ]


def test_a_failure_is_slow_only_when_it_took_long() -> None:
    """Failures that come late count as slow calls, quick ones do not."""
    for seconds, expected in ((3, "open"), (1, "closed")):
        clock = FakeClock()
        breaker = breaker_on(clock, slow_after=2, slow_rate=0.5, failure_rate=1, consecutive=99)
        slow_calls(breaker, clock, *[(1, None)] * 5, *[(seconds, DOWN)] * 5)
        assert state(breaker) == expected


@pytest.mark.anyio
async def test_slow_calls_through_the_middleware_open_it(clock: FakeClock) -> None:
    """What is slow is the call itself, from its begin to its answer, at whatever time of day."""
    breaker = breaker_on(clock, slow_after=2, slow_rate=1, window=3, min_calls=3)

    async def callee(seconds: float) -> float:
        await clock.sleep(seconds)
        return seconds

    clock.advance(1000)
    model = gp.wrap(callee, breaker)
    for seconds in (3, 3, 2):
        assert await model(seconds) == seconds
    assert state(breaker) == "closed"
    for _ in range(3):
        await model(2.5)
    assert state(breaker) == "open"


def test_slowness_counts_only_when_asked_for() -> None:
    """Without slow_after no call is slow."""
    clock = FakeClock()
    breaker = breaker_on(clock)
    slow_calls(breaker, clock, *[(50, None)] * 200)
    assert state(breaker) == "closed"


# What counts.

ILL = [DOWN, ConnectionFailed("reset"), AttemptTimeout("10 s"), gp.Transient("503"), TimeoutError()]
ANSWERED = [gp.Truncated("cut"), gp.Refused("no")]
SILENT = [
    RateLimited("429"),
    InvalidRequest("400"),
    InvalidAnswer("not JSON"),
    gp.DataError("bad row"),
    AuthenticationFailed("401"),
    gp.DeadlineExceeded("late"),
    Throttled("by a policy inside"),
    KeyError("a bug"),
]


def test_business_errors_and_rate_limits_do_not_open_it() -> None:
    """11: however many requests are wrong, refused, cut or too many, the circuit stays closed."""
    breaker = breaker_on(FakeClock())
    end(breaker, *(SILENT + ANSWERED) * 50)
    assert state(breaker) == "closed"


@pytest.mark.parametrize("error", ILL, ids=repr)
def test_outages_open_it(error: Exception) -> None:
    """11: server errors, broken connections and attempts without an answer in time open it."""
    breaker = breaker_on(FakeClock())
    end(breaker, *[error] * 10)
    assert state(breaker) == "open"


@pytest.mark.parametrize(
    ("error", "ill"),
    [(e, True) for e in ILL] + [(e, False) for e in ANSWERED] + [(e, None) for e in SILENT[:-2]],
    ids=repr,
)
def test_default_classes(error: Exception, ill: bool | None) -> None:
    """An error says that the callee is ill, that it answered, or nothing."""
    assert is_outage(error) is ill


def test_what_says_nothing_is_no_part_of_a_rate() -> None:
    """Ninety wrong requests do not hide that all others fail, and prove no health in between."""
    breaker = breaker_on(FakeClock(), min_calls=6, consecutive=100)
    end(breaker, *[RateLimited("429"), *[InvalidRequest("400")] * 15, DOWN] * 5)
    assert state(breaker) == "closed"
    end(breaker, DOWN)
    assert state(breaker) == "open"


def test_counts_decides_what_counts() -> None:
    """A hook makes any error a failure, an answer, or nothing; refusals never reach it."""
    asked: list[Exception] = []

    def counts(error: Exception) -> bool | None:
        asked.append(error)
        return {KeyError: True, ValueError: False}.get(type(error))

    breaker = breaker_on(FakeClock(), counts=counts, consecutive=3)
    refusal = CircuitOpen("of another")
    end(breaker, KeyError(), KeyError(), ValueError(), refusal, KeyError(), KeyError(), DOWN)
    assert state(breaker) == "closed"
    end(breaker, KeyError())
    assert state(breaker) == "open"
    assert refusal not in asked


def test_a_hook_that_raises_keeps_no_permit() -> None:
    """An error in the hook reaches the caller, and the probe's permit is free again."""
    clock = FakeClock()

    def counts(error: Exception) -> bool:
        if isinstance(error, ZeroDivisionError):
            raise LookupError("hook")
        return True

    breaker = breaker_on(clock, counts=counts)
    trip(breaker)
    clock.advance(15)
    probe = breaker.admit()
    with pytest.raises(LookupError, match="hook"):
        probe.settle(ZeroDivisionError())
    end(breaker, None, None)
    assert state(breaker) == "closed"


# While it is open.


@pytest.mark.anyio
async def test_open_refuses_without_calling(clock: FakeClock) -> None:
    """An open circuit raises at once, says for how long, and the callee hears nothing."""
    calls = 0

    async def callee(value: str) -> str:
        nonlocal calls
        calls += 1
        raise DOWN

    model = gp.wrap(callee, breaker_on(clock, name="tiny-1"))
    for _ in range(10):
        with pytest.raises(Overloaded):
            await model("x")
    clock.advance(5)
    with pytest.raises(
        CircuitOpen, match="tiny-1 is open for another 10 s: 10 calls in a row failed"
    ) as caught:
        await model("x")
    assert (calls, caught.value.retry_after, caught.value.waits_for) == (10, 10, "breaker")


@pytest.mark.anyio
async def test_answers_and_errors_pass_unchanged(clock: FakeClock) -> None:
    """The caller gets the very answer and the very error, with the traceback of the callee."""
    breaker = breaker_on(clock, listeners=[CircuitListener()])
    assert await gp.wrap(answer, breaker)("yes") == "YES"
    raised = Overloaded("as it was")

    async def fail(value: str) -> str:
        raise raised

    with pytest.raises(Overloaded) as caught:
        await gp.wrap(fail, breaker)("no")
    assert caught.value is raised
    assert caught.value.__context__ is None
    assert [entry.name for entry in caught.traceback][1:] == ["__call__", "fail"]


def test_opens_for_longer_each_time_up_to_a_cap() -> None:
    """Each opening in a row lasts one more open_for, until the cap; closing starts anew."""
    clock = FakeClock()
    breaker = breaker_on(clock, open_for=15, open_for_max=40)
    trip(breaker)
    for seconds in (15, 30, 40, 40):
        assert refused_for(breaker.admit) == seconds
        clock.advance(seconds - 0.25)
        assert refused_for(breaker.admit) == 0.25
        clock.advance(0.25)
        end(breaker, DOWN)
    clock.advance(40)
    end(breaker, None, None)
    trip(breaker)
    assert refused_for(breaker.admit) == 15


def test_open_time_varies_by_the_jitter() -> None:
    """The random number 0 gives the shortest time, 1 the longest, one half the middle."""
    for number, seconds in ((0.0, 12.0), (0.5, 15.0), (1.0, 18.0)):
        breaker = breaker_on(FakeClock(), jitter=0.2, random=lambda number=number: number)
        trip(breaker)
        assert refused_for(breaker.admit) == pytest.approx(seconds)


def test_keeps_open_as_long_as_the_server_asks() -> None:
    """A Retry-After on the failure that opens it is obeyed, up to the cap."""
    for hint, seconds in ((5.0, 15), (120.0, 120), (4000.0, 300), (None, 15)):
        breaker = breaker_on(FakeClock(), consecutive=1)
        end(breaker, Overloaded("503", retry_after=hint))
        assert refused_for(breaker.admit) == seconds
    breaker = breaker_on(FakeClock(), consecutive=1, open_for=0.25)
    end(breaker, DOWN)
    assert refused_for(breaker.admit) == 0.25  # nothing was asked for, and nothing is added


def test_wall_clock_jumps_change_nothing() -> None:
    """9: the open time is measured by the monotonic clock: setting the date does not matter."""
    clock = FakeClock()
    breaker = breaker_on(clock)
    trip(breaker)
    for jump in (10_000, -20_000):
        clock.jump_wall(jump)
        assert refused_for(breaker.admit) == 15
    clock.advance(15)
    end(breaker, None, None)
    assert state(breaker) == "closed"


# Half-open.


def test_half_open_lets_one_probe_through_at_a_time() -> None:
    """While the probe is out everybody else is refused; two good probes close the circuit."""
    clock = FakeClock()
    heard = Heard()
    with listen(heard):
        breaker = breaker_on(clock)
        trip(breaker)
        clock.advance(15)
        for _ in range(2):
            breaker.check()
            probe = breaker.admit()
            assert state(breaker) == "half-open"
            assert refused_for(breaker.check) == 1
            assert refused_for(breaker.admit) == 1
            probe.settle(None)
    assert state(breaker) == "closed"
    assert heard == [
        CircuitOpened(name="circuit", seconds=15, reason="10 calls in a row failed"),
        CircuitHalfOpened(name="circuit"),
        CircuitClosed(name="circuit"),
    ]


def test_more_permits_let_more_probes_through() -> None:
    """With three permits three probes are out at once, and a fourth call is refused."""
    clock = FakeClock()
    breaker = breaker_on(clock, permits=3, successes=3)
    trip(breaker)
    clock.advance(15)
    probes = [breaker.admit() for _ in range(3)]
    assert refused_for(breaker.admit) == 1
    probes[0].settle(RateLimited("429"))  # says nothing, and gives its permit back
    probes.append(breaker.admit())
    assert refused_for(breaker.admit) == 1
    for probe in probes[1:]:
        assert state(breaker) == "half-open"
        probe.settle(None)
    assert state(breaker) == "closed"


def test_a_bad_probe_opens_it_again() -> None:
    """A failed probe opens the circuit at once, however many were good before."""
    clock = FakeClock()
    breaker = breaker_on(clock, successes=3)
    trip(breaker)
    clock.advance(15)
    end(breaker, None, None, DOWN)
    assert state(breaker) == "open"
    assert refused_for(breaker.admit) == 30


def test_a_slow_probe_opens_it_again() -> None:
    """Where slowness counts, a slow answer is no sign of health."""
    clock = FakeClock()
    breaker = breaker_on(clock, slow_after=1)
    trip(breaker)
    clock.advance(15)
    slow_calls(breaker, clock, (1, None), (1.5, None))
    assert state(breaker) == "open"
    assert refused_for(breaker.admit) == 30


def test_errors_that_say_nothing_close_nothing() -> None:
    """A probe that was wrong, limited or refused inside neither closes nor opens the circuit."""
    clock = FakeClock()
    breaker = breaker_on(clock)
    trip(breaker)
    clock.advance(15)
    end(breaker, *SILENT * 3)
    assert state(breaker) == "half-open"
    end(breaker, *ANSWERED)
    assert state(breaker) == "closed"


def test_a_probe_that_never_ends_has_failed() -> None:
    """A permit that is kept for too long opens the circuit again, and its late end is dropped."""
    clock = FakeClock()
    breaker = breaker_on(clock, probe_for=60)
    trip(breaker)
    clock.advance(15)
    hanging = breaker.admit()
    clock.advance(59)
    assert refused_for(breaker.admit) == 1
    clock.advance(1)
    breaker.check()  # changes nothing, and a call would not have to queue in vain for long
    assert state(breaker) == "half-open"
    assert refused_for(breaker.admit) == 30
    hanging.settle(None)
    assert state(breaker) == "open"
    clock.advance(30)
    end(breaker, None)
    assert state(breaker) == "half-open"


def test_probes_that_come_and_go_do_not_hang() -> None:
    """The time that all permits are taken counts from the last probe that began."""
    clock = FakeClock()
    breaker = breaker_on(clock, probe_for=60, permits=2, successes=9)
    trip(breaker)
    clock.advance(15)
    breaker.admit()  # hangs
    for _ in range(5):
        probe = breaker.admit()
        clock.advance(40)
        assert refused_for(breaker.admit) == 1
        probe.settle(None)
        clock.advance(40)
    assert state(breaker) == "half-open"


# Cancellation and stragglers.


@pytest.mark.parametrize("counts", [is_outage, lambda _: True, lambda _: False])
def test_a_cancelled_call_counts_as_nothing(counts: Any) -> None:
    """What is no Exception is neither failure nor success, whatever counts one says."""
    clock = FakeClock()
    breaker = breaker_on(clock, consecutive=3, counts=lambda error: error is DOWN or counts(error))
    end(breaker, DOWN, DOWN, *[KeyboardInterrupt(), GeneratorExit()] * 9)
    assert state(breaker) == "closed"
    end(breaker, DOWN)
    assert state(breaker) == "open"
    clock.advance(15)
    end(breaker, *[KeyboardInterrupt()] * 9)
    assert state(breaker) == "half-open"
    end(breaker, None, None)
    assert state(breaker) == "closed"


@pytest.mark.anyio
async def test_cancelling_at_every_wait_keeps_no_permit(clock: FakeClock) -> None:
    """3: wherever a probe is cancelled, its scope catches it, and the next probe may go."""

    async def callee(value: str) -> str:
        await clock.sleep(1)
        await clock.sleep(0)
        return value

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        breaker = breaker_on(clock, successes=3)
        trip(breaker)
        clock.advance(15)
        model = gp.wrap(callee, breaker)
        yield lambda: model("x")
        assert state(breaker) == "half-open"
        assert await model("y") == "y"

    assert await cancel_at_every_wait(scenario) == 2


@pytest.mark.anyio
async def test_cancelling_the_call_that_would_trip_it(clock: FakeClock) -> None:
    """4: the tenth call in a row, cancelled instead of failed, is cancelled and trips nothing."""
    breaker = breaker_on(clock)

    async def callee(value: str) -> str:
        await clock.sleep(10)
        raise DOWN

    model = gp.wrap(callee, breaker)
    for _ in range(9):
        with pytest.raises(Overloaded):
            await model("x")
    with clock.cancel_at(clock.now() + 5) as scope:
        await model("x")
    assert scope.cancelled_caught
    assert state(breaker) == "closed"
    with pytest.raises(Overloaded):
        await model("x")
    assert state(breaker) == "open"


def test_stragglers_change_nothing() -> None:
    """5: calls that began before a change of state and end after it move no counter or state."""
    clock = FakeClock()
    heard = Heard()
    with listen(heard):
        breaker = breaker_on(clock)
        of_closed = [breaker.admit() for _ in range(40)]
        cancelled = breaker.admit()
        trip(breaker)
        clock.advance(5)
        for admission, error in zip(of_closed[:20], [DOWN, None] * 10, strict=True):
            admission.settle(error)
        assert refused_for(breaker.admit) == 10
        clock.advance(10)
        end(breaker, None)
        for admission, error in zip(of_closed[20:], [None, DOWN] * 10, strict=True):
            admission.settle(error)
        assert state(breaker) == "half-open"
        of_half_open = breaker.admit()
        cancelled.settle(KeyboardInterrupt())
        assert refused_for(breaker.admit) == 1
        breaker.force_open()
        breaker.force_close()
        of_half_open.settle(DOWN)
        end(breaker, *[DOWN] * 9)
        assert state(breaker) == "closed"
    names = ["CircuitOpened", "CircuitHalfOpened", "CircuitOpened", "CircuitClosed"]
    assert heard.names() == names


def test_an_admission_settles_once() -> None:
    """Settling twice counts once, so a stream may settle at its first token and at its end."""
    clock = FakeClock()
    breaker = breaker_on(clock, permits=2)
    trip(breaker)
    clock.advance(15)
    first, _second = breaker.admit(), breaker.admit()
    first.settle(None)
    first.settle(DOWN)
    assert state(breaker) == "half-open"
    breaker.admit()
    assert refused_for(breaker.admit) == 1


# By hand, and listeners.


def test_held_open_until_closed_by_hand() -> None:
    """An operator may refuse all calls for as long as it takes, and let them through again."""
    clock = FakeClock()
    heard = Heard()
    breaker = breaker_on(clock)
    with listen(heard):
        breaker.force_open()
        breaker.force_open()
        clock.advance(10**6)
        with pytest.raises(
            CircuitOpen, match="is open until an operator closes it: it was opened by hand"
        ) as caught:
            breaker.check()
        assert caught.value.retry_after is None
        breaker.force_close()
        breaker.force_close()
        end(breaker, None)
    assert state(breaker) == "closed"
    assert heard.names() == ["CircuitOpened", "CircuitClosed"]


def test_an_open_circuit_can_be_held_and_closed() -> None:
    """Holding an open circuit outlives its time; closing it needs no probe."""
    clock = FakeClock()
    breaker = breaker_on(clock)
    trip(breaker)
    breaker.force_open()
    clock.advance(15)
    assert refused_for(breaker.admit) is None
    breaker.force_close()
    trip(breaker)
    assert refused_for(breaker.admit) == 15
    clock.advance(15)
    end(breaker, None, None)  # nobody holds it any more
    assert state(breaker) == "closed"
    trip(breaker)
    breaker.force_close()
    end(breaker, *[DOWN] * 9)
    assert state(breaker) == "closed"


class Diary(CircuitListener):
    """A listener of pybreaker's that writes down what it hears, and may raise."""

    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[str] = []
        self._error = error

    def _note(self, what: str) -> None:
        self.heard.append(what)
        if self._error is not None:
            raise self._error

    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        self._note("call")

    def failure(self, cb: Any, exc: BaseException) -> None:
        self._note(f"failure {exc}")

    def success(self, cb: Any) -> None:
        self._note("success")

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._note(f"{cb.name}: {old_state.name} -> {new_state.name}")


def play_through(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """Answer, fail, open, probe badly, probe well, close."""
    end(breaker, None, KeyError("says nothing"), DOWN, DOWN)
    clock.advance(15)
    end(breaker, DOWN)
    clock.advance(30)
    end(breaker, None, None)


STORY = [
    *("call", "success"),
    *("call", "failure down"),
    *("call", "failure down", "circuit: closed -> open"),
    "circuit: open -> half-open",
    *("call", "failure down", "circuit: half-open -> open"),
    "circuit: open -> half-open",
    *("call", "success", "call", "circuit: half-open -> closed", "success"),
]


def test_listeners_of_pybreaker_hear_everything() -> None:
    """Each call that counts and each change of state reaches pybreaker's listeners in order."""
    clock = FakeClock()
    diary = Diary()
    play_through(breaker_on(clock, consecutive=2, listeners=[diary]), clock)
    assert diary.heard == STORY


def test_a_listener_that_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """10: the state still changes, other listeners hear all, and the caller notices nothing."""
    clock = FakeClock()
    raising, diary = Diary(RuntimeError("listener")), Diary()
    breaker = breaker_on(clock, consecutive=2, listeners=[raising, diary])
    with caplog.at_level(logging.ERROR, logger="genai_pipeline"):
        play_through(breaker, clock)
    assert state(breaker) == "closed"
    assert raising.heard == diary.heard == STORY
    assert len(caplog.records) == len(STORY)


# Sharing an instance, and its place in a stack.


@pytest.mark.anyio
async def test_who_shares_an_instance_shares_its_fate(clock: FakeClock) -> None:
    """Two handlers behind one breaker count together; a breaker of its own stays closed."""
    shared, own = breaker_on(clock), breaker_on(clock)

    async def fail(value: str) -> str:
        raise DOWN

    first, second, third = gp.wrap(fail, shared), gp.wrap(fail, shared), gp.wrap(fail, own)
    for model in (first, second, third) * 5:
        with pytest.raises(Overloaded):
            await model("x")
    for model in (first, second):
        with pytest.raises(CircuitOpen):
            await model("x")
    with pytest.raises(Overloaded):
        await third("x")


@pytest.mark.anyio
async def test_nobody_queues_for_what_is_down(clock: FakeClock) -> None:
    """check_first refuses before the queue; who queued meanwhile is refused after it."""
    breaker = breaker_on(clock)
    slots = anyio.Semaphore(1)
    queued: list[str] = []

    async def queue(value: str, call_next: gp.Handler[str, str]) -> str:
        queued.append(value)
        async with slots:
            return await call_next(value)

    async def callee(value: str) -> str:
        await clock.sleep(1)
        raise DOWN

    model = gp.wrap(callee, breaker.check_first, queue, breaker)
    ends: list[str] = []

    async def call(value: str) -> None:
        try:
            await model(value)
        except (Overloaded, CircuitOpen) as error:
            ends.append(type(error).__name__)

    async with anyio.create_task_group() as tasks:
        for number in range(15):
            tasks.start_soon(call, str(number))
    assert ends == ["Overloaded"] * 10 + ["CircuitOpen"] * 5
    await call("late")
    assert len(queued) == 15


@pytest.mark.anyio
async def test_check_first_passes_when_closed(clock: FakeClock) -> None:
    """A closed circuit lets calls go on to the queue, and gives back their answers."""
    assert await gp.wrap(answer, breaker_on(clock).check_first)("yes") == "YES"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_rate": 0}, "CircuitBreaker: failure_rate=0; give a number above 0"),
        ({"failure_rate": 1.1}, "failure_rate=1.1; give a number above 0, up to 1"),
        ({"slow_rate": -1}, "slow_rate=-1; give a number above 0"),
        ({"slow_after": 0}, "slow_after=0; give a number above 0"),
        ({"window": 0}, "window=0; give a whole number, 1 or more"),
        ({"window": 5}, "min_calls=10; give at most window=5"),
        ({"window_seconds": float("inf")}, "window_seconds=inf; give a number above 0"),
        ({"min_calls": 0}, "min_calls=0; give a whole number, 1 or more"),
        ({"consecutive": 0}, "consecutive=0; give a whole number, 1 or more"),
        ({"open_for": 0}, "open_for=0; give a number above 0"),
        ({"open_for_max": float("inf")}, "open_for_max=inf; give a number above 0"),
        ({"open_for": 301}, "open_for=301; give at most open_for_max=300"),
        ({"jitter": 1}, "jitter=1; give a share, 0 or more, below 1"),
        ({"jitter": -0.1}, "jitter=-0.1; give a share, 0 or more, below 1"),
        ({"permits": 0}, "permits=0; give a whole number, 1 or more"),
        ({"successes": 0}, "successes=0; give a whole number, 1 or more"),
        ({"probe_for": 0}, "probe_for=0; give a number above 0"),
        ({"share_every": 0}, "share_every=0; give a number above 0"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """An option out of its range is refused when the breaker is built."""
    with pytest.raises(gp.ConfigurationError) as caught:
        CircuitBreaker(**options)
    assert message in str(caught.value)


def test_limits_of_options_are_allowed() -> None:
    """The most of a share is all of it, and what may equal another option may equal it."""
    CircuitBreaker(failure_rate=1, slow_rate=1, jitter=0)
    CircuitBreaker(window=10, min_calls=10, open_for=300, open_for_max=300)
    CircuitBreaker(window=1, min_calls=1, consecutive=1, permits=1, successes=1)


def test_defaults_are_those_documented() -> None:
    """The defaults are a window of 100 calls or 60 s, half of at least ten, and one probe."""
    breaker = CircuitBreaker()
    shown = (
        "CircuitBreaker(name='circuit', failure_rate=0.5, slow_after=None, slow_rate=0.8,"
        " window=100, window_seconds=60.0, min_calls=10, consecutive=10, open_for=15.0,"
        " open_for_max=300.0, jitter=0.2, permits=1, successes=2, probe_for=300.0,"
    )
    assert repr(breaker).startswith(shown)
    assert state(breaker) == "closed"
