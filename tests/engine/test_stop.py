"""A run stops in order: nothing is lost, and every record read has an end."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


def sleepy(clock: FakeClock, seconds: float = 10) -> Any:
    """Make a stage that takes *seconds*."""

    async def sleep(value: int) -> int:
        await clock.sleep(seconds)
        return value

    return gp.map(sleep)


async def test_a_stop_lets_what_is_in_flight_end(clock: FakeClock) -> None:
    """After `stop` nothing more is read, and records in flight are written within grace."""
    source, sink = Ledger(range(100)), Kept()
    pipeline = gp.Pipeline(
        source=source, stage=sleepy(clock), sink=sink, max_in_flight=4, grace=30, clock=clock
    )

    async def stop() -> None:
        await clock.sleep(15)
        pipeline.stop("enough")

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        report = await pipeline.run()
    assert report.stopped == "enough"
    assert not report.exhausted
    assert report.written == 8
    assert report.handed_back == report.read - 8
    assert report.elapsed == pytest.approx(20)
    source.check()
    assert sink.left_with is None


async def test_what_does_not_end_within_grace_is_handed_back(clock: FakeClock) -> None:
    """When grace is over, records still in flight go back to their source with `Stopped`."""
    source = Ledger(range(100))
    pipeline = gp.Pipeline(
        source=source, stage=sleepy(clock, 100), sink=Kept(), max_in_flight=4, grace=5, clock=clock
    )

    async def stop() -> None:
        await clock.sleep(1)
        pipeline.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        report = await pipeline.run()
    assert report.elapsed == pytest.approx(6)
    assert (report.written, report.handed_back) == (0, report.read)
    assert all(isinstance(error, gp.errors.Stopped) for error in source.handed_back.values())
    source.check()


async def test_a_timeout_hands_back_what_is_in_flight_at_once(clock: FakeClock) -> None:
    """The run's own time limit is no failure; the report says why it stopped."""
    source = Ledger(range(100))
    report = await gp.Pipeline(
        source=source, stage=sleepy(clock), sink=Kept(), max_in_flight=5, timeout=25, clock=clock
    ).run()
    assert report.stopped == "timeout=25"
    assert report.elapsed == pytest.approx(25)
    assert (report.written, report.dead) == (10, 0)
    source.check()


async def test_cancelling_the_run_hands_back_everything(clock: FakeClock) -> None:
    """Cancellation from outside settles each record exactly once and closes the parts."""
    source, sink = Ledger(range(50)), Kept()
    pipeline = gp.Pipeline(
        source=source, stage=sleepy(clock, 100), sink=sink, max_in_flight=8, clock=clock
    )
    with clock.cancel_at(clock.now() + 3) as scope:
        await pipeline.run()
    assert scope.cancelled_caught
    source.check()
    assert (sink.entered, sink.left) == (1, 1)
    report = pipeline.report()
    assert (report.handed_back, report.pending) == (report.read, 0)


async def test_a_stop_in_the_middle_of_reading_is_heard(clock: FakeClock) -> None:
    """A source that waits for its next record does not hold up the stop."""

    class Endless:
        closed = False

        async def __aiter__(self) -> AsyncIterator[gp.Delivery[int]]:
            try:
                yield gp.Delivery(gp.Record(1, "1"))
                await anyio.sleep_forever()
            finally:
                self.closed = True

    source = Endless()
    pipeline = gp.Pipeline(source=source, stage=gp.map(int), sink=Kept(), clock=clock)

    async def stop() -> None:
        await clock.sleep(3)
        pipeline.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        report = await pipeline.run()
    assert report.written == 1
    assert source.closed


async def test_stopping_tells_listeners_why(clock: FakeClock) -> None:
    """A stop is announced once, with its first reason."""
    heard: list[events.StopRequested] = []

    def listener(event: gp.events.Event) -> None:
        if isinstance(event, events.StopRequested):
            heard.append(event)

    async def stop(value: int) -> int:
        pipeline.stop("first")
        pipeline.stop("second")
        return value

    pipeline = gp.Pipeline(source=Ledger(range(9)), stage=gp.map(stop), sink=Kept(), grace=7)
    with gp.listen(listener):
        report = await pipeline.run()
    assert report.stopped == "first"
    assert [(event.reason, event.grace) for event in heard] == [("first", 7)]


async def test_a_stop_without_a_run_does_nothing() -> None:
    """`stop` is harmless before and after a run, and stops no later one."""
    pipeline = gp.Pipeline(source=Ledger([1]), stage=gp.map(int), sink=Kept())
    for _ in range(2):
        pipeline.stop()
        report = await pipeline.run()
        assert (report.written, report.stopped) == (1, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_stops_in_order(anyio_backend: str, number: signal.Signals) -> None:
    """SIGINT and SIGTERM let records in flight end."""
    source = Ledger(range(100))

    async def kill(value: int) -> int:
        if value == 3:
            os.kill(os.getpid(), number)
        await clock.sleep(1)
        return value

    async with FakeClock(cushion=0.01) as clock:
        report = await gp.Pipeline(
            source=source, stage=gp.map(kill), sink=Kept(), max_in_flight=2, clock=clock
        ).run()
    assert report.stopped == f"signal {number.name}"
    assert 4 <= report.written <= 6
    source.check()


async def test_the_second_signal_stops_at_once(anyio_backend: str) -> None:
    """After a second signal nothing is waited for; all is handed back and nothing lost."""
    source = Ledger(range(10))

    async def kill(value: int) -> int:
        if value == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            # Equal signals are one until the first is heard, upon which nothing more is read.
            while not source.closed:
                await anyio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()
        return value

    report = await gp.Pipeline(
        source=source, stage=gp.map(kill), sink=Kept(), max_in_flight=4, grace=10**6
    ).run()
    assert report.stopped == "signal SIGTERM"
    assert report.handed_back == report.read
    source.check()


async def test_signals_are_left_alone_when_told_so(anyio_backend: str) -> None:
    """With ``stop_signals=()`` the application's own handler gets the signal."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:

        async def kill(value: int) -> int:
            os.kill(os.getpid(), signal.SIGTERM)
            return value

        pipeline = gp.Pipeline(source=Ledger([1]), stage=gp.map(kill), sink=Kept(), stop_signals=())
        report = await pipeline.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert report.stopped is None


async def test_a_run_in_another_thread_needs_no_signals(anyio_backend: str) -> None:
    """Outside the main thread a pipeline runs, without catching signals."""

    def run() -> gp.Report:
        pipeline = gp.Pipeline(source=Ledger([1, 2]), stage=gp.map(int), sink=Kept())
        return anyio.run(pipeline.run, backend=anyio_backend)

    report = await anyio.to_thread.run_sync(run)
    assert report.written == 2


async def test_serving_goes_on_until_stopped(clock: FakeClock) -> None:
    """`serve` opens a source that fails for a passing reason again, and waits longer each time."""

    class Flaky:
        begun: list[float] = []

        async def __aiter__(self) -> AsyncIterator[gp.Delivery[int]]:
            self.begun.append(clock.now())
            yield gp.Delivery(gp.Record(len(self.begun), str(len(self.begun))))
            if len(self.begun) == 4:
                pipeline.stop("served enough")
                await anyio.sleep_forever()
            raise gp.Transient("connection lost")

    class Dead:
        begun: list[float] = []

        async def __aiter__(self) -> AsyncIterator[gp.Delivery[int]]:
            self.begun.append(clock.now())
            if len(self.begun) == 4:
                return
            raise gp.Transient("connection refused")
            yield  # makes this a generator

    sink = Kept()
    pipeline = gp.Pipeline(
        source=Flaky(), stage=gp.map(int), sink=sink, dead_letters=Kept(), clock=clock
    )
    report = await pipeline.serve()
    assert sorted(sink.values)[:3] == [1, 2, 3]
    assert report.stopped == "served enough"
    assert Flaky.begun == [0, 1, 2, 3]
    pipeline = gp.Pipeline(
        source=Dead(), stage=gp.map(int), sink=sink, dead_letters=Kept(), clock=clock
    )
    await pipeline.serve()
    gaps = [later - earlier for earlier, later in zip(Dead.begun, Dead.begun[1:], strict=False)]
    assert gaps == [1, 2, 4]


async def test_serving_needs_dead_letters() -> None:
    """A run without an end has no end to report failures at."""
    pipeline = gp.Pipeline(source=Ledger([]), stage=gp.map(int), sink=Kept())
    with pytest.raises(gp.ConfigurationError, match="dead_letters"):
        await pipeline.serve()


async def test_serving_fails_on_an_error_that_does_not_pass(clock: FakeClock) -> None:
    """An error of the source that waiting does not heal ends the service."""
    source = Ledger(range(5), fails_at=2, error=gp.ConfigurationError("no such topic"))
    pipeline = gp.Pipeline(
        source=source, stage=gp.map(int), sink=Kept(), dead_letters=Kept(), clock=clock
    )
    with pytest.raises(gp.RunFailed, match="ConfigurationError"):
        await pipeline.serve()


async def test_what_no_worker_has_taken_is_handed_back_when_cancelled(anyio_backend: str) -> None:
    """Records that were read ahead are settled too, when the run is cancelled at that moment."""

    class Cancelling(Ledger):
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
            async for delivery in super().__aiter__():
                if delivery.record.key == "3":
                    scope.cancel()
                yield delivery

    source = Cancelling(range(9))
    pipeline = gp.Pipeline(source=source, stage=gp.map(int), sink=Kept())
    with anyio.CancelScope() as scope:
        await pipeline.run()
    assert scope.cancelled_caught
    assert len(source.read) >= 4
    assert len(source.settled) == len(source.read)
    report = pipeline.report()
    assert (report.pending, report.handed_back + report.written) == (0, report.read)
