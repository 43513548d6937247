"""Many at a time, behind one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio


class Many:
    """Answers each value with its double, and writes the batches down."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.batches: list[list[int]] = []
        self.clock = clock

    async def __call__(self, values: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(values))
        if self.clock is not None:
            await self.clock.sleep(1)
        return [ValueError(f"no {value}") if value < 0 else value * 2 for value in values]


async def call_all(handler: gp.Handler[int, int], values: Sequence[int]) -> list[Any]:
    """Call *handler* for all values at once; answer results and errors in order."""
    ends: list[Any] = [None] * len(values)

    async def call(place: int, value: int) -> None:
        try:
            ends[place] = await handler(value)
        except Exception as error:  # noqa: BLE001 - compared by the test
            ends[place] = error

    async with anyio.create_task_group() as group:
        for place, value in enumerate(values):
            group.start_soon(call, place, value)
    return ends


async def test_each_caller_gets_its_own_answer_or_error(clock: FakeClock) -> None:
    """One slot's exception is one caller's."""
    handler = gp.batched(Many(clock), size=3, clock=clock)
    ends = await call_all(handler, [1, -2, 3])
    assert (ends[0], ends[2]) == (2, 6)
    assert str(ends[1]) == "no -2"


async def test_a_batch_goes_when_full_or_when_its_time_is_up(clock: FakeClock) -> None:
    """Full batches do not wait; the last waits for ``linger``."""
    many = Many()
    await call_all(gp.batched(many, size=4, linger=9, clock=clock), range(10))
    assert sorted(map(len, many.batches)) == [2, 4, 4]
    assert clock.now() == 9


async def test_a_batch_weighs_no_more_than_it_may(clock: FakeClock) -> None:
    """What would be too heavy together goes apart, and what is too heavy alone goes alone."""
    many = Many()
    handler = gp.batched(many, size=9, linger=1, weigh=float, max_weight=10, clock=clock)
    values = [3, 3, 3, 3, 25, 3, 10]
    assert await call_all(handler, values) == [2 * value for value in values]
    assert all(sum(batch) <= 10 or len(batch) == 1 for batch in many.batches)
    assert sorted(sum(many.batches, [])) == sorted(values)
    assert len(many.batches) < len(values)


async def test_an_error_of_the_whole_is_everyones(clock: FakeClock) -> None:
    """What the function for many raises, every caller of the batch gets."""

    async def breaks(_: Sequence[int]) -> Sequence[int]:
        raise gp.Transient("down", retry_after=3)

    ends = await call_all(gp.batched(breaks, size=2, clock=clock), [1, 2])
    assert [type(end) for end in ends] == [gp.Transient, gp.Transient]


async def test_the_wrong_number_of_answers_is_said(clock: FakeClock) -> None:
    """A function that loses an answer is an error for all, not a shift of answers."""

    async def short(values: Sequence[int]) -> Sequence[int]:
        return values[1:]

    ends = await call_all(gp.batched(short, size=2, clock=clock), [1, 2])
    assert all("answered 1 times to 2 values" in str(end) for end in ends)


async def test_when_the_leader_is_cancelled_the_others_may_try_again(clock: FakeClock) -> None:
    """Nobody hangs: the others of the batch get a `Transient`."""
    handler = gp.batched(Many(clock), size=2, linger=60, clock=clock)
    ends: list[Any] = []

    async def lead() -> None:
        with clock.cancel_at(clock.now() + 10.5):
            await handler(1)

    async def follow() -> None:
        await clock.sleep(10)
        try:
            await handler(2)
        except gp.Transient as error:
            ends.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        group.start_soon(follow)
    assert len(ends) == 1
    assert await call_all(handler, [5, 6]) == [10, 12]


async def test_a_cancelled_follower_leaves_the_batch_alone(clock: FakeClock) -> None:
    """The others get their answers."""
    handler = gp.batched(Many(clock), size=3, linger=5, clock=clock)
    ends: list[int] = []

    async def impatient() -> None:
        await clock.sleep(1)
        with clock.cancel_at(clock.now() + 1):
            await handler(2)

    async def patient(after: float, value: int) -> None:
        await clock.sleep(after)
        ends.append(await handler(value))

    async with anyio.create_task_group() as group:
        group.start_soon(patient, 0, 1)
        group.start_soon(impatient)
        group.start_soon(patient, 3, 3)
    assert sorted(ends) == [2, 6]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size=0"),
        ({"size": 2, "linger": -1}, "linger=-1"),
        ({"size": 2, "weigh": 3}, "weigh=3; give a function of a value"),
        ({"size": 2, "max_weight": 0}, "max_weight=0; give a number above 0"),
    ],
)
async def test_options_are_validated(options: dict[str, Any], words: str) -> None:
    """A wrong option is refused when built."""
    with pytest.raises(gp.ConfigurationError, match=words):
        gp.batched(Many(), **options)


@given(
    values=st.lists(st.integers(-3, 50), max_size=30),
    size=st.integers(1, 8),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_any_calls_get_their_own_answers(values: list[int], size: int, backend: str) -> None:
    """Property: whatever the batches, each caller gets what its own value gives."""

    async def run() -> None:
        async with FakeClock() as clock:
            many = Many(clock)
            ends = await call_all(gp.batched(many, size=size, linger=1, clock=clock), values)
        for value, end in zip(values, ends, strict=True):
            assert str(end) == (f"no {value}" if value < 0 else str(value * 2))
        assert all(len(batch) <= size for batch in many.batches)
        assert sorted(sum(many.batches, [])) == sorted(values)

    anyio.run(run, backend=backend)
