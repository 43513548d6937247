"""What outlives a call, a stream, holds of quota, slots and circuit, and how it gives it back."""

from __future__ import annotations

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import BulkheadFull, Overloaded
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import AdaptiveLimit, CircuitBreaker, MemoryBuckets, RateLimit
from genai_pipeline.testing import FakeClock

from .moments import a_moment, run

pytestmark = pytest.mark.anyio
ASK = gp.Request("x" * 32, max_output_tokens=86)  # 14 tokens of input


def quota_of(clock: FakeClock, **options: int) -> tuple[RateLimit, MemoryBuckets]:
    """Answer a limit, and where what is left of it can be seen."""
    buckets = MemoryBuckets(clock=clock)
    limits = {"tokens": 6000, "input_tokens": 6000, "output_tokens": 6000, **options}
    return RateLimit(**limits, burst=60, buckets=buckets, clock=clock), buckets  # type: ignore[arg-type]


async def test_what_was_left_pays_for_what_came() -> None:
    """Input stays as it was reserved; of the output the rest comes back."""
    limit, buckets = quota_of(FakeClock())
    reservation = await limit.reserve(ASK)
    assert buckets.levels() == {"tokens": 5900, "input_tokens": 5986, "output_tokens": 5914}
    reservation.left_early(6)
    assert buckets.levels() == {"tokens": 5980, "input_tokens": 5986, "output_tokens": 5994}
    assert limit.in_flight == 0


async def test_what_was_left_ends_once() -> None:
    """Further ends do nothing, nor does this one after another."""
    limit, buckets = quota_of(FakeClock())
    for first_end in ("left_early", "keep"):
        reservation = await limit.reserve(ASK)
        if first_end == "keep":
            reservation.keep()
        reservation.left_early(6)
        reservation.left_early(0)
        reservation.refund()
    assert buckets.levels()["output_tokens"] == 6000 - 6 - 86


async def test_what_was_left_teaches_nothing() -> None:
    """Answers that were cut short do not lower what is expected of whole ones."""
    limit, buckets = quota_of(FakeClock())
    for _ in range(40):
        (await limit.reserve(ASK)).left_early(0)
    before = buckets.levels()["output_tokens"]
    await limit.reserve(ASK)
    assert buckets.levels()["output_tokens"] == before - 86


async def test_without_limits_of_tokens_nothing_comes_back() -> None:
    """A request is a request, whether it was answered whole or not."""
    buckets = MemoryBuckets(clock=FakeClock())
    limit = RateLimit(requests=60, burst=60, buckets=buckets, clock=FakeClock())
    (await limit.reserve(ASK)).left_early(3)
    assert (buckets.levels(), limit.in_flight) == ({"requests": 59}, 0)


async def test_an_adaptive_slot_waits_as_a_call_does(clock: FakeClock) -> None:
    """Blocks queue behind calls, tell that they waited, and are refused when the line is full."""
    limit = AdaptiveLimit(initial=1, queue=1, clock=clock)
    heard: list[object] = []
    order: list[str] = []

    async def hold(name: str) -> None:
        async with limit.slot():
            order.append(name)
            await clock.sleep(3)

    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(run, gp.wrap(hold, limit), "call")
            await a_moment()
            assert (limit.in_use, limit.waiting) == (1, 1)  # the call holds one, and asks for more
            with pytest.raises(BulkheadFull):
                await hold("third")
            limit._slots.resize(2)
    assert order == ["call"]
    assert (limit.in_use, limit.waiting) == (0, 0)
    assert [type(each) for each in heard].count(PolicyWaited) == 1


async def test_an_adaptive_slot_learns_from_its_end(clock: FakeClock) -> None:
    """A block that ends well counts as a success, a protest as one, other ends as nothing."""
    limit = AdaptiveLimit(initial=2, clock=clock)
    async with limit.slot():
        pass
    assert limit.limit == 3
    with pytest.raises(Overloaded):
        async with limit.slot():
            raise Overloaded("busy")
    assert limit.limit == 2
    for error in (ZeroDivisionError, GeneratorExit):
        with pytest.raises(error):
            async with limit.slot():
                raise error
    assert (limit.limit, limit.in_use) == (2, 0)


async def test_one_protest_of_a_burst_counts(clock: FakeClock) -> None:
    """Blocks that were on their way when the limit fell do not lower it again."""
    limit = AdaptiveLimit(initial=10, clock=clock)
    slots = [limit.slot() for _ in range(3)]
    for slot in slots:
        await slot.__aenter__()
    for slot in slots:
        await slot.__aexit__(Overloaded, Overloaded("busy"), None)
    assert limit.limit == 9


async def test_a_stalled_line_lets_a_slot_through(clock: FakeClock) -> None:
    """A block that waits and sees none end for *patience* is let through."""
    limit = AdaptiveLimit(initial=1, patience=60, clock=clock)
    async with limit.slot(), limit.slot():
        assert clock.now() == 60
    assert limit.in_use == 0


def test_a_pause_is_not_the_callees_time() -> None:
    """A call that was paused is slow only by the rest of its time."""
    for paused, state in ((7.0, "closed"), (6.9, "open")):
        clock = FakeClock()
        breaker = CircuitBreaker(slow_after=3, window=1, min_calls=1, clock=clock)
        admission = breaker.admit()
        clock.advance(10)
        admission.settle(None, paused=paused)
        assert breaker.state == state


async def test_slots_go_to_those_who_wait(clock: FakeClock) -> None:
    """A slot that is given back passes to the first in line."""
    limit = AdaptiveLimit(initial=1, ceiling=1, clock=clock)
    got: list[int] = []

    async def hold(number: int) -> None:
        async with limit.slot():
            got.append(number)
            await clock.sleep(1)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(hold, number)
            await a_moment()
    assert got == [0, 1, 2]
