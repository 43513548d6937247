"""What a task group raises: what it means for a record, and when it is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import genai_pipeline as gp
from genai_pipeline._error_groups import failure_in, one_of
from genai_pipeline.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    CircuitOpen,
    DataError,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    Stopped,
    Throttled,
)
from genai_pipeline.journals import Memory
from genai_pipeline.report import RunFailed
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio

Cancel = Any


async def break_beside(cancel: Cancel) -> None:
    """Fail in a task of a group, at the moment at which *cancel* cancels what it is part of."""

    async def broken() -> None:
        cancel()
        raise ValueError("broken")

    async with anyio.create_task_group() as group:
        group.start_soon(broken)
        group.start_soon(anyio.sleep_forever)


async def run_broken(clock: FakeClock, cancel: Cancel, where: str, **options: Any) -> Ledger:
    """Run a pipeline whose part at *where* fails as its run is cancelled; answer its source."""

    async def broken(value: Any) -> Any:
        await break_beside(cancel)
        return value

    async def refuse(_: Any) -> None:
        raise ValueError("for the dead letters")

    kept = Kept()
    several = gp.flat_map(lambda value: [value, value], name="two")
    stages = {
        "stage": gp.map(broken),
        "fan-out": gp.chain(several, gp.map(broken)),
        "dead letters": gp.map(refuse),
    }
    source = Ledger("a")
    await gp.Pipeline(
        source=source,
        stage=stages.get(where, gp.map(str)),
        sink=broken if where == "sink" else kept,
        dead_letters=broken if where == "dead letters" else Kept(),
        clock=clock,
        **options,
    ).run()
    return source


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize("where", ["stage", "fan-out", "sink", "dead letters"])
async def test_what_fails_as_the_run_is_cancelled_does_not_leave_it(
    clock: FakeClock, where: str, journaled: bool
) -> None:
    """Whoever cancels a run gets no error of it, whichever part failed at that moment."""
    journal = Memory() if journaled else None
    with anyio.CancelScope() as scope:
        await run_broken(clock, scope.cancel, where, journal=journal)
    assert scope.cancelled_caught


@pytest.mark.parametrize("journaled", [False, True])
async def test_the_record_is_handed_back_with_what_failed(
    clock: FakeClock, journaled: bool
) -> None:
    """A record whose stage fails as the run is cancelled is no failure, and is begun again."""
    scope = anyio.CancelScope()
    journal = Memory() if journaled else None

    async def broken(value: Any) -> Any:
        if not scope.cancel_called:
            await break_beside(scope.cancel)
        return value

    source, sink = Ledger("a"), Kept()
    pipeline = gp.Pipeline(
        source=source, stage=gp.map(broken), sink=sink, journal=journal, clock=clock
    )
    with scope:
        await pipeline.run()
    source.check()
    error = source.handed_back["0"]
    assert isinstance(error, Stopped)
    assert isinstance(error.__cause__, ExceptionGroup)
    assert error.__cause__.subgroup(ValueError) is not None
    report = pipeline.report()
    assert (report.handed_back, report.dead) == (1, 0)
    again = gp.Pipeline(
        source=Ledger("a"), stage=gp.map(broken), sink=sink, journal=journal, clock=clock
    )
    assert (await again.run()).written == 1


async def test_a_stage_that_fails_as_its_time_is_up_fails_one_record(clock: FakeClock) -> None:
    """A record's time limit takes what fails at the same moment; the others are written."""

    async def slow(value: str) -> str:
        if value == "b":
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                try:
                    await anyio.sleep_forever()
                finally:
                    raise ValueError("at the end of its time")
        return value

    sink, dead = Kept(), Kept()
    report = await gp.Pipeline(
        source=Ledger("abc"),
        stage=gp.map(slow),
        sink=sink,
        dead_letters=dead,
        record_timeout=5,
        clock=clock,
    ).run()
    assert (report.written, report.dead) == (2, 1)
    assert dead.values[0].error.endswith(DeadlineExceeded.__name__)
    assert dead.values[0].stage == "slow"


async def test_a_source_that_fails_as_the_run_is_cancelled(clock: FakeClock) -> None:
    """The run is cancelled, and its source's error does not leave it."""
    scope = anyio.CancelScope()

    class Broken:
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
            await break_beside(scope.cancel)
            yield gp.Delivery(gp.Record("a", "0"))

    with scope:
        await gp.Pipeline(source=Broken(), stage=gp.map(str), sink=Kept(), clock=clock).run()
    assert scope.cancelled_caught


async def test_a_source_that_fails_as_reading_is_stopped_fails_the_run(clock: FakeClock) -> None:
    """A stop is no cancellation of the run: what breaks as reading ends is told."""

    class Broken:
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
            await break_beside(lambda: pipeline.stop("enough"))
            yield gp.Delivery(gp.Record("a", "0"))

    pipeline = gp.Pipeline(source=Broken(), stage=gp.map(str), sink=Kept(), clock=clock)
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    assert caught.value.subgroup(ValueError) is not None


async def test_only_a_cancellation_takes_errors_with_it() -> None:
    """What is neither an error nor a cancellation is raised as it came, with all beside it."""

    class Killed(BaseException):
        pass

    group = BaseExceptionGroup("both", [Killed(), ValueError()])
    with pytest.raises(BaseExceptionGroup) as caught:
        await failure_in(group)
    assert caught.value is group
    failed = ExceptionGroup("failed", [ValueError()])
    assert await failure_in(failed) is failed.exceptions[0]
    with anyio.CancelScope() as scope:
        scope.cancel()
        await failure_in(failed)
    assert scope.cancelled_caught
    cancelled = anyio.get_cancelled_exc_class()
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except cancelled as cancellation:
            alone = BaseExceptionGroup("alone", [cancellation])
            with pytest.raises(BaseExceptionGroup) as caught:
                await failure_in(alone)
            assert caught.value is alone


OPEN, SLOW = CircuitOpen("open", retry_after=5), Throttled("slow", retry_after=9)
BUSY, LIMITED = Overloaded("503"), RateLimited("429")
WRONG, BAD, LOST = AuthenticationFailed("key"), DataError("bad"), OutcomeUnknown("lost")
STOPPED = Stopped("stopped")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([BAD], BAD),
        ([OPEN], None),
        ([OPEN, SLOW], None),
        ([OPEN, BUSY], BUSY),
        ([BUSY, LIMITED], BUSY),
        ([BAD, LOST, OPEN], LOST),
        ([BAD, STOPPED], STOPPED),
        ([LOST, BUSY, WRONG], WRONG),
        ([BAD, BUSY], None),
    ],
)
async def test_which_error_speaks_for_a_group(
    errors: list[Exception], expected: Exception | None
) -> None:
    """What stops a run or holds a record goes before the rest, which has to be of one mind."""
    group = ExceptionGroup("group", errors)
    assert one_of(group) is (expected or group)
    outer = ExceptionGroup("outer", [group])
    assert one_of(outer) is (expected or outer)
    told = RunFailed("of a pipeline inside", errors, None)  # type: ignore[arg-type]
    assert one_of(told) is told


async def side_by_side(*errors: Exception) -> None:
    """Raise each of *errors* in a task of its own, at once."""

    async def fail(error: Exception) -> None:
        raise error

    async with anyio.create_task_group() as group:
        for error in errors:
            group.start_soon(fail, error)


async def test_rejected_calls_in_a_task_group_are_not_made_for_ever(clock: FakeClock) -> None:
    """A stage whose calls stand in each other's way ends, and cancels no paid call twice."""
    begun = 0
    bulkhead = gp.Bulkhead(1, queue=0, clock=clock)

    async def call(value: str) -> str:
        nonlocal begun
        begun += 1
        await clock.sleep(1)
        return value

    model = gp.wrap(call, bulkhead)

    async def one(value: str) -> None:
        await model(value)

    async def stage(value: str) -> str:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(one, value)
        return value

    dead = Kept()
    report = await gp.Pipeline(
        source=Ledger("a"), stage=gp.map(stage), sink=Kept(), dead_letters=dead, clock=clock
    ).run()
    assert (report.dead, begun) == (1, 1)
    assert "BulkheadFull" in dead.values[0].trace


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (BudgetExhausted("no money"), "held"),
        (OutcomeUnknown("lost"), "held"),
        (AuthenticationFailed("key"), "ready"),
        (Overloaded("503"), "dead"),
    ],
)
async def test_an_error_in_a_task_group_means_what_it_means_alone(
    clock: FakeClock, error: Exception, state: str
) -> None:
    """Money that is used up holds a record, and a wrong key stops the run, from within a group."""

    async def stage(_: str) -> None:
        await side_by_side(error, ValueError("beside"))

    journal, dead = Memory(), Kept()
    pipeline = gp.Pipeline(
        source=Ledger("a"),
        stage=gp.map(stage),
        sink=Kept(),
        dead_letters=dead,
        journal=journal,
        clock=clock,
    )
    if state == "dead":
        await pipeline.run()
        (letter,) = dead.values
        assert (letter.error, letter.stage) == ("builtins.ExceptionGroup", "stage")
    else:
        with pytest.raises(RunFailed) as caught:
            await pipeline.run()
        assert caught.value.exceptions == (error,)
        assert "beside it: ValueError: beside" in getattr(error, "__notes__", [])
    assert await journal.counts("pipeline") == {state: 1}


async def test_a_dead_letter_names_the_only_error_of_a_group(clock: FakeClock) -> None:
    """The letter of a record that failed in a task group is as if it had failed without."""
    dead, stage = Kept(), gp.map(lambda _: side_by_side(DataError("bad")), name="ask")
    await gp.Pipeline(
        source=Ledger("a"), stage=stage, sink=Kept(), dead_letters=dead, clock=clock
    ).run()
    (letter,) = dead.values
    assert letter.error.endswith("DataError")
    assert (letter.category, letter.stage, letter.message) == ("data", "ask", "bad")
