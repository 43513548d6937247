"""`Push`: what other tasks put in is read, and they learn how it ended."""

from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline.errors import ConfigurationError, DataError, Permanent, Rejected, Stopped
from genai_pipeline.records import Delivery
from genai_pipeline.sources import Push
from tests.sources.reading import keys, read, values

pytestmark = pytest.mark.anyio


async def test_puts_before_and_during_reading_are_read_in_order() -> None:
    """What was put before the reader came is read first, then what comes later."""
    push: Push[int] = Push()
    await push.put(1)
    seen: list[int] = []

    async def reader() -> None:
        async for delivery in push:
            seen.append(delivery.record.value)  # noqa: PERF401 - it is looked at meanwhile

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        await wait_all_tasks_blocked()
        await push.put(2)
        await wait_all_tasks_blocked()
        assert seen == [1, 2]
        push.close()


async def test_a_full_source_makes_putters_wait_in_line() -> None:
    """Puts beyond the capacity wait, and get in one by one in the order they came."""
    push: Push[int] = Push(capacity=2)
    accepted: list[int] = []

    async def putter(value: int) -> None:
        await push.put(value)
        accepted.append(value)

    async with anyio.create_task_group() as tasks:
        for value in range(5):
            tasks.start_soon(putter, value)
            await wait_all_tasks_blocked()
        assert accepted == [0, 1]
        deliveries = aiter(push)
        assert (await anext(deliveries)).record.value == 0
        await wait_all_tasks_blocked()
        assert accepted == [0, 1, 2]
        assert [(await anext(deliveries)).record.value for _ in range(4)] == [1, 2, 3, 4]
        await wait_all_tasks_blocked()
        assert sorted(accepted) == [0, 1, 2, 3, 4]
        await deliveries.aclose()


async def test_put_nowait_rejects_when_full() -> None:
    """Without waiting, a full source raises Rejected that names the capacity."""
    push: Push[int] = Push(capacity=1)
    push.put_nowait(1)
    with pytest.raises(Rejected, match="full, capacity=1"):
        push.put_nowait(2)


async def test_submit_returns_when_the_record_is_settled() -> None:
    """The sender goes on only after the reader settled its record."""
    push: Push[str] = Push()
    done: list[str] = []

    async def sender() -> None:
        await push.submit("x", key="k")
        done.append("x")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender)
        deliveries = aiter(push)
        delivery = await anext(deliveries)
        await wait_all_tasks_blocked()
        assert done == []
        await delivery.settle(None)
        await wait_all_tasks_blocked()
        assert done == ["x"]
        await deliveries.aclose()


async def test_submit_raises_what_the_record_was_handed_back_with() -> None:
    """A record that is handed back raises its error at the sender."""
    push: Push[str] = Push()
    async with anyio.create_task_group() as tasks:

        async def sender() -> None:
            with pytest.raises(Permanent, match="no such model"):
                await push.submit("x")

        tasks.start_soon(sender)
        deliveries = aiter(push)
        await (await anext(deliveries)).settle(Permanent("no such model"))
        await deliveries.aclose()


async def test_a_receipt_knows_the_end_afterwards() -> None:
    """A receipt can be asked after the record was settled, more than once."""
    push: Push[str] = Push()
    receipt = await push.put("x", key=7)
    push.close()
    await read(push)
    assert receipt.key == "7"
    await receipt.settled()
    await receipt.settled()


async def test_attributes_and_keys_travel() -> None:
    """A key given to put wins over key=, and key= over the counter."""
    push: Push[str] = Push(key=lambda value: value.upper())
    push.put_nowait("a", attributes={"tenant": "t"})
    push.put_nowait("b", key="given")
    push.close()
    first, second = await read(push)
    assert (first.record.key, dict(first.record.attributes)) == ("A", {"tenant": "t"})
    assert second.record.key == "given"


async def test_counted_keys_begin_with_the_prefix() -> None:
    """Two sources do not give the same keys, unless they have the same prefix."""

    async def counted(push: Push[int]) -> list[str]:
        push.put_nowait(1)
        push.put_nowait(2)
        push.close()
        return keys(await read(push))

    assert await counted(Push(prefix="p")) == ["p-1", "p-2"]
    assert not set(await counted(Push())) & set(await counted(Push()))


async def test_a_value_that_makes_no_key_is_refused_at_the_putter() -> None:
    """Nothing is accepted when key= fails: the putter hears of it."""
    push: Push[dict[str, str]] = Push(key=lambda value: value["id"])
    with pytest.raises(DataError, match="key= raised KeyError"):
        push.put_nowait({})
    push.close()
    assert await read(push) == []


async def test_close_ends_the_reading_after_what_is_queued() -> None:
    """Closed, the source gives what it has and ends; a put is refused."""
    push: Push[int] = Push()
    push.put_nowait(1)
    push.close()
    with pytest.raises(Stopped, match="closed"):
        push.put_nowait(2)
    with pytest.raises(Stopped, match="closed"):
        await push.put(2)
    assert values(await read(push)) == [1]
    assert await read(push) == []


async def test_close_turns_away_who_waits_for_room() -> None:
    """A put that waits for room when the source is closed raises Stopped."""
    push: Push[int] = Push(capacity=1)
    push.put_nowait(1)
    async with anyio.create_task_group() as tasks:

        async def putter() -> None:
            with pytest.raises(Stopped, match="closed"):
                await push.put(2)

        tasks.start_soon(putter)
        await wait_all_tasks_blocked()
        push.close()
    assert values(await read(push)) == [1]


async def test_a_reader_that_goes_hands_back_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    """Senders of records that were never read get Stopped, and a warning counts the unheard."""
    push: Push[int] = Push(capacity=3)
    outcomes: list[str] = []

    async def sender(value: int) -> None:
        try:
            await push.submit(value)
        except Stopped as error:
            outcomes.append(str(error))

    push.put_nowait(0)
    push.put_nowait(1)
    async with anyio.create_task_group() as tasks:
        for value in (2, 3):  # one is queued, one waits for room
            tasks.start_soon(sender, value)
        await wait_all_tasks_blocked()
        deliveries = aiter(push)
        await anext(deliveries)
        await wait_all_tasks_blocked()
        with caplog.at_level(logging.WARNING, "genai_pipeline"):
            await deliveries.aclose()
    assert outcomes == ["Push: the pipeline that read it has stopped"] * 2
    assert "1 of the records put in were never read" in caplog.text
    with pytest.raises(Stopped, match="has stopped"):
        await push.put(4)


async def test_it_can_be_read_again_after_its_reader_went() -> None:
    """A new reader opens the source again."""
    push: Push[int] = Push()
    push.put_nowait(1)
    deliveries = aiter(push)
    await anext(deliveries)
    await deliveries.aclose()
    async with anyio.create_task_group() as tasks:
        seen: list[Delivery[int]] = []

        async def reader() -> None:
            seen.extend(await read(push))

        tasks.start_soon(reader)
        await wait_all_tasks_blocked()
        await push.put(2)
        push.close()
    assert values(seen) == [2]


async def test_two_readers_are_refused() -> None:
    """A second reader at the same time is an error."""
    push: Push[int] = Push()
    push.put_nowait(1)
    first = aiter(push)
    await anext(first)
    with pytest.raises(ConfigurationError, match="being read already"):
        await anext(aiter(push))
    await first.aclose()


async def test_a_cancelled_put_takes_its_record_back() -> None:
    """A put that is cancelled while it waits for room leaves nothing behind."""
    push: Push[int] = Push(capacity=1)
    push.put_nowait(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push.put, 2)
        await wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    push.close()
    assert values(await read(push)) == [1]


async def test_a_put_cancelled_as_it_gets_room_does_not_hold_the_room() -> None:
    """Whether it was still accepted or not, the next who waits gets in after it."""
    push: Push[int] = Push(capacity=1)
    push.put_nowait(1)
    accepted: list[int] = []

    async def putter(value: int) -> None:
        await push.put(value)
        accepted.append(value)

    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(putter, 2)
            await wait_all_tasks_blocked()
            outer.start_soon(putter, 3)
            await wait_all_tasks_blocked()
            deliveries = aiter(push)
            await anext(deliveries)
            tasks.cancel_scope.cancel()
        seen = [(await anext(deliveries)).record.value]
        if seen == [2]:
            seen.append((await anext(deliveries)).record.value)
        await wait_all_tasks_blocked()
        assert seen == accepted
        assert seen[-1] == 3
        await deliveries.aclose()


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True])
def test_capacity_is_a_whole_number_above_zero(capacity: int) -> None:
    """An unbounded or empty source is refused when it is built."""
    with pytest.raises(ConfigurationError, match="Push: capacity="):
        Push(capacity=capacity)


@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(1, 4),
    putters=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    backs=st.sets(st.integers(0, 20)),
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_submit_ends_as_its_record_did(
    backend: str, capacity: int, putters: list[int], backs: set[int]
) -> None:
    """However many senders and whatever capacity: each learns its own record's end, once."""
    ended: dict[str, str] = {}

    async def main() -> list[str]:
        push: Push[int] = Push(capacity=capacity)
        seen: list[str] = []

        async def sender(number: int, count: int) -> None:
            for each in range(count):
                key = f"{number}.{each}"
                try:
                    await push.submit(each, key=key)
                    ended[key] = "done"
                except Permanent as error:
                    ended[key] = str(error)

        async def reader() -> None:
            async for delivery in push:
                back = len(seen) in backs
                seen.append(delivery.record.key)
                await anyio.lowlevel.checkpoint()
                await delivery.settle(Permanent(delivery.record.key) if back else None)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            async with anyio.create_task_group() as senders:
                for number, count in enumerate(putters):
                    senders.start_soon(sender, number, count)
            push.close()
        return seen

    seen = anyio.run(main, backend=backend)
    assert sorted(seen) == sorted(ended)
    assert len(seen) == sum(putters)
    for ordinal, key in enumerate(seen):
        assert ended[key] == (key if ordinal in backs else "done")
