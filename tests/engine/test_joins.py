"""Stages join: chains, branches, tees, and functions in threads and processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


def never(_: object) -> bool:
    """Let nothing pass."""
    return False


async def outputs_of(stage: gp.Stage[Any, Any], value: object) -> list[Any]:
    """Call *stage* outside any pipeline."""
    return [record.value for record in await stage(gp.Record(value, "k"))]


def split(text: str) -> list[str]:
    """Split into letters."""
    return list(text)


async def test_a_chain_is_a_stage_that_works_outside_a_run() -> None:
    """Stages are plain functions of records, and so are their chains."""
    stage = gp.chain(gp.map(str.upper), gp.flat_map(split), gp.map(ord), gp.map(chr))
    assert await outputs_of(stage, "abc") == ["A", "B", "C"]
    assert await outputs_of(stage, "") == []


async def test_children_keep_the_order_and_get_keys_of_their_own(clock: FakeClock) -> None:
    """What a flat_map makes is answered in order however long each takes, with derived keys."""

    async def slow(letter: str) -> str:
        await clock.sleep(100 - ord(letter))
        return letter

    sink = Kept()
    pipeline = gp.Pipeline(
        source=Ledger(["abc"]),
        stage=gp.chain(gp.flat_map(split), gp.map(slow)),
        sink=gp.in_order(sink),
        clock=clock,
    )
    report = await pipeline.run()
    assert sink.values == ["a", "b", "c"]
    assert [record.key for record in sink.records] == ["0/0", "0/1", "0/2"]
    assert (report.read, report.written) == (1, 1)
    assert clock.now() == 3


async def test_children_walk_a_bounded_number_at_a_time(clock: FakeClock) -> None:
    """``fan_out`` bounds how many children of one record are under way."""
    running = most = 0

    async def slow(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await clock.sleep(1)
        running -= 1
        return value

    stage = gp.chain(gp.flat_map(range), gp.map(slow), fan_out=5)
    await gp.Pipeline(source=Ledger([23]), stage=stage, sink=Kept(), clock=clock).run()
    assert most == 5
    assert clock.now() == 5


async def test_a_failing_child_fails_its_record_and_no_output_is_written(clock: FakeClock) -> None:
    """All of a record's children are written, or none; children under way end first."""
    ended = []

    async def slow(value: int) -> int:
        await clock.sleep(value + 1)
        if value == 1:
            raise ValueError("one")
        ended.append(value)
        return value

    sink, dead = Kept(), Kept()
    stage = gp.chain(gp.flat_map(range), gp.map(slow), fan_out=3)
    report = await gp.Pipeline(
        source=Ledger([9]), stage=stage, sink=sink, dead_letters=dead, clock=clock
    ).run()
    assert not sink.records
    assert (report.dead, dead.values[0].payload, dead.values[0].stage) == (1, 9, "slow")
    assert ended == [0, 2, 3]


async def test_many_outputs_without_a_stage_behind_are_written() -> None:
    """A flat_map at the end hands all it made to the sink."""
    sink = Kept()
    report = await gp.Pipeline(source=Ledger([1000]), stage=gp.flat_map(range), sink=sink).run()
    assert sorted(sink.values) == list(range(1000))
    assert report.written == 1


async def test_one_failing_output_of_many_kills_the_record() -> None:
    """When the sink refuses one of several outputs, the record is dead, in the sink's name."""
    sink = Kept(lambda value: ValueError("three") if value == 3 else None)
    dead = Kept()
    report = await gp.Pipeline(
        source=Ledger([9]), stage=gp.flat_map(range), sink=sink, dead_letters=dead
    ).run()
    assert report.dead == 1
    assert dead.values[0].stage == "sink"


async def test_a_branch_routes_by_key_and_by_predicate() -> None:
    """A function of the value, plain or async, names the way."""
    by_key = gp.branch(
        lambda word: word[0], {"a": gp.map(str.upper), "b": gp.map(str.title)}, default=gp.map(str)
    )
    assert await outputs_of(by_key, "ab") == ["AB"]
    assert await outputs_of(by_key, "ba") == ["Ba"]
    assert await outputs_of(by_key, "cc") == ["cc"]

    async def is_long(word: str) -> bool:
        return len(word) > 3

    ways: dict[bool, gp.Stage[str, str]] = {True: gp.flat_map(split), False: gp.filter(never)}
    by_predicate = gp.branch(is_long, ways)
    assert await outputs_of(by_predicate, "long") == ["l", "o", "n", "g"]
    assert await outputs_of(by_predicate, "no") == []


async def test_a_branch_that_is_not_there_is_an_error_of_the_data() -> None:
    """An unknown choice names itself and what there is."""
    dead = Kept()
    stage = gp.branch(str, {"1": gp.map(int)}, name="route")
    await gp.Pipeline(source=Ledger([1, 2]), stage=stage, sink=Kept(), dead_letters=dead).run()
    (letter,) = dead.values
    assert letter.message == "route: no branch for '2'; there is '1', and no default="
    assert letter.category == "data"


async def test_stages_below_a_branch_report_and_fail_under_their_own_names() -> None:
    """A dead letter names the innermost stage."""

    async def breaks(_: int) -> int:
        raise ValueError("inner")

    dead = Kept()
    stage = gp.branch(bool, {True: gp.chain(gp.map(int), gp.map(breaks)), False: gp.map(int)})
    await gp.Pipeline(source=Ledger([1]), stage=stage, sink=Kept(), dead_letters=dead).run()
    assert dead.values[0].stage == "breaks"


async def test_a_tee_shows_each_record_to_a_side_and_passes_it_on() -> None:
    """The side gets the record itself; what it answers is dropped, what it raises counts."""
    side, sink = Kept(lambda value: ValueError("bad") if value == 2 else None), Kept()
    dead = Kept()
    stage = gp.chain(gp.tee(side), gp.map(str))
    await gp.Pipeline(source=Ledger([1, 2, 3]), stage=stage, sink=sink, dead_letters=dead).run()
    assert sorted(side.values) == [1, 3]
    assert sorted(sink.values) == ["1", "3"]
    assert dead.values[0].payload == 2
    assert (side.entered, side.left) == (1, 1)


async def test_a_plain_function_may_run_in_a_thread() -> None:
    """With ``thread=True`` the function runs outside the event loop's thread."""
    sink = Kept()

    def where(_: int) -> int:
        return threading.get_ident()

    await gp.Pipeline(source=Ledger([1]), stage=gp.map(where, thread=True), sink=sink).run()
    assert sink.values != [threading.get_ident()]


def crash_on_two(value: int) -> tuple[int, int]:
    """Die as native code does, on one value; else tell the process."""
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return value, os.getpid()


async def test_a_worker_process_that_dies_fails_one_record() -> None:
    """A crash in a process takes its own record only; the run goes on in another process."""
    sink, dead = Kept(), Kept()
    report = await gp.Pipeline(
        source=Ledger([1, 2, 3]),
        stage=gp.map(crash_on_two, process=True),
        sink=sink,
        dead_letters=dead,
        max_in_flight=1,
    ).run()
    (first, one_process), (third, another) = sink.values
    assert (first, third) == (1, 3)
    assert len({one_process, another, os.getpid()}) == 3
    assert (report.written, report.dead) == (2, 1)
    assert dead.values[0].error == "genai_pipeline.errors.WorkerDied"
    assert "crash_on_two" in dead.values[0].message


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: gp.chain(), "at least one stage"),  # type: ignore[call-overload]
        (lambda: gp.chain("x"), "gp.map"),  # type: ignore[call-overload]
        (lambda: gp.chain(gp.map(int), fan_out=0), "fan_out=0"),
        (lambda: gp.map(3), "fn=3"),  # type: ignore[call-overload]
        (lambda: gp.map(lambda x: x, process=True), "imported by name"),
        (lambda: gp.map(crash_on_two, process=True, thread=True), "not both"),
        (lambda: gp.branch(3, {}), "by=3"),  # type: ignore[arg-type]
        (lambda: gp.branch(bool, {}), "to={}"),
        (lambda: gp.tee(3), "side=3"),  # type: ignore[arg-type]
        (lambda: gp.gather(0), "size=0"),
        (lambda: gp.gather(2, linger=-1), "linger=-1"),
        (lambda: gp.reduce(3, 2), "fn=3"),  # type: ignore[arg-type]
        (lambda: gp.in_order(3), "sink=3"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_work_is_refused_when_built(build: Any, words: str) -> None:
    """A wrong argument raises at once, naming option and value."""
    with pytest.raises(gp.ConfigurationError) as caught:
        build()
    assert words in str(caught.value)


async def test_async_functions_take_no_thread() -> None:
    """An async function cannot be sent to a thread."""

    async def work(value: int) -> int:
        return value

    with pytest.raises(gp.ConfigurationError, match=r"work is async; drop thread=True"):
        gp.map(work, thread=True)


async def test_a_flat_map_that_answers_one_value_is_told_so() -> None:
    """A text is one value, not several."""
    stage: gp.Stage[int, str] = gp.flat_map(str, name="letters")
    with pytest.raises(TypeError, match="letters answered a str"):
        await outputs_of(stage, 12)


async def test_a_stage_may_be_any_async_callable() -> None:
    """A stage is a function of a record, no more; middlewares go around it."""

    async def twice(record: gp.Record[int]) -> Sequence[gp.Record[int]]:
        return [record, record.with_attributes(copy=True)]

    async def plus_one(
        record: gp.Record[int], call_next: gp.Handler[gp.Record[int], Sequence[gp.Record[int]]]
    ) -> Sequence[gp.Record[int]]:
        return await call_next(record.with_value(record.value + 1))

    sink = Kept()
    stage = gp.wrap(twice, plus_one)
    report = await gp.Pipeline(source=Ledger([1]), stage=stage, sink=gp.in_order(sink)).run()
    assert sink.values == [2, 2]
    assert sink.records[1].attributes == {"copy": True}
    assert [stage.name for stage in report.stages] == ["twice", "sink"]
