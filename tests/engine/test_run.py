"""A run takes every record to one end, and its report adds up."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


async def double(value: int) -> int:
    """Double."""
    return value * 2


def is_even(value: int) -> bool:
    """Tell whether *value* is even."""
    return value % 2 == 0


def fails_on(*values: int, error: type[Exception] = ValueError) -> Any:
    """Make a stage that fails on some values."""

    async def check(value: int) -> int:
        if value in values:
            raise error(f"no {value}")
        return value

    return gp.map(check)


async def test_records_walk_from_source_to_sink() -> None:
    """Every value goes through the stages into the sink, and the counts say so."""
    source, sink = Ledger(range(200)), Kept()
    stage = gp.chain(gp.filter(is_even), gp.map(double))
    report = await gp.Pipeline(source=source, stage=stage, sink=sink).run()
    assert sorted(sink.values) == [value * 2 for value in range(200) if value % 2 == 0]
    assert (report.read, report.written, report.filtered) == (200, 100, 100)
    assert (report.dead, report.handed_back, report.pending) == (0, 0, 0)
    assert report.exhausted
    assert report.stopped is None
    source.check()
    assert len(source.done) == 200


async def test_an_empty_source_is_a_good_run() -> None:
    """Nothing to read means nothing written and no error."""
    report = await gp.Pipeline(source=Ledger([]), stage=gp.map(double), sink=Kept()).run()
    assert report.read == 0
    assert report.limited_by is None


async def test_a_failure_is_a_dead_letter_with_all_that_is_needed(clock: FakeClock) -> None:
    """A dead letter tells payload, error, category, stage, attempts, times and trace."""

    async def slow(value: int) -> int:
        await clock.sleep(5)
        return value

    dead = Kept()
    pipeline = gp.Pipeline(
        source=Ledger([1, 2, 3]),
        stage=gp.chain(gp.map(slow), fails_on(2), gp.map(double)),
        sink=Kept(),
        dead_letters=dead,
        clock=clock,
    )
    report = await pipeline.run()
    assert (report.written, report.dead) == (2, 1)
    assert report.errors == {"ValueError": 1}
    (record,) = dead.records
    letter = record.value
    assert (record.key, letter.key, letter.payload) == ("1", "1", 2)
    assert (letter.error, letter.message) == ("builtins.ValueError", "no 2")
    assert (letter.category, letter.stage, letter.attempts) == ("permanent", "check", 1)
    assert isinstance(letter.read_at, datetime)
    assert (letter.failed_at - letter.read_at).total_seconds() == pytest.approx(5)
    assert "in check" in letter.trace


async def test_without_dead_letters_a_failure_is_handed_back_and_raised() -> None:
    """The failed record goes back to its source, the others are written, the run raises."""
    source, sink = Ledger(range(10)), Kept()
    with pytest.raises(gp.RunFailed) as caught:
        await gp.Pipeline(source=source, stage=fails_on(3, 7), sink=sink).run()
    assert [str(error) for error in caught.value.exceptions] == ["no 3", "no 7"]
    report = caught.value.report
    assert (report.written, report.handed_back) == (8, 2)
    assert sorted(source.handed_back) == ["3", "7"]
    source.check()


async def test_the_group_can_be_split_and_keeps_the_report() -> None:
    """``except*`` picks errors by class, and the rest keeps the report."""
    pipeline = gp.Pipeline(source=Ledger(range(3)), stage=fails_on(1), sink=Kept())
    seen = []
    try:
        await pipeline.run()
    except* ValueError as group:
        seen.append(group)
    assert isinstance(seen[0], gp.RunFailed)
    assert seen[0].report.handed_back == 1


async def test_a_bad_input_is_a_dead_letter_that_no_stage_saw() -> None:
    """A delivery that carries an error goes among the dead letters at once."""
    dead = Kept()
    seen: list[int] = []
    source = Ledger(
        [1, 2, 3], bad=lambda value: gp.DataError("broken", line=2) if value == 2 else None
    )

    async def see(value: int) -> int:
        seen.append(value)
        return value

    stage = gp.map(see)
    report = await gp.Pipeline(source=source, stage=stage, sink=Kept(), dead_letters=dead).run()
    assert seen == [1, 3]
    assert (report.written, report.dead) == (2, 1)
    letter = dead.values[0]
    assert (letter.stage, letter.category, letter.message) == ("source", "data", "line 2: broken")


async def test_a_systemic_error_stops_the_run_and_kills_no_record() -> None:
    """What would fail every record alike stops the run; the record goes back to its source."""
    source, dead = Ledger(range(1000)), Kept()
    stage = fails_on(5, error=gp.errors.AuthenticationFailed)
    pipeline = gp.Pipeline(
        source=source, stage=stage, sink=Kept(), dead_letters=dead, max_in_flight=4
    )
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    assert not dead.records
    assert isinstance(caught.value.exceptions[0], gp.errors.AuthenticationFailed)
    assert "5" in source.handed_back
    assert len(source.read) < 50
    source.check()


async def test_a_sink_that_fails_for_one_record_kills_that_one() -> None:
    """An error of the sink names it as the place, and its neighbours are written."""
    sink = Kept(lambda value: ValueError("too large") if value == 4 else None)
    dead = Kept()
    source = Ledger(range(8))
    pipeline = gp.Pipeline(source=source, stage=gp.map(int), sink=sink, dead_letters=dead)
    report = await pipeline.run()
    assert (report.written, report.dead) == (7, 1)
    assert dead.values[0].stage == "sink"


async def test_dead_letters_that_cannot_be_written_stop_the_run() -> None:
    """A failing dead-letter sink loses nothing: the record is handed back, the run raises."""
    source = Ledger(range(500))
    broken = Kept(lambda _: gp.errors.StorageFailed("disk full"))
    pipeline = gp.Pipeline(
        source=source, stage=fails_on(2), sink=Kept(), dead_letters=broken, max_in_flight=2
    )
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    assert isinstance(caught.value.exceptions[0], gp.errors.StorageFailed)
    assert "2" in source.handed_back
    assert caught.value.report.stopped == "the dead letters cannot be written"
    source.check()


async def test_a_source_that_breaks_fails_the_run_after_what_it_gave() -> None:
    """What was read before the source raised is written; the error is raised at the end."""
    source, sink = Ledger(range(10), fails_at=6), Kept()
    with pytest.raises(gp.RunFailed, match="OSError") as caught:
        await gp.Pipeline(source=source, stage=gp.map(int), sink=sink).run()
    report = caught.value.report
    assert report.read == 6
    assert report.written + report.handed_back == 6
    assert not report.exhausted
    source.check()


async def test_a_count_of_failures_stops_the_run() -> None:
    """With ``max_failures=3`` the fourth failure stops the run early."""
    source, dead = Ledger(range(10_000)), Kept()
    pipeline = gp.Pipeline(
        source=source,
        stage=fails_on(*range(10_000)),
        sink=Kept(),
        dead_letters=dead,
        max_failures=3,
        max_in_flight=2,
    )
    with pytest.raises(gp.RunFailed, match="TooManyFailures") as caught:
        await pipeline.run()
    assert 4 <= len(dead.records) <= 6
    assert caught.value.report.read < 20
    source.check()


async def test_a_share_of_failures_stops_the_run_once_enough_ended() -> None:
    """A share counts from the hundredth record on; below it a run may fail more."""
    source, dead = Ledger(range(10_000)), Kept()
    stage = fails_on(*(value for value in range(10_000) if value % 3))
    pipeline = gp.Pipeline(source=source, stage=stage, sink=Kept(), dead_letters=dead)
    with pytest.raises(gp.RunFailed, match="TooManyFailures") as caught:
        await pipeline.run()
    assert 100 <= caught.value.report.ended < 300
    small = gp.Pipeline(source=Ledger(range(99)), stage=stage, sink=Kept(), dead_letters=Kept())
    assert (await small.run()).dead == 66


async def test_parts_are_opened_once_and_closed_with_the_outcome() -> None:
    """Sinks are entered before the run and left after it; a failed run tells them so."""
    sink = Kept()
    await gp.Pipeline(source=Ledger([1]), stage=gp.map(int), sink=sink).run()
    assert (sink.entered, sink.left, sink.left_with) == (1, 1, None)
    with pytest.raises(gp.RunFailed):
        await gp.Pipeline(source=Ledger([1]), stage=fails_on(1), sink=sink).run()
    assert (sink.entered, sink.left) == (2, 2)
    assert sink.left_with is not None


async def test_a_part_that_cannot_be_opened_fails_before_anything_is_read() -> None:
    """An error on opening comes out as it is."""

    class Unopenable(Kept):
        async def __aenter__(self) -> None:
            raise gp.ConfigurationError("no such folder")

    source = Ledger([1, 2])
    with pytest.raises(gp.ConfigurationError, match="no such folder"):
        await gp.Pipeline(source=source, stage=gp.map(int), sink=Unopenable()).run()
    assert not source.read


async def test_a_part_that_cannot_be_closed_fails_the_run() -> None:
    """A sink that cannot publish at the end makes the run raise, with its report."""

    class Unclosable(Kept):
        async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
            raise gp.errors.StorageFailed("disk full")

    with pytest.raises(gp.RunFailed) as caught:
        await gp.Pipeline(source=Ledger([1]), stage=gp.map(int), sink=Unclosable()).run()
    assert isinstance(caught.value.exceptions[0], gp.errors.StorageFailed)
    assert caught.value.report.read == 1


async def test_the_source_is_asked_for_no_more_than_there_is_room_for(clock: FakeClock) -> None:
    """Records read and not settled never exceed ``max_in_flight``."""

    async def slow(value: int) -> int:
        await clock.sleep(1)
        return value

    source = Ledger(range(100))
    await gp.Pipeline(
        source=source, stage=gp.map(slow), sink=Kept(), max_in_flight=7, clock=clock
    ).run()
    assert 5 <= source.most_unsettled <= 7
    assert clock.now() == pytest.approx(100 / 7, abs=1)


async def test_the_report_on_demand_adds_up_in_mid_run(clock: FakeClock) -> None:
    """A report taken while records are in flight counts them as pending."""
    reports = []

    async def slow(value: int) -> int:
        await clock.sleep(1)
        reports.append(pipeline.report())
        return value

    pipeline = gp.Pipeline(
        source=Ledger(range(20)), stage=gp.map(slow), sink=Kept(), max_in_flight=5, clock=clock
    )
    await pipeline.run()
    assert any(report.pending for report in reports)
    for report in reports:
        report.check()
        assert report.in_flight <= 5


async def test_the_report_tells_where_time_went(clock: FakeClock) -> None:
    """Stages come with calls and percentiles, in order and the sink last."""

    async def slow(value: int) -> int:
        await clock.sleep(2)
        return value

    report = await gp.Pipeline(
        source=Ledger(range(50)),
        stage=gp.chain(gp.map(double), gp.map(slow), gp.map(slow)),
        sink=Kept(),
        max_in_flight=10,
        clock=clock,
    ).run()
    assert [stage.name for stage in report.stages] == ["double", "slow", "slow-2", "sink"]
    slow_report = report.stages[1]
    assert slow_report.calls == 50
    assert slow_report.p50 == pytest.approx(2, rel=0.05)
    assert slow_report.total == pytest.approx(100)
    assert report.elapsed == pytest.approx(20)
    assert report.rate == pytest.approx(2.5)
    assert report.limited_by in {"workers", "cpu"}


async def test_a_slow_source_is_what_limits(clock: FakeClock) -> None:
    """Workers that wait for input mean that the source is the limit."""
    source = Ledger(range(30), clock=clock, every=1.0)
    report = await gp.Pipeline(source=source, stage=gp.map(double), sink=Kept(), clock=clock).run()
    assert report.limited_by in {"source", "cpu"}


async def test_calls_tokens_and_cost_are_counted() -> None:
    """Calls that providers announce are in the report; unknown cost stays unknown."""

    async def model(value: int) -> int:
        cost = Decimal("0.25") if value else None
        gp.emit(
            events.CallFinished(
                provider="p", model="m", seconds=1, input_tokens=3, output_tokens=2, cost=cost
            )
        )
        return value

    report = await gp.Pipeline(source=Ledger([0, 1, 2]), stage=gp.map(model), sink=Kept()).run()
    assert (report.calls, report.input_tokens, report.output_tokens) == (3, 9, 6)
    assert report.cost == Decimal("0.50")
    free = await gp.Pipeline(source=Ledger([0]), stage=gp.map(model), sink=Kept()).run()
    assert free.cost is None


async def test_listeners_hear_each_end() -> None:
    """A listener around the run hears every record settle, and the run begin and end."""
    heard: list[Any] = []
    pipeline = gp.Pipeline(
        source=Ledger(range(3)), stage=fails_on(1), sink=Kept(), dead_letters=Kept()
    )
    with gp.listen(heard.append):
        await pipeline.run()
    assert isinstance(heard[0], events.RunStarted)
    assert isinstance(heard[-1], events.RunEnded)
    ends = {event.key: event for event in heard if isinstance(event, events.RecordSettled)}
    assert {key: event.outcome for key, event in ends.items()} == {
        "0": "written",
        "1": "dead",
        "2": "written",
    }
    assert ends["1"].stage == "check"


async def test_code_in_a_stage_knows_its_record(clock: FakeClock) -> None:
    """`current_record` and `time_left` work anywhere below a stage."""
    seen = []

    async def look(value: int) -> int:
        record = gp.current_record()
        assert record is not None
        seen.append((record.key, gp.time_left()))
        return value

    pipeline = gp.Pipeline(
        source=Ledger([5]), stage=gp.map(look), sink=Kept(), record_timeout=9, clock=clock
    )
    await pipeline.run()
    assert seen == [("0", 9.0)]
    assert gp.current_record() is None
    assert gp.time_left() == float("inf")


async def test_a_record_that_takes_too_long_is_dead(clock: FakeClock) -> None:
    """``record_timeout`` ends a walk, names the stage, and spares the others."""
    dead = Kept()

    async def sleepy(value: int) -> int:
        await clock.sleep(60 if value == 1 else 1)
        return value

    report = await gp.Pipeline(
        source=Ledger(range(3)),
        stage=gp.chain(gp.map(double), gp.map(sleepy, name="sleepy")),
        sink=Kept(),
        dead_letters=dead,
        record_timeout=10,
        clock=clock,
    ).run()
    assert report.written == 3
    again = await gp.Pipeline(
        source=Ledger(range(3)),
        stage=gp.map(sleepy),
        sink=Kept(),
        dead_letters=dead,
        record_timeout=10,
        clock=clock,
    ).run()
    assert (again.written, again.dead) == (2, 1)
    assert again.errors == {"DeadlineExceeded": 1}
    assert (dead.values[0].stage, dead.values[0].category) == ("sleepy", "transient")


async def test_one_pipeline_runs_once_at_a_time_and_again_later() -> None:
    """A second run meanwhile is refused; a later one starts afresh."""
    refused: list[int] = []

    async def again(value: int) -> int:
        with pytest.raises(gp.ConfigurationError, match="runs already"):
            await pipeline.run()
        refused.append(value)
        return value

    pipeline = gp.Pipeline(source=Ledger([1]), stage=gp.map(again), sink=Kept())
    with pytest.raises(gp.ConfigurationError, match="no report"):
        pipeline.report()
    await pipeline.run()
    report = await pipeline.run()
    assert refused == [1, 1]
    assert report.read == 1
    assert pipeline.report() == report


async def test_waiting_for_its_turn_is_no_time_of_the_sink(clock: FakeClock) -> None:
    """Ordered output does not make the sink look slow."""

    async def slow_first(value: int) -> int:
        await clock.sleep(100 if value == 0 else 1)
        return value

    report = await gp.Pipeline(
        source=Ledger(range(8)), stage=gp.map(slow_first), sink=gp.in_order(Kept()), clock=clock
    ).run()
    assert report.stages[-1].name == "sink"
    assert report.stages[-1].longest == 0
