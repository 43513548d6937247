"""Several records become one, and end as it does."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.testing import FakeClock

from .doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


async def test_groups_fill_and_the_rest_lingers(clock: FakeClock) -> None:
    """Full groups go on at once, the last one when its time is up; nothing is missing."""
    source, sink = Ledger(range(10)), Kept()
    stage: gp.Stage[int, list[int]] = gp.gather(4, linger=5, clock=clock)
    report = await gp.Pipeline(source=source, stage=stage, sink=sink, clock=clock).run()
    assert sorted(len(group) for group in sink.values) == [2, 4, 4]
    assert sorted(value for group in sink.values for value in group) == list(range(10))
    assert (report.written, report.filtered) == (10, 0)
    assert clock.now() == pytest.approx(5)
    source.check()


async def test_inputs_settle_only_when_the_output_is_written(clock: FakeClock) -> None:
    """No member is settled while the sink still writes the group."""
    source = Ledger(range(3))
    settled_meanwhile: list[int] = []

    async def slow_sink(_: gp.Record[Any]) -> None:
        await clock.sleep(10)
        settled_meanwhile.append(len(source.settled))

    await gp.Pipeline(
        source=source, stage=gp.gather(3, clock=clock), sink=slow_sink, clock=clock
    ).run()
    assert settled_meanwhile == [0]
    assert len(source.done) == 3


async def test_when_the_group_fails_each_member_is_dead_under_its_own_key(
    clock: FakeClock,
) -> None:
    """Every member keeps its own payload among the dead letters, with the stage that failed."""

    async def breaks(_: list[int]) -> int:
        raise ValueError("the group is bad")

    source, dead = Ledger(range(4)), Kept()
    report = await gp.Pipeline(
        source=source,
        stage=gp.chain(gp.gather(2, clock=clock), gp.map(breaks)),
        sink=Kept(),
        dead_letters=dead,
        clock=clock,
    ).run()
    assert report.dead == 4
    assert sorted(letter.payload for letter in dead.values) == [0, 1, 2, 3]
    assert {letter.stage for letter in dead.values} == {"breaks"}
    source.check()


async def test_when_the_group_is_filtered_so_are_its_members(clock: FakeClock) -> None:
    """A group that is dropped on purpose drops its members, which is a good end."""
    group: gp.Stage[int, list[int]] = gp.gather(3, clock=clock)
    stage = gp.chain(group, gp.filter(lambda _: False))
    report = await gp.Pipeline(source=Ledger(range(6)), stage=stage, sink=Kept(), clock=clock).run()
    assert (report.filtered, report.written) == (6, 0)


async def test_groups_across_fan_outs_do_not_wait_for_each_other_in_a_circle(
    clock: FakeClock,
) -> None:
    """Children of several records may share groups in any mix without a deadlock."""
    source, sink = Ledger([3, 3, 3, 1, 2]), Kept()
    group: gp.Stage[int, list[int]] = gp.gather(2, linger=1, clock=clock)
    stage = gp.chain(gp.flat_map(range), group)
    report = await gp.Pipeline(source=source, stage=stage, sink=sink, clock=clock).run()
    assert sorted(value for group in sink.values for value in group) == sorted(
        [0, 1, 2] * 3 + [0] + [0, 1]
    )
    assert report.written == 5
    source.check()


async def test_a_group_in_order_does_not_wait_for_its_own_members(clock: FakeClock) -> None:
    """Ordered output and groups go together, whoever carries the group."""

    async def uneven(value: int) -> int:
        await clock.sleep((7 * value) % 5)
        return value

    source, sink = Ledger(range(20)), Kept()
    group: gp.Stage[int, list[int]] = gp.gather(4, linger=2, clock=clock)
    stage = gp.chain(gp.map(uneven), group)
    report = await gp.Pipeline(
        source=source, stage=stage, sink=gp.in_order(sink), max_in_flight=8, clock=clock
    ).run()
    assert report.written == 20
    source.check()


async def test_when_its_carrier_is_cut_off_a_member_walks_again(clock: FakeClock) -> None:
    """A carrier whose time is up while it waits takes no other record with it."""
    gather: gp.Stage[int, list[int]] = gp.gather(3, linger=100, clock=clock)
    first_done: list[str] = []

    async def late(value: int) -> int:
        if value == 1 and not first_done:
            first_done.append("")
            await clock.sleep(6)
        return value

    source, sink, dead = Ledger([0, 1]), Kept(), Kept()
    report = await gp.Pipeline(
        source=source,
        stage=gp.chain(gp.map(late), gather),
        sink=sink,
        dead_letters=dead,
        record_timeout=10,
        clock=clock,
    ).run()
    # Both carriers run out of their 10 s while the group lingers for 100 s: dead, not stuck.
    assert report.dead == 2
    assert clock.now() < 40
    source.check()


async def test_reduce_folds_in_the_order_of_arrival() -> None:
    """``reduce`` calls the function with what there is so far and the next value."""
    sink = Kept()
    stage = gp.reduce(lambda so_far, value: f"{so_far}{value}", 3, linger=0)
    await gp.Pipeline(source=Ledger("abc"), stage=stage, sink=sink, max_in_flight=3).run()
    assert sorted("".join(sink.values)) == ["a", "b", "c"]


async def test_a_group_has_a_key_of_its_own(clock: FakeClock) -> None:
    """The same members in the same order give the same key; the members are named."""
    keys = []
    for _ in range(2):
        sink = Kept()
        await gp.Pipeline(
            source=Ledger(range(2)), stage=gp.gather(2, clock=clock), sink=sink, clock=clock
        ).run()
        keys.append(sink.records[0].key)
        assert sink.records[0].attributes == {"members": ("0", "1")}
    assert keys[0] == keys[1]


async def test_gather_works_outside_a_run(clock: FakeClock) -> None:
    """Without a pipeline the first call answers the group and the others nothing."""
    stage: gp.Stage[int, list[int]] = gp.gather(2, linger=5, clock=clock)
    answers: dict[int, Any] = {}

    async def call(value: int) -> None:
        await clock.sleep(value)
        answers[value] = await stage(gp.Record(value, str(value)))

    async with anyio.create_task_group() as group:
        group.start_soon(call, 1)
        group.start_soon(call, 2)
    assert answers[1][0].value == [1, 2]
    assert answers[2] == ()


async def test_a_record_that_wrote_something_is_written_whatever_became_of_its_group(
    clock: FakeClock,
) -> None:
    """A dropped group does not make a record filtered that has an output of its own."""
    group: gp.Stage[str, Any] = gp.gather(2, linger=5, clock=clock)
    ways: dict[str, gp.Stage[str, Any]] = {
        "direct": gp.map(str),
        "grouped": gp.chain(group, gp.filter(lambda _: False)),
    }
    stage = gp.chain(gp.flat_map(lambda words: words), gp.branch(str, ways))
    sink = Kept()
    source = Ledger([["grouped"], ["direct", "grouped"]])
    report = await gp.Pipeline(source=source, stage=stage, sink=sink, clock=clock).run()
    assert sink.values == ["direct"]
    assert (report.written, report.filtered) == (1, 1)


def lists_of_pairs(size: int, clock: FakeClock) -> gp.Stage[int, list[list[int]]]:
    """Gather pairs, and lists of *size* of those."""
    pairs: gp.Stage[int, list[int]] = gp.gather(2, clock=clock)
    lists: gp.Stage[list[int], list[list[int]]] = gp.gather(size, clock=clock)
    return gp.chain(pairs, lists)


async def test_members_of_gathered_groups_settle_when_the_outermost_is_written(
    clock: FakeClock,
) -> None:
    """When groups are gathered in their turn, nobody is settled before the last is written."""
    settled_meanwhile: list[int] = []

    async def slow_sink(_: gp.Record[Any]) -> None:
        await clock.sleep(10)
        settled_meanwhile.append(len(source.settled))

    source = Ledger(range(6))
    report = await gp.Pipeline(
        source=source, stage=lists_of_pairs(3, clock), sink=slow_sink, clock=clock
    ).run()
    assert (report.written, report.filtered) == (6, 0)
    assert settled_meanwhile == [0]
    assert len(source.done) == 6


async def test_members_of_gathered_groups_fail_as_the_outermost_does(clock: FakeClock) -> None:
    """When groups are gathered in their turn and the last fails, each record is a dead letter."""

    async def breaks(_: object) -> int:
        raise ValueError("bad")

    dead = Kept()
    report = await gp.Pipeline(
        source=Ledger(range(8)),
        stage=gp.chain(lists_of_pairs(2, clock), gp.map(breaks)),
        sink=Kept(),
        dead_letters=dead,
        clock=clock,
    ).run()
    assert (report.dead, report.written, report.filtered) == (8, 0, 0)
    assert {letter.stage for letter in dead.values} == {"breaks"}


async def test_two_records_whose_children_are_gathered_together_both_end(
    clock: FakeClock,
) -> None:
    """Two records that each carry a child of the other wait for nobody for ever."""

    async def children(number: int) -> list[int]:
        return [number, 10 + number]

    async def stagger(child: int) -> int:
        # The first record opens one group, the second the other.
        await clock.sleep({1: 1, 2: 2, 12: 3, 11: 4}[child])
        return child

    sink = Kept()
    report = await gp.Pipeline(
        source=Ledger([1, 2]),
        stage=gp.chain(
            gp.flat_map(children), gp.map(stagger), gp.gather(2, clock=clock, linger=50)
        ),
        sink=sink,
        clock=clock,
    ).run()
    assert (report.written, report.filtered) == (2, 0)
    assert sorted(map(sorted, sink.values)) == [[1, 2], [11, 12]]
    assert clock.now() == 4


async def test_when_the_outer_carrier_is_cut_off_the_others_gather_anew(
    clock: FakeClock,
) -> None:
    """A carrier whose time is up takes its own group with it, and none of the others."""

    async def late(value: int) -> int:
        await clock.sleep({0: 8, 1: 5.5, 2: 3, 3: 0}[value])
        return value

    source, sink, dead = Ledger(range(4), every=3, clock=clock), Kept(), Kept()
    inner: gp.Stage[int, list[int]] = gp.gather(2, clock=clock, linger=10)
    outer: gp.Stage[list[int], list[list[int]]] = gp.gather(3, clock=clock, linger=5)
    report = await gp.Pipeline(
        source=source,
        stage=gp.chain(gp.map(late), inner, outer),
        sink=sink,
        dead_letters=dead,
        record_timeout=10,
        clock=clock,
    ).run()
    # 0 and 1 are a pair from 11.5 s on; 2 and 3 join them at 12 s; the time of 0 is up at 13 s.
    assert sorted(letter.key for letter in dead.values) == ["0", "1"]
    assert [sorted(pair) for (pair,) in sink.values] == [[2, 3]]
    assert (report.dead, report.written, report.filtered) == (2, 2, 0)
    source.check()
