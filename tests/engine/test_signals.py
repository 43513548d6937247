"""A run borrows the handlers of signals, and gives them back as they were."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import genai_pipeline as gp
from genai_pipeline._signals import received_signals

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Answer what the application's own handler of SIGTERM has heard."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def endless(began: anyio.Event) -> gp.Pipeline[int, int]:
    """Make a pipeline that only a stop ends, once it has begun."""

    async def never(value: int) -> int:
        began.set()
        await anyio.sleep_forever()
        return value

    return gp.Pipeline(source=Ledger(range(9)), stage=gp.map(never), sink=Kept(), grace=0)


async def test_handlers_are_back_after_a_run(heard: list[int], anyio_backend: str) -> None:
    """What handled SIGINT and SIGTERM before a run does after it."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pipeline = gp.Pipeline(source=Ledger([1]), stage=gp.map(int), sink=Kept())
    await pipeline.run()
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


async def test_one_signal_stops_all_runs(heard: list[int], anyio_backend: str) -> None:
    """Of runs side by side each hears a signal, also when one that began earlier has ended."""
    begun = [anyio.Event() for _ in range(3)]
    first, *others = (endless(began) for began in begun)
    reports: list[gp.Report] = []

    async def run(pipeline: gp.Pipeline[int, int]) -> None:
        reports.append(await pipeline.run())

    async with anyio.create_task_group() as group:
        for began, pipeline in zip(begun, (first, *others), strict=True):
            group.start_soon(run, pipeline)
            await began.wait()
        first.stop("enough")
        while not reports:
            await anyio.lowlevel.checkpoint()
        os.kill(os.getpid(), signal.SIGTERM)
    assert [report.stopped for report in reports] == ["enough", *2 * ["signal SIGTERM"]]
    assert heard == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


async def test_what_a_run_did_not_hear_is_the_applications(heard: list[int]) -> None:
    """A signal that comes just when a run ends is not lost."""
    with received_signals((signal.SIGTERM,)) as received:
        assert received is not None
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == []
    assert heard == [signal.SIGTERM]


async def test_a_signal_that_comes_to_another_thread_is_heard(anyio_backend: str) -> None:
    """Whichever thread the system gives a signal to, the event loop wakes."""

    def kill() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    with received_signals((signal.SIGTERM,)) as received:
        assert received is not None
        await anyio.to_thread.run_sync(kill)
        assert await anext(received) == signal.SIGTERM
        thread = threading.Timer(0.01, kill)
        thread.start()  # by then the loop sleeps
        assert await anext(received) == signal.SIGTERM
        thread.join()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_handlers_of_the_loop_stay(anyio_backend: str) -> None:
    """What `loop.add_signal_handler` was told for a signal holds after a run."""
    told, loop = anyio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    try:
        pipeline = gp.Pipeline(source=Ledger([1]), stage=gp.map(int), sink=Kept())
        await pipeline.run()
        os.kill(os.getpid(), signal.SIGTERM)
        await told.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    assert signal.set_wakeup_fd(-1) == -1


async def test_a_handler_set_meanwhile_stays(heard: list[int], anyio_backend: str) -> None:
    """Whoever takes a signal over during a run keeps it."""

    def mine(number: int, _: object) -> None:
        heard.append(-number)

    with received_signals((signal.SIGTERM,)):
        signal.signal(signal.SIGTERM, mine)
    assert signal.getsignal(signal.SIGTERM) is mine
