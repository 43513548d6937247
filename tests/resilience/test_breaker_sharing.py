"""Breakers that share state: they conclude alone, and follow each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import ConnectionFailed, Overloaded
from genai_pipeline.events import listen
from genai_pipeline.resilience import (
    CircuitBreaker,
    CircuitSharingFailed,
    MemoryCircuits,
    SharedCircuit,
)
from genai_pipeline.testing import FakeClock

from .calls import answer, breaker_on, end, refused_for, state, trip

pytestmark = pytest.mark.anyio

DOWN = Overloaded("down")


def pair(clock: FakeClock, **options: Any) -> tuple[CircuitBreaker, CircuitBreaker, MemoryCircuits]:
    """Answer two breakers that share their state, and where."""
    circuits = MemoryCircuits(clock=clock)
    first, second = (
        breaker_on(clock, shared=circuits, share_every=0.5, **options) for _ in range(2)
    )
    return first, second, circuits


async def test_the_other_opens_within_one_period(clock: FakeClock) -> None:
    """12: what trips one is refused by the other half a second later, for as long as is left."""
    first, second, _ = pair(clock)
    async with first, second:
        await clock.sleep(0.2)
        trip(first)
        await clock.sleep(0)
        assert state(second) == "closed"
        await clock.sleep(0.5)
        assert refused_for(second.admit) == 14.5
        with pytest.raises(gp.errors.CircuitOpen, match="another process opened it"):
            second.check()
        assert refused_for(first.admit) == 14.5


async def test_news_is_told_at_once(clock: FakeClock) -> None:
    """Who opens does not wait with telling until it asks again."""
    circuits = MemoryCircuits(clock=clock)
    async with breaker_on(clock, shared=circuits, share_every=60) as breaker:
        await clock.sleep(1)
        trip(breaker)
        await clock.sleep(0.1)
        known = await circuits.read("circuit")
        assert known is not None
        assert known.state == "open"


async def test_calls_never_wait_for_the_shared_state(clock: FakeClock) -> None:
    """While the store answers nothing, calls are decided at once, by what is known here."""

    class Silent(MemoryCircuits):
        async def read(self, name: str, /) -> SharedCircuit | None:
            await anyio.sleep_forever()
            raise AssertionError

    breaker = breaker_on(clock, shared=Silent(clock=clock))
    async with breaker:
        await clock.sleep(3)
        assert await gp.wrap(answer, breaker)("yes") == "YES"
        trip(breaker)
        assert refused_for(breaker.admit) == 15
        assert clock.now() == 3


async def test_the_other_closes_too(clock: FakeClock) -> None:
    """When the probes of one are good, the other need not probe; it begins with a clean window."""
    first, second, _ = pair(clock)
    async with first, second:
        end(second, *[DOWN] * 9)
        trip(first)
        await clock.sleep(1.2)
        assert state(second) == "open"
        await clock.sleep(14)
        end(first, None, None)
        await clock.sleep(0.5)
        assert state(second) == "closed"
        end(second, *[DOWN] * 9)
        assert state(second) == "closed"


async def test_a_bad_probe_keeps_all_out(clock: FakeClock) -> None:
    """When the probe of one is bad, the other stays out for the longer time, mid-probe or not."""
    first, second, _ = pair(clock)
    async with first, second:
        trip(first)
        await clock.sleep(15)
        straggler = second.admit()
        end(first, DOWN)
        await clock.sleep(1.2)
        assert refused_for(second.admit) == pytest.approx(28.8)
        straggler.settle(None)
        assert state(second) == "open"
        await clock.sleep(28.8)
        end(second, DOWN)
        await clock.sleep(1.2)
        assert refused_for(first.admit) == pytest.approx(43.8)


async def test_who_shares_nothing_has_nothing_to_exchange(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A breaker of this process alone may be entered as well, gives itself, and asks nobody."""
    heard: list[gp.events.Event] = []
    with listen(heard.append):
        async with breaker_on(clock) as breaker:
            await clock.sleep(60)
            trip(breaker)
    assert [type(event).__name__ for event in heard] == ["CircuitOpened"]
    assert not caplog.records


async def test_the_shared_state_lives_as_long_as_the_breaker(clock: FakeClock) -> None:
    """A store that must be opened and closed is, once, however many share it."""
    log: list[str] = []

    class Opened(MemoryCircuits):
        async def __aenter__(self) -> None:
            log.append("open")

        async def __aexit__(self, *_: object) -> None:
            log.append("close")

    circuits = Opened(clock=clock)
    async with breaker_on(clock, shared=circuits), breaker_on(clock, shared=circuits):
        assert log == ["open"]
    assert log == ["open", "close"]


async def test_a_late_comer_hears_at_once(clock: FakeClock) -> None:
    """Who enters while the circuit is open is told so first of all; an old outage is no news."""
    first, second, _ = pair(clock)
    async with first:
        trip(first)
        await clock.sleep(1.2)
        async with second:
            await clock.sleep(0.1)
            assert state(second) == "open"
        third = breaker_on(clock, shared=first.shared)
        await clock.sleep(20)
        async with third:
            await clock.sleep(1.2)
            assert state(third) == "closed"


async def test_own_evidence_wins_over_old_news(clock: FakeClock) -> None:
    """Who trips before it hears that others closed stays open, and tells them."""
    first, second, circuits = pair(clock)
    trip(first)
    assert first._sharing is not None
    assert second._sharing is not None
    await first._sharing.exchange()
    clock.advance(15)
    end(first, None, None)
    await first._sharing.exchange()  # generation 2: closed
    trip(second)
    await second._sharing.exchange()  # loses: it knew of none
    assert state(second) == "open"
    await second._sharing.exchange()
    await first._sharing.exchange()
    assert (state(first), state(second)) == ("open", "open")
    known = await circuits.read("circuit")
    assert known == SharedCircuit(generation=3, state="open", seconds=15, openings=1)


async def exchanged(*breakers: CircuitBreaker) -> None:
    """Let each tell or hear the news, one after the other."""
    for breaker in breakers:
        assert breaker._sharing is not None
        await breaker._sharing.exchange()


async def test_an_opening_of_ones_own_keeps_its_reason(clock: FakeClock) -> None:
    """Who opened it goes on to say why, however often it hears its own news."""
    first, _, _ = pair(clock)
    trip(first)
    await exchanged(first, first, first)
    with pytest.raises(gp.errors.CircuitOpen, match="10 calls in a row failed"):
        first.check()


async def test_an_opening_that_is_nearly_over_is_told_and_heard(clock: FakeClock) -> None:
    """What is left of it counts, down to the last moment; what is over opens nothing."""
    first, second, circuits = pair(clock)
    trip(first)
    clock.advance(14.5)
    await exchanged(first, second)
    assert refused_for(second.admit) == 0.5
    clock.advance(0.5)
    third = breaker_on(clock, shared=circuits)
    await exchanged(third)
    assert state(third) == "closed"


async def test_an_opening_is_told_to_listeners_once(clock: FakeClock) -> None:
    """Two processes that opened at once, and then hear of each other, open no more."""
    first, second, _ = pair(clock)
    heard: list[gp.events.Event] = []
    with listen(heard.append):
        trip(first)
        trip(second)
        await exchanged(first, second, first, second)
    assert [type(event).__name__ for event in heard] == ["CircuitOpened"] * 2


async def test_what_others_opened_for_less_does_not_hold_out_longer(clock: FakeClock) -> None:
    """When the others may probe again, so may who was told of an older and longer opening."""
    circuits = MemoryCircuits(clock=clock)
    long = breaker_on(clock, shared=circuits, open_for=60)
    short = breaker_on(clock, shared=circuits, open_for=15)
    trip(long)
    await exchanged(long, short)
    short.force_close()
    await exchanged(short)
    trip(short)
    await exchanged(short)
    clock.advance(20)
    assert refused_for(long.admit) == 40
    await exchanged(long)
    long.check()


async def test_of_two_that_close_at_once_both_keep_the_first(clock: FakeClock) -> None:
    """The later of two closings tells nobody anything new; closed is for no time."""
    first, second, circuits = pair(clock)
    trip(first)
    await exchanged(first, second)
    first.force_close()
    second.force_close()
    await exchanged(first, second, second)
    known = await circuits.read("circuit")
    assert known == SharedCircuit(generation=2, state="closed", seconds=0.0, openings=0)


async def test_of_two_that_open_at_once_both_keep_the_first(clock: FakeClock) -> None:
    """The later of two openings follows the earlier, and tells nobody anything new."""
    first, second, circuits = pair(clock)
    assert first._sharing is not None
    assert second._sharing is not None
    trip(first)
    await first._sharing.exchange()
    clock.advance(3)
    trip(second)
    for _ in range(3):
        await second._sharing.exchange()
    assert refused_for(second.admit) == 12
    known = await circuits.read("circuit")
    assert known == SharedCircuit(generation=1, state="open", seconds=12, openings=1)


async def test_an_opening_that_is_over_is_not_told(clock: FakeClock) -> None:
    """Who could not tell while it was open says nothing when its time is over."""
    first, _, circuits = pair(clock)
    assert first._sharing is not None
    trip(first)
    clock.advance(15)
    await first._sharing.exchange()
    assert await circuits.read("circuit") is None


async def test_one_exchange_at_a_time(clock: FakeClock) -> None:
    """Of two runs that share a breaker only one asks at a time; a cancelled one frees the way."""
    asked: list[float] = []

    class Slow(MemoryCircuits):
        async def read(self, name: str, /) -> SharedCircuit | None:
            asked.append(clock.now())
            await clock.sleep(10)
            return None

    sharing = breaker_on(clock, shared=Slow(clock=clock))._sharing
    assert sharing is not None
    for _ in range(2):
        with clock.cancel_at(clock.now() + 5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sharing.exchange)
                tasks.start_soon(sharing.exchange)
    assert asked == [0, 5]


async def test_held_by_hand_is_this_process_alone(clock: FakeClock) -> None:
    """An operator's hand is not passed on, nor moved by others; closing by hand is passed on."""
    first, second, circuits = pair(clock)
    async with first, second:
        first.force_open()
        await clock.sleep(1.2)
        assert state(second) == "closed"
        trip(second)
        await clock.sleep(15)
        end(second, None, None)
        await clock.sleep(1.2)
        assert refused_for(first.admit) is None
        first.force_close()
        trip(second)
        await clock.sleep(2.2)
        assert (state(first), state(second)) == ("open", "open")
        first.force_close()
        await clock.sleep(1.2)
        assert (state(first), state(second)) == ("closed", "closed")
        trip(second)
        second.force_open()  # held before it was told
        await clock.sleep(1.2)
        known = await circuits.read("circuit")
        assert known is not None
        assert known.state == "closed"


async def test_what_a_store_lost_is_told_again(clock: FakeClock) -> None:
    """A store that comes back empty hears what is open, and closes nothing."""
    first, second, circuits = pair(clock)
    async with first, second:
        trip(first)
        await clock.sleep(1.2)
        circuits._circuits.clear()
        await clock.sleep(1.2)
        assert (state(first), state(second)) == ("open", "open")
        known = await circuits.read("circuit")
        assert known is not None
        assert (known.state, known.generation) == ("open", 2)
        end(first)
        await clock.sleep(13)
        end(first, None, None)
        await clock.sleep(1.2)
        assert state(second) == "closed"


class Failing(MemoryCircuits):
    """A store that fails when told to, and counts how often it is asked."""

    down = False
    asked = 0

    async def read(self, name: str, /) -> SharedCircuit | None:
        type(self).asked += 1
        if self.down:
            raise ConnectionFailed("no route")
        return await super().read(name)


async def test_alone_while_the_store_fails(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing store is told of once, asked ever more rarely, and heard again when it is back."""

    class Mine(Failing):
        pass

    failures: list[CircuitSharingFailed] = []

    def hear(event: gp.events.Event) -> None:
        if isinstance(event, CircuitSharingFailed):
            failures.append(event)

    circuits = Mine(clock=clock)
    first, second = (breaker_on(clock, name="tiny", shared=circuits) for _ in range(2))
    with listen(hear):
        async with first:
            Mine.down = True
            await clock.sleep(91.5)
            asked = Mine.asked
            trip(first)
            assert refused_for(first.admit) == 15
            Mine.down = False
            await clock.sleep(30)
            async with second:
                trip(second)
                await clock.sleep(30)
                assert state(first) == "open"
                Mine.down = True
                await clock.sleep(1.2)
    assert asked == 8  # at once, then after 1, 2, 4, 8, 16, 30 and 30 s
    assert [(each.name, str(each.error)) for each in failures] == [("tiny", "no route")] * 3
    assert "circuit tiny goes on alone, its shared state fails: no route" in caplog.text


async def test_a_pipeline_enters_and_leaves_the_exchange(clock: FakeClock) -> None:
    """A run exchanges while it lasts, in however many wraps; the next run begins anew."""
    first, second, _ = pair(clock)

    async def slowly(value: str) -> str:
        await clock.sleep(2)
        return value

    stage = gp.chain(gp.wrap(gp.map(slowly), first), gp.wrap(gp.map(slowly), first))
    for _ in range(2):
        sink: gp.sinks.Collect[str] = gp.sinks.Collect()
        source = gp.sources.Values(["a"])
        pipeline = gp.Pipeline(source=source, stage=stage, sink=sink, clock=clock)
        async with second, anyio.create_task_group() as tasks:
            tasks.start_soon(pipeline.run)
            await clock.sleep(0.2)
            trip(second)
            await clock.sleep(0.7)
            assert refused_for(first.admit) == pytest.approx(14.3)
        assert sink.values == ["a"]  # waited, and went on
        assert first._sharing is not None
        assert first._sharing._wakes == []
        end(second, None, None)
        assert state(second) == "closed"


@asynccontextmanager
async def two_runs(breaker: CircuitBreaker) -> AsyncIterator[None]:
    """Enter the breaker twice, as two pipelines at once do."""
    async with breaker, anyio.create_task_group() as tasks:
        leave = anyio.Event()

        async def other(*, task_status: anyio.abc.TaskStatus[None]) -> None:
            async with breaker:
                task_status.started()
                await leave.wait()

        await tasks.start(other)
        yield
        leave.set()


async def test_two_runs_at_once(clock: FakeClock) -> None:
    """A breaker in two pipelines at once exchanges for both, and still when one has ended."""
    first, second, circuits = pair(clock)
    async with second, first:
        async with two_runs(first):
            trip(first)
            await clock.sleep(1.2)
            assert state(second) == "open"
        await clock.sleep(14)
        end(first, None, None)
        await clock.sleep(1.2)
        assert state(second) == "closed"
    known = await circuits.read("circuit")
    assert known is not None
    assert known.generation == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["trip", "probe well", "probe badly", "exchange", "wait", "lose"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@given(STEPS)
@example(
    [
        *[("trip", 1), ("wait", 2), ("wait", 2), ("trip", 0), ("wait", 1), ("probe badly", 1)],
        *[("exchange", 1), ("wait", 1), ("lose", 0), ("exchange", 0), ("wait", 1), ("wait", 2)],
    ]
)
@settings(max_examples=400, deadline=None)
def test_all_agree_in_the_end(steps: list[tuple[str, int]]) -> None:
    """After any history, once nothing happens, exchanging brings all to what is shared."""
    clock = FakeClock()
    circuits = MemoryCircuits(clock=clock)
    breakers = [breaker_on(clock, shared=circuits, open_for=50) for _ in range(3)]

    def act(what: str, who: int) -> None:
        breaker = breakers[who]
        if what == "trip" and state(breaker) == "closed":
            trip(breaker)
        elif what == "wait":
            clock.advance(10 * who)
        elif what == "lose":
            circuits._circuits.clear()
        elif what == "exchange":
            now_run(breaker)
        elif what.startswith("probe") and state(breaker) != "closed":
            try:
                end(breaker, *[None if what == "probe well" else DOWN] * 2)
            except gp.Rejected:
                pass

    for step in steps:
        act(*step)
    for _ in range(4):  # each may lose once to each of the others
        for breaker in breakers:
            now_run(breaker)
    assert len({refusing(breaker) for breaker in breakers}) == 1


def refusing(breaker: CircuitBreaker) -> float | None:
    """Answer when it lets calls through again, `None` if it does now."""
    try:
        breaker.check()
    except gp.Rejected as refusal:
        return refusal.retry_after
    return None


def now_run(breaker: CircuitBreaker) -> None:
    """Exchange once; in memory nothing waits, so no event loop is needed."""
    assert breaker._sharing is not None
    exchange = breaker._sharing.exchange()
    with pytest.raises(StopIteration):
        exchange.send(None)


async def test_memory_forgets_the_oldest(clock: FakeClock) -> None:
    """It keeps at most so many circuits; the one changed longest ago goes first."""
    circuits = MemoryCircuits(clock=clock, max_entries=2)
    for name in ("a", "b"):
        await circuits.change(name, 0, "open", 5.0, 1)
    known = await circuits.read("a")
    assert known is not None
    assert await circuits.change("a", known.generation, "open", 9.0, 2) == (
        True,
        SharedCircuit(generation=3, state="open", seconds=9.0, openings=2),
    )
    await circuits.change("c", 0, "closed", 0.0, 0)
    assert await circuits.read("b") is None
    assert await circuits.read("a") is not None
    assert await circuits.read("c") is not None


async def test_a_change_needs_the_generation_it_is_based_on(clock: FakeClock) -> None:
    """Of two changes based on the same generation the second changes nothing, and hears of it."""
    circuits = MemoryCircuits(clock=clock)
    won, first = await circuits.change("a", 0, "open", 5.0, 1)
    clock.advance(2)
    lost, seen = await circuits.change("a", 0, "closed", 0.0, 0)
    assert (won, lost) == (True, False)
    assert seen == await circuits.read("a")
    assert seen == SharedCircuit(generation=first.generation, state="open", seconds=3.0, openings=1)


def test_memory_keeps_at_least_one() -> None:
    """It keeps ten thousand circuits unless told otherwise, and must keep one."""
    assert MemoryCircuits().max_entries == 10_000
    assert MemoryCircuits(max_entries=1).max_entries == 1
    with pytest.raises(gp.ConfigurationError, match="max_entries=0; give a whole number, 1 or mo"):
        MemoryCircuits(max_entries=0)
    with pytest.raises(gp.ConfigurationError, match="MemoryCircuits: clock=3; give"):
        MemoryCircuits(clock=3)  # type: ignore[arg-type]
