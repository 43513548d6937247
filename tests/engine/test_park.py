"""Waiting is parking: what is rejected for now waits where it is, and goes on there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


def rejecting(times: int, wait: float | None) -> tuple[Callable[[Any], Any], list[Any]]:
    """Make an async function that rejects its first calls, and the list of its calls."""
    calls: list[Any] = []

    async def policed(value: Any) -> Any:
        calls.append(value)
        if len(calls) <= times:
            raise gp.Rejected("not now", retry_after=wait)
        return value

    return policed, calls


async def test_a_rejected_stage_is_called_again_and_no_other(clock: FakeClock) -> None:
    """The stages before the rejecting one are not paid for again."""
    paid: list[int] = []

    async def pay(value: int) -> int:
        paid.append(value)
        return value

    policed, calls = rejecting(3, 20)
    report = await gp.Pipeline(
        source=Ledger([7]),
        stage=gp.chain(gp.map(pay), gp.map(policed)),
        sink=Kept(),
        clock=clock,
    ).run()
    assert paid == [7]
    assert calls == [7, 7, 7, 7]
    assert (report.written, report.rejections, report.waited) == (1, 3, 60)
    assert report.limited_by == "quota"


async def test_without_a_hint_the_wait_is_a_second(clock: FakeClock) -> None:
    """A rejection that does not know when is tried again after one second."""
    policed, _ = rejecting(2, None)
    await gp.Pipeline(source=Ledger([1]), stage=gp.map(policed), sink=Kept(), clock=clock).run()
    assert clock.now() == pytest.approx(2)


async def test_a_hint_of_zero_does_not_spin(clock: FakeClock) -> None:
    """Even "at once" waits a little, so that a policy that errs cannot burn the CPU."""
    policed, _ = rejecting(100, 0)
    await gp.Pipeline(source=Ledger([1]), stage=gp.map(policed), sink=Kept(), clock=clock).run()
    assert clock.now() == pytest.approx(1)


async def test_a_rejecting_sink_is_called_again(clock: FakeClock) -> None:
    """A sink may say not now, too."""
    policed, calls = rejecting(2, 5)

    async def sink(record: gp.Record[int]) -> None:
        await policed(record.value)

    report = await gp.Pipeline(
        source=Ledger([1, 2]), stage=gp.map(int), sink=sink, max_in_flight=1, clock=clock
    ).run()
    assert calls == [1, 1, 1, 2]
    assert report.written == 2


async def test_parked_workers_read_nothing_more(clock: FakeClock) -> None:
    """While every worker waits for a quota, the source is left alone and nothing dies."""
    source, dead = Ledger(range(1000)), Kept()

    async def outage(value: int) -> int:
        if clock.now() < 3600:
            raise gp.Rejected("circuit open", retry_after=60)
        return value

    pipeline = gp.Pipeline(
        source=source,
        stage=gp.map(outage),
        sink=Kept(),
        dead_letters=dead,
        max_in_flight=8,
        clock=clock,
    )
    reads = []

    async def look() -> None:
        await clock.sleep(3000)
        reads.append(len(source.read))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        report = await pipeline.run()
    assert reads == [8]
    assert not dead.records
    assert report.written == 1000


async def test_a_wait_past_the_deadline_is_not_begun(clock: FakeClock) -> None:
    """A record whose deadline comes before the retry is dead at once, not after the wait."""
    policed, _ = rejecting(1, 100)
    report = await gp.Pipeline(
        source=Ledger([1]),
        stage=gp.map(policed, name="policed"),
        sink=Kept(),
        dead_letters=(dead := Kept()),
        record_timeout=50,
        clock=clock,
    ).run()
    assert clock.now() == 0
    assert report.errors == {"DeadlineExceeded": 1}
    assert "100 s" in dead.values[0].message


async def test_a_wait_past_the_end_of_the_run_is_handed_back(clock: FakeClock) -> None:
    """The run's own limit kills no record."""
    policed, _ = rejecting(1, 100)
    source, dead = Ledger([1, 2]), Kept()
    report = await gp.Pipeline(
        source=source,
        stage=gp.map(policed),
        sink=Kept(),
        dead_letters=dead,
        timeout=50,
        max_in_flight=1,
        clock=clock,
    ).run()
    assert not dead.records
    assert report.handed_back == 1
    source.check()


async def test_a_stop_ends_the_wait(clock: FakeClock) -> None:
    """What waits for a quota when a stop is asked for is handed back at once."""
    source = Ledger(range(4))

    async def never(value: int) -> int:
        raise gp.Rejected("closed", retry_after=10_000)

    pipeline = gp.Pipeline(source=source, stage=gp.map(never), sink=Kept(), clock=clock)

    async def stop() -> None:
        await clock.sleep(7)
        pipeline.stop()

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        report = await pipeline.run()
    assert clock.now() == 7
    assert report.handed_back == 4
    source.check()


async def test_a_wait_is_an_event(clock: FakeClock) -> None:
    """Listeners hear which record waits where, how long and why."""
    heard: list[Any] = []
    policed, _ = rejecting(1, 4)
    pipeline = gp.Pipeline(
        source=Ledger([1]), stage=gp.map(policed, name="model"), sink=Kept(), clock=clock
    )
    with gp.listen(heard.append):
        await pipeline.run()
    (wait,) = [event for event in heard if isinstance(event, events.RecordWaited)]
    assert (wait.key, wait.stage, wait.seconds) == ("0", "model", 4)
    assert str(wait.error) == "not now"
