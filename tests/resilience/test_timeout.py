"""`Timeout` limits attempts, `Deadline` whole calls, and neither outlives the caller."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.errors import AttemptTimeout, DeadlineExceeded, Overloaded, RateLimited
from genai_pipeline.resilience import Deadline, Timeout
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import current_deadline, deadline_at

from .cancelling import Call, cancel_at_every_wait
from .flaky import Flaky, cycle, retry

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("policy", "error"), [(Timeout, AttemptTimeout), (Deadline, DeadlineExceeded)]
)
async def test_a_slow_call_is_cut_off(
    clock: FakeClock, policy: Any, error: type[Exception]
) -> None:
    """The call ends when its seconds are over, not before and not after."""
    quick = gp.wrap(Flaky(clock, "fine", takes=4.99), policy(5, clock=clock))
    assert await quick("prompt") == "fine"
    slow = gp.wrap(Flaky(clock, "fine", takes=5.01), policy(5, clock=clock))
    with pytest.raises(error, match="longer than 5 s"):
        await slow("prompt")
    assert clock.now() == 9.99


async def test_the_three_timeouts_are_distinct(clock: FakeClock) -> None:
    """Behaviour 23: an attempt's, the call's and the provider's own are three different types."""
    own = TimeoutError("the socket timed out")
    stack = gp.wrap(Flaky(clock, own), Deadline(9, clock=clock), Timeout(5, clock=clock))
    with pytest.raises(TimeoutError) as raised:
        await stack("prompt")
    assert raised.value is own
    kinds = (AttemptTimeout, DeadlineExceeded, TimeoutError)
    for kind in kinds:
        assert not any(issubclass(kind, other) for other in kinds if other is not kind)
    assert errors.classify(AttemptTimeout()) == "transient"


async def test_each_attempt_has_its_own_time(clock: FakeClock) -> None:
    """Inside of `Retry` every attempt gets the whole timeout, and an attempt cut off is retried."""
    model = Flaky(clock, "fine", takes=60)
    stack = gp.wrap(model, retry(clock), Timeout(10, clock=clock))
    with pytest.raises(AttemptTimeout):
        await stack("prompt")
    assert model.times == [0, 10.5, 21.5]
    assert clock.now() == 31.5


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_the_callers_deadline_holds(clock: FakeClock, policy: Any) -> None:
    """A call never outlives its caller; the caller's own deadline is what it raises."""
    slow = gp.wrap(Flaky(clock, "fine", takes=60), policy(10, clock=clock))
    with deadline_at(3), pytest.raises(DeadlineExceeded, match="caller"):
        await slow("prompt")
    assert clock.now() == 3


async def test_at_the_same_time_the_caller_comes_first(clock: FakeClock) -> None:
    """An attempt that ends with the caller's time is not retried."""
    slow = gp.wrap(Flaky(clock, "fine", takes=60), Timeout(10, clock=clock))
    with deadline_at(10), pytest.raises(DeadlineExceeded):
        await slow("prompt")


async def test_a_deadline_names_itself_unless_the_callers_is_earlier(clock: FakeClock) -> None:
    """The message says whose time was over; at the same moment the inner one's."""
    slow = gp.wrap(Flaky(clock, "fine", takes=60), Deadline(10, clock=clock))
    with deadline_at(10), pytest.raises(DeadlineExceeded, match="longer than 10 s"):
        await slow("prompt")
    with deadline_at(19.9), pytest.raises(DeadlineExceeded, match="caller"):
        await slow("prompt")


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_nothing_begins_after_the_deadline(clock: FakeClock, policy: Any) -> None:
    """When the caller's time is over, the handler is not called, and nothing is paid."""
    model = Flaky(clock, "fine")
    for passed in (0, -5):
        with deadline_at(passed), pytest.raises(DeadlineExceeded, match="began"):
            await gp.wrap(model, policy(10, clock=clock))("prompt")
    assert not model.calls


async def test_a_deadline_is_passed_down(clock: FakeClock) -> None:
    """Everything below a `Deadline` can ask for it; the earliest of several counts, and ends."""
    seen: list[float] = []

    async def look(value: object) -> None:
        seen.append(current_deadline())

    await gp.wrap(look, Deadline(9, clock=clock))("prompt")
    await gp.wrap(look, Deadline(9, clock=clock), Deadline(20, clock=clock))("prompt")
    await gp.wrap(look, Deadline(9, clock=clock), Deadline(4, clock=clock))("prompt")
    assert seen == [9, 9, 4]
    assert current_deadline() == float("inf")


async def test_a_wait_past_the_deadline_fails_at_once(clock: FakeClock) -> None:
    """Below a `Deadline`, a hint that does not fit raises the provider's error at once."""
    model = Flaky(clock, RateLimited("slow down", retry_after=30))
    with pytest.raises(RateLimited):
        await gp.wrap(model, Deadline(20, clock=clock), retry(clock))("prompt")
    assert clock.now() == 0


@settings(max_examples=60, deadline=None)
@given(
    failures=st.lists(
        st.sampled_from([Overloaded, RateLimited, errors.Rejected]).flatmap(
            lambda kind: st.builds(kind, st.just(""), retry_after=st.none() | st.floats(0, 20))
        ),
        max_size=8,
    ),
    takes=st.floats(0.01, 8),
    chances=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4),
    limit=st.floats(0.5, 40),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_the_total_holds_for_any_mix(
    failures: list[Exception],
    takes: float,
    chances: list[float],
    limit: float,
    backend: str,
) -> None:
    """Behaviour 22: attempts, backoffs, hints and timeouts together never pass the deadline."""

    async def play() -> None:
        async with FakeClock() as clock:
            stack = gp.wrap(
                Flaky(clock, *failures, "fine", takes=takes),
                Deadline(limit, clock=clock),
                retry(clock, attempts=9, random=cycle(chances)),
                Timeout(5, clock=clock),
            )
            try:
                await stack("prompt")
            except errors.PipelineError:
                pass
            assert clock.now() <= limit + 1e-9

    anyio.run(play, backend=backend)


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_a_result_that_is_there_is_answered(clock: FakeClock, policy: Any) -> None:
    """Behaviour 24: an answer found after the time but before any wait is answered, not lost."""

    async def computes(value: str) -> str:
        await clock.sleep(1)
        clock.advance(100)  # as work without any wait would
        return value

    assert await gp.wrap(computes, policy(5, clock=clock))("paid for") == "paid for"


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_no_answer_is_an_answer_too(clock: FakeClock, policy: Any) -> None:
    """A handler that answers `None`, as a sink does, was in time."""
    assert await gp.wrap(Flaky(clock, None, takes=1), policy(5, clock=clock))("row") is None


@pytest.mark.parametrize(
    ("policy", "error"), [(Timeout, AttemptTimeout), (Deadline, DeadlineExceeded)]
)
async def test_cleanup_runs_to_its_end(
    clock: FakeClock, policy: Any, error: type[Exception]
) -> None:
    """Behaviour 25: cleanup that shields itself for a limited time runs, and is awaited."""
    closed: list[float] = []

    async def model(cleanup: float) -> None:
        try:
            await clock.sleep(60)
        finally:
            with clock.cancel_at(clock.now() + 3) as scope:
                scope.shield = True
                await clock.sleep(cleanup)
            closed.append(clock.now())

    for cleanup, ends in ((2.0, 7.0), (1000.0, 15.0)):
        with pytest.raises(error):
            await gp.wrap(model, policy(5, clock=clock))(cleanup)
        assert (clock.now(), closed.pop()) == (ends, ends)


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_an_error_on_the_way_out_is_told(clock: FakeClock, policy: Any) -> None:
    """An error raised while the attempt is cut off is not hidden behind the timeout."""

    async def model(value: object) -> None:
        try:
            await clock.sleep(60)
        finally:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        await gp.wrap(model, policy(5, clock=clock))("prompt")


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_cancellation_at_every_wait_reaches_its_scope(clock: FakeClock, policy: Any) -> None:
    """A cancelled call is neither an attempt that timed out nor a deadline that passed."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        async def model(value: str) -> str:
            for _ in range(3):
                await clock.sleep(1)
            return value

        before = current_deadline()
        yield lambda: gp.wrap(model, policy(5, clock=clock))("prompt")
        assert current_deadline() == before

    assert await cancel_at_every_wait(scenario) == 3


async def test_an_outer_scope_wins_over_an_inner_timeout(clock: FakeClock) -> None:
    """A caller's own cancel scope that ends first is what ends the call."""
    with clock.cancel_at(2) as scope:
        await gp.wrap(Flaky(clock, "fine", takes=60), Timeout(5, clock=clock))("prompt")
    assert scope.cancelled_caught
    assert clock.now() == 2


@pytest.mark.parametrize("policy", [Timeout, Deadline])
@pytest.mark.parametrize("wrong", [0, -1, float("inf"), "5", None])
def test_wrong_seconds_are_refused(policy: Any, wrong: Any) -> None:
    """A time that is no number above zero is refused where it is written."""
    with pytest.raises(errors.ConfigurationError, match="seconds="):
        policy(wrong)


@pytest.mark.parametrize("policy", [Timeout, Deadline])
def test_only_the_seconds_need_no_name(policy: Any) -> None:
    """Whatever else is given must be named, so that more options may come."""
    with pytest.raises(TypeError):
        policy(5, FakeClock())


async def test_the_stack_without_clocks_keeps_real_time() -> None:
    """Without a clock of their own the policies go by the real one."""
    began = time.monotonic()

    async def hangs(value: object) -> None:
        await anyio.sleep_forever()

    with pytest.raises(AttemptTimeout):
        await gp.wrap(hangs, Deadline(30), Timeout(0.02))("prompt")
    with pytest.raises(DeadlineExceeded):
        await gp.wrap(hangs, Deadline(0.02), Timeout(30))("prompt")
    assert 0.04 <= time.monotonic() - began < 5
