"""Virtual time behaves like time, only faster."""

from __future__ import annotations

import math
import time

import anyio
import anyio.to_thread
import pytest

from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio


async def test_an_hour_takes_a_moment(clock: FakeClock) -> None:
    """Sleeping an hour moves the clock by an hour and hardly takes real time."""
    began = time.monotonic()
    await clock.sleep(3600)
    assert clock.now() == 3600
    assert time.monotonic() - began < 5


async def test_sleepers_wake_in_the_order_of_their_times(clock: FakeClock) -> None:
    """Whoever sleeps less wakes first, at its own time."""
    woken: list[tuple[float, float]] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now()))

    async with anyio.create_task_group() as group:
        for seconds in (5.0, 1.0, 3.0, 1.0):
            group.start_soon(sleeper, seconds)
    assert woken == [(1.0, 1.0), (1.0, 1.0), (3.0, 3.0), (5.0, 5.0)]


async def test_a_scope_is_cancelled_at_its_deadline(clock: FakeClock) -> None:
    """``cancel_at`` cuts a wait short when the clock reaches the deadline, not before."""
    with clock.cancel_at(clock.now() + 10) as scope:
        await clock.sleep(60)
    assert scope.cancelled_caught
    assert clock.now() == 10
    with clock.cancel_at(clock.now() + 10) as scope:
        await clock.sleep(9)
    assert not scope.cancelled_caught


async def test_a_deadline_can_be_moved(clock: FakeClock) -> None:
    """``postpone`` lets a scope end later, earlier or never than it was told at first."""
    for first, then, ends in ((5, 20, 20), (20, 5, 5), (5, math.inf, 60), (math.inf, 5, 5)):
        began = clock.now()
        with clock.cancel_at(began + first) as scope:
            clock.postpone(scope, began + then)
            await clock.sleep(60)
        assert clock.now() - began == ends
        assert scope.cancelled_caught is (ends < 60)


async def test_a_scope_without_end_never_fires(clock: FakeClock) -> None:
    """An infinite deadline is none."""
    with clock.cancel_at(math.inf) as scope:
        await clock.sleep(10**6)
    assert not scope.cancelled_caught


async def test_a_deadline_in_the_past_cancels_at_once(clock: FakeClock) -> None:
    """A deadline that has passed cancels at the first wait."""
    with clock.cancel_at(clock.now() - 1) as scope:
        await clock.sleep(1)
    assert scope.cancelled_caught
    assert clock.now() == 0


async def test_working_tasks_hold_the_time(clock: FakeClock) -> None:
    """Time does not jump while a task still has something to do."""
    steps = 0

    async def worker() -> None:
        nonlocal steps
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
            steps += 1

    async with anyio.create_task_group() as group:
        group.start_soon(worker)
        await clock.sleep(1)
        assert steps == 50


async def test_a_cushion_lets_threads_finish_first(anyio_backend: str) -> None:
    """With a cushion, time waits for a short call in a thread."""
    async with FakeClock(cushion=0.05) as clock:

        async def threaded() -> float:
            await anyio.to_thread.run_sync(lambda: None)
            return clock.now()

        async with anyio.create_task_group() as group:
            group.start_soon(clock.sleep, 100)
            assert await threaded() == 0


def test_advance_wakes_what_is_due() -> None:
    """Outside an event loop the clock moves by hand."""
    clock = FakeClock(start=5)
    clock.advance(2)
    assert clock.now() == 7
    assert clock.wall() == 1_800_000_002


def test_the_wall_may_jump() -> None:
    """Setting the wall clock leaves the monotonic one alone."""
    clock = FakeClock()
    clock.jump_wall(-3600)
    assert clock.now() == 0
    assert clock.wall() == 1_800_000_000 - 3600


async def test_the_body_raises_its_own_error(anyio_backend: str) -> None:
    """An error in the ``with`` block comes out as it is, not in a group."""
    with pytest.raises(KeyError):
        async with FakeClock():
            raise KeyError("x")


async def test_real_time_sleeps_and_cancels(anyio_backend: str) -> None:
    """The system clock cuts a wait short too."""
    clock = SystemClock()
    began = clock.now()
    with clock.cancel_at(clock.now() + 0.01) as scope:
        await clock.sleep(60)
    assert scope.cancelled_caught
    assert 0.009 <= clock.now() - began < 30
    assert abs(clock.wall() - time.time()) < 60
    with clock.cancel_at(math.inf) as scope:
        clock.postpone(scope, clock.now() + 0.01)
        await clock.sleep(60)
    assert scope.cancelled_caught


@pytest.mark.parametrize("clock", [SystemClock(), FakeClock()], ids=repr)
def test_both_are_clocks(clock: Clock) -> None:
    """Both clocks have what the protocol asks for."""
    assert isinstance(clock, Clock)
