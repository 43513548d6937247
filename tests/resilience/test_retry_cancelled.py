"""Cancellation goes through `Retry` at once, and nothing of a finished call stays behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.errors import Overloaded
from genai_pipeline.resilience import RetryBudget
from genai_pipeline.testing import FakeClock

from .cancelling import Call, cancel_at_every_wait
from .flaky import Flaky, retry


@pytest.mark.anyio
async def test_cancellation_at_every_wait_ends_the_call(clock: FakeClock) -> None:
    """Behaviour 17: at once, with no further attempt, and no token spent on a retry not made."""
    plays: list[tuple[int, float]] = []

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        budget = RetryBudget(capacity=10, ratio=0, reserve=0, clock=clock)
        outcomes = Overloaded("busy"), errors.Rejected("", retry_after=1), Overloaded("busy"), 1
        model = Flaky(clock, *outcomes, takes=2)
        policed = gp.wrap(model, retry(clock, budget=budget))
        began = clock.now()
        yield lambda: policed("prompt")
        plays.append((model.calls, budget.level))
        assert clock.now() - began <= 2 + 0.5 + 2 + 1.25 + 2 + 1.0 + 2

    # attempt, backoff, attempt, rejection's wait, attempt, backoff, attempt
    assert await cancel_at_every_wait(scenario) == 7
    assert plays == [(1, 10), (1, 10), (2, 9), (2, 9), (3, 9), (3, 9), (4, 8), (4, 8)]


@pytest.mark.anyio
async def test_cancelling_the_wait_for_a_rejection_refunds_nothing(clock: FakeClock) -> None:
    """Only the wait before a retry that was paid for gives a token back."""
    levels: list[float] = []

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        budget = RetryBudget(capacity=10, ratio=0, reserve=0, clock=clock)
        assert budget.withdraw()
        outcomes = errors.Rejected(""), Overloaded("busy"), errors.RateLimited("slow"), 1
        yield lambda: gp.wrap(Flaky(clock, *outcomes), retry(clock, budget=budget))("prompt")
        levels.append(budget.level)

    assert await cancel_at_every_wait(scenario) == 3
    assert levels == [9, 9, 8, 8]


@pytest.mark.parametrize("on", [Exception, lambda _: True], ids=["class", "function"])
def test_the_cancellation_of_a_task_is_not_swallowed(on: Any) -> None:
    """Pain 13: a task of asyncio's own that is cancelled once ends, in an attempt and in a wait."""

    async def model(calls: list[float]) -> str:
        calls.append(0)
        if calls[0] == len(calls) - 1:
            await asyncio.Event().wait()
        raise Overloaded("busy")

    async def cancelled(before: int) -> int:
        clock = FakeClock()
        calls: list[float] = [before]
        policed = gp.wrap(model, retry(clock, on=on, attempts=5))
        task = asyncio.ensure_future(policed(calls))
        for _ in range(before):
            await _settled()
            clock.advance(8)
        await _settled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(calls) - 1

    async def _settled() -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    assert asyncio.run(cancelled(1)) == 1
    assert asyncio.run(cancelled(2)) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("alarm", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_is_no_failure_goes_through(
    clock: FakeClock, alarm: type[BaseException]
) -> None:
    """What is not an `Exception` is raised at once and as it is, from whichever attempt."""
    for outcomes in ([alarm()], [Overloaded("busy"), alarm()]):
        model = Flaky(clock, *outcomes)
        with pytest.raises(alarm) as raised:
            await gp.wrap(model, retry(clock, on=lambda _: True))("prompt")
        assert model.calls == len(outcomes)
        assert not hasattr(raised.value, "__notes__")


@pytest.mark.anyio
async def test_nothing_is_left_in_cycles(clock: FakeClock) -> None:
    """Behaviour 21: a finished call leaves nothing that only the collector would free."""

    async def busy(value: object) -> object:
        raise Overloaded(f"busy {value}", retry_after=90 if value == "park" else None)

    policed = gp.wrap(busy, retry(clock))
    recovered = Flaky(clock, *[Overloaded("busy"), "fine"] * 20)
    refused = Flaky(clock, *[Overloaded("busy"), errors.Refused("no")] * 20)

    async def play(call: Any, value: str) -> None:
        try:
            await call(value)
        except errors.PipelineError:
            pass

    async def play_all() -> None:
        for _ in range(5):
            await play(policed, "exhausted")
            await play(policed, "park")
            await play(gp.wrap(recovered, retry(clock)), "fine")
            await play(gp.wrap(refused, retry(clock)), "refused")

    await play_all()
    gc.collect()
    gc.disable()
    try:
        await play_all()
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.anyio
async def test_the_last_error_tells_of_the_earlier_ones(clock: FakeClock) -> None:
    """Behaviour 21: the last error is raised as it is, and its note names the others in order."""
    last = Overloaded("third")
    model = Flaky(clock, Overloaded("first"), ConnectionResetError("second"), last)
    with pytest.raises(Overloaded) as raised:
        await gp.wrap(model, retry(clock, on=Exception))("prompt")
    assert raised.value is last
    assert last.__cause__ is last.__context__ is None
    assert last.__notes__ == [
        "Earlier attempts: Overloaded: first; ConnectionResetError: second",
    ]


@pytest.mark.anyio
async def test_notes_do_not_pile_up(clock: FakeClock) -> None:
    """An error object that is raised by many calls keeps its own notes and one of ours."""
    shared = Overloaded("x" * 1000)
    shared.add_note("of the provider's own")
    model = Flaky(clock, shared)
    policed = gp.wrap(model, retry(clock, attempts=9))
    for _ in range(3):
        with pytest.raises(Overloaded):
            await policed("prompt")
    own, ours = shared.__notes__
    assert own == "of the provider's own"
    told = ("Overloaded: " + "x" * 1000)[:200]
    assert ours == "Earlier attempts: " + "; ".join([told] * 5)


@pytest.mark.anyio
async def test_a_first_error_without_retry_gets_no_note(clock: FakeClock) -> None:
    """Where nothing was tried again, there is nothing to tell."""
    error = Overloaded("busy")
    with pytest.raises(Overloaded):
        await gp.wrap(Flaky(clock, error), retry(clock, attempts=1))("prompt")
    assert not hasattr(error, "__notes__")


def test_an_instance_serves_one_event_loop_after_the_other() -> None:
    """Nothing of one run is kept into the next, not even into one on another event loop."""
    clock = FakeClock()
    policy = retry(clock, on=lambda _: 0)

    async def once() -> object:
        model = Flaky(clock, Overloaded("busy"), "fine")
        with anyio.fail_after(30):
            return await gp.wrap(model, policy)("prompt")

    for backend in ("asyncio", "trio", "asyncio"):
        assert anyio.run(once, backend=backend) == "fine"
