"""A bulkhead lets so many calls run at once, fairly, and never loses a slot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import BulkheadFull, ConfigurationError, DeadlineExceeded
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import Bulkhead, RateLimit, Retry
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import deadline_at

from .cancelling import Call, cancel_at_every_wait
from .moments import a_moment, run

pytestmark = pytest.mark.anyio


async def test_no_more_than_size_run_at_once(clock: FakeClock) -> None:
    """Of ten calls of a second each, a bulkhead of three runs three at a time, in four seconds."""
    running: list[int] = []
    now = 0

    async def work(value: int) -> int:
        nonlocal now
        now += 1
        running.append(now)
        await clock.sleep(1)
        now -= 1
        return value

    handler = gp.wrap(work, Bulkhead(3, clock=clock))
    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(run, handler, number)
    assert max(running) == 3
    assert clock.now() == 4


async def test_first_come_first_served(clock: FakeClock) -> None:
    """Calls get their slots in the order of asking, and one that comes late does not get ahead."""
    order: list[int] = []
    bulkhead = Bulkhead(1, clock=clock)

    async def work(value: int) -> None:
        order.append(value)
        await clock.sleep(1)

    handler = gp.wrap(work, bulkhead)
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(run, handler, number)
            await a_moment()
        await clock.sleep(1)
        group.start_soon(run, handler, 4)
    assert order == [0, 1, 2, 3, 4]


async def test_a_full_line_is_refused_at_once(clock: FakeClock) -> None:
    """37: with every slot and every place in line taken, the next call is refused in no time."""
    bulkhead = Bulkhead(2, queue=3, name="gpu", clock=clock)
    handler = gp.wrap(clock.sleep, bulkhead)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(run, handler, 10)
        await clock.sleep(1)
        assert (bulkhead.in_use, bulkhead.waiting) == (2, 3)
        with pytest.raises(BulkheadFull, match=r"^gpu: 2 calls run and 3 wait, the most that may$"):
            await handler(10)
        assert clock.now() == 1
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)


async def test_without_a_queue_nobody_waits(clock: FakeClock) -> None:
    """A bulkhead with queue=0 refuses the first call that finds no slot."""
    bulkhead = Bulkhead(1, queue=0, clock=clock)
    async with bulkhead.slot():
        with pytest.raises(BulkheadFull):
            await gp.wrap(clock.sleep, bulkhead)(1)


async def test_a_stream_waits_for_a_slot_as_a_call_does(clock: FakeClock) -> None:
    """Who holds a slot over a block waits in line for it, and is refused when the line is full."""
    bulkhead = Bulkhead(1, queue=1, clock=clock)
    order: list[str] = []

    async def stream(name: str) -> None:
        async with bulkhead.slot():
            order.append(name)
            await clock.sleep(10)

    async with anyio.create_task_group() as group:
        for name in ("first", "second"):
            group.start_soon(stream, name)
            await a_moment()
        assert (order, bulkhead.in_use, bulkhead.waiting) == (["first"], 1, 1)
        with pytest.raises(BulkheadFull):
            await stream("third")
    assert (order, clock.now(), bulkhead.in_use) == (["first", "second"], 20, 0)


async def test_nobody_waits_past_the_deadline(clock: FakeClock) -> None:
    """A call that waits is told DeadlineExceeded at its deadline, and leaves the line."""
    bulkhead = Bulkhead(1, clock=clock)
    async with bulkhead.slot():
        with deadline_at(5), pytest.raises(DeadlineExceeded, match="no slot was free before"):
            await gp.wrap(clock.sleep, bulkhead)(0)
        assert clock.now() == 5
        assert bulkhead.waiting == 0
        with deadline_at(5), pytest.raises(DeadlineExceeded, match="deadline passed before"):
            await gp.wrap(clock.sleep, bulkhead)(0)
    assert bulkhead.in_use == 0


async def test_waiting_is_told(clock: FakeClock) -> None:
    """A call that waited tells for how long; one that did not tells nothing."""
    heard: list[Any] = []
    handler = gp.wrap(clock.sleep, Bulkhead(1, name="gpu", clock=clock))
    clock.advance(100)
    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(run, handler, 3)
            await a_moment()
            group.start_soon(run, handler, 1)
    assert heard == [PolicyWaited(kind="queue", name="gpu", seconds=3)]


async def test_a_failure_gives_the_slot_back(clock: FakeClock) -> None:
    """A call that raises gives its slot back, and its error goes through."""
    bulkhead = Bulkhead(1, clock=clock)

    async def fail(value: int) -> None:
        raise ValueError(value)

    with pytest.raises(ValueError, match="7"):
        await gp.wrap(fail, bulkhead)(7)
    assert bulkhead.in_use == 0


async def test_one_task_may_hold_several_slots() -> None:
    """Slots belong to no task: one task holds two, and they are given back in any order."""
    bulkhead = Bulkhead(2)
    first, second = bulkhead.slot(), bulkhead.slot()
    await first.__aenter__()
    await second.__aenter__()
    assert bulkhead.in_use == 2
    await first.__aexit__(None, None, None)
    await second.__aexit__(None, None, None)
    assert bulkhead.in_use == 0


async def test_a_stream_holds_its_slot_until_it_is_closed(clock: FakeClock) -> None:
    """37: a slot taken for a stream is held until the stream is closed."""
    bulkhead = Bulkhead(1, clock=clock)

    @asynccontextmanager
    async def stream() -> AsyncIterator[str]:
        async with bulkhead.slot():
            yield "chunk"

    began: list[float] = []

    async def note(value: int) -> None:
        began.append(clock.now())

    async with anyio.create_task_group() as group, stream():
        group.start_soon(run, gp.wrap(note, bulkhead), 1)
        await clock.sleep(9)
        assert not began
    assert began == [9]


async def test_no_slot_is_held_during_back_off_or_quota_wait(clock: FakeClock) -> None:
    """37: behind Retry and RateLimit, a call that backs off or waits for quota holds no slot."""
    bulkhead = Bulkhead(1, clock=clock)
    held: list[int] = []
    calls = 0

    async def flaky(value: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise gp.errors.Overloaded("busy", retry_after=20)
        return value

    model = gp.wrap(
        flaky,
        Retry(on=gp.Transient, clock=clock),
        RateLimit(requests=1, per=60, clock=clock),
        bulkhead,
    )

    async def watch() -> None:
        for _ in range(50):
            await clock.sleep(1)
            held.append(bulkhead.in_use)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(run, model, 1)
    assert clock.now() == pytest.approx(60), "one request a minute"
    assert max(held) == 0


async def test_cancelling_loses_no_slot(clock: FakeClock) -> None:
    """A call cancelled in line or at work leaves no slot taken and nobody in line."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        bulkhead = Bulkhead(1, clock=clock)
        handler = gp.wrap(clock.sleep, bulkhead)
        async with anyio.create_task_group() as group:
            group.start_soon(run, handler, 1)
            await a_moment()
            yield partial(run, handler, 1)
        assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)

    assert await cancel_at_every_wait(scenario) == 2


async def test_who_gives_up_in_line_lets_nobody_in(clock: FakeClock) -> None:
    """The others keep their places, and wait for a slot as before."""
    bulkhead = Bulkhead(1, clock=clock)
    began: list[tuple[int, float]] = []

    async def work(value: int) -> None:
        began.append((value, clock.now()))
        await clock.sleep(10)

    handler = gp.wrap(work, bulkhead)

    async def patient_for(seconds: float, value: int) -> None:
        with clock.cancel_at(seconds):
            await handler(value)

    async with anyio.create_task_group() as group:
        for value, patience in enumerate((99, 99, 5, 99)):
            group.start_soon(patient_for, patience, value)
            await a_moment()
        await clock.sleep(6)
        assert (bulkhead.in_use, bulkhead.waiting) == (1, 2)
    assert began == [(0, 0), (1, 10), (3, 20)]


async def test_a_slot_given_to_a_cancelled_call_goes_on(clock: FakeClock) -> None:
    """A slot that reaches a waiting call in the moment of its cancellation goes to the next."""
    bulkhead = Bulkhead(1, clock=clock)
    done: list[int] = []

    async def work(value: int) -> None:
        done.append(value)

    handler = gp.wrap(work, bulkhead)
    async with anyio.create_task_group() as group:
        slot = bulkhead.slot()
        await slot.__aenter__()
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await handler(1)

        group.start_soon(cancelled)
        await a_moment()
        group.start_soon(run, handler, 2)
        await a_moment()
        await slot.__aexit__(None, None, None)
        scope.cancel()
    assert 2 in done
    assert bulkhead.in_use == 0


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(1, 4),
    calls=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 5), st.none() | st.integers(0, 9)), max_size=12
    ),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_slots_are_neither_lost_nor_made(
    size: int, calls: list[tuple[int, int, int | None]], backend: str
) -> None:
    """Whoever comes, works and is cancelled when: never more than size run, and all are free."""

    async def main() -> None:
        async with FakeClock() as clock:
            bulkhead = Bulkhead(size, clock=clock)

            async def work(seconds: float) -> None:
                assert bulkhead.in_use <= size
                await clock.sleep(seconds)

            async def call(at: int, seconds: int, patience: int | None) -> None:
                await clock.sleep(at)
                with clock.cancel_at(1e9 if patience is None else at + patience):
                    await gp.wrap(work, bulkhead)(seconds)

            async with anyio.create_task_group() as group:
                for each in calls:
                    group.start_soon(call, *each)
            assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "3", None])
async def test_a_wrong_size_is_refused(size: Any) -> None:
    """A size that is no whole number above zero is refused when the bulkhead is built."""
    with pytest.raises(ConfigurationError, match=r"Bulkhead: size=.*; give a whole number, 1"):
        Bulkhead(size)


async def test_the_line_is_bounded() -> None:
    """A thousand calls may wait, unless told otherwise, by name."""
    assert Bulkhead(1).queue == 1000
    with pytest.raises(ConfigurationError, match="Bulkhead: queue=-1; give a whole number, 0 or"):
        Bulkhead(1, queue=-1)
    with pytest.raises(TypeError, match="positional"):
        Bulkhead(1, 5)  # type: ignore[call-arg]


async def test_it_works_in_one_event_loop_after_another(anyio_backend: str) -> None:
    """An instance that one event loop used, and left while calls waited, works in the next."""
    bulkhead = Bulkhead(1)

    async def first() -> None:
        with anyio.move_on_after(0.01):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(run, gp.wrap(anyio.sleep, bulkhead), 10)

    async def second() -> None:
        await gp.wrap(anyio.sleep, bulkhead)(0)

    def both() -> None:
        anyio.run(first, backend=anyio_backend)
        anyio.run(second, backend=anyio_backend)

    await anyio.to_thread.run_sync(both)
    assert (bulkhead.in_use, bulkhead.waiting) == (0, 0)
