"""Attempts that wait in line for money which other calls hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script

from .test_journaled_runs import asking, pipeline

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook({"script": {"input": "1", "output": "10"}})
USED = gp.Usage(input_tokens=10, output_tokens=2)  # a quarter of what is held for it


def run_of(count: int, ask: Any, cap: str, clock: FakeClock) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline of *count* calls at once within *cap*."""
    return pipeline(
        range(count),
        gp.map(ask),
        journal=Memory(),
        budgets=[gp.Budget(cap=cap)],
        prices=PRICES,
        clock=clock,
        max_in_flight=count,
    )


def answering(latency: float | Callable[[gp.Request], float], clock: FakeClock) -> Script:
    """Answer a model that uses less than what is held."""
    answer = gp.Response("ok", usage=USED, model="script")
    return Script.of(lambda _: answer, latency=latency, clock=clock)


async def test_no_attempt_runs_out_of_time_in_line(clock: FakeClock) -> None:
    """However long calls wait for money, none is cut off, made again, or blamed on the provider."""
    script, told = answering(10, clock), list[gp.events.Event]()
    model = gp.resilient(script, timeout=gp.Timeout(12, clock=clock), clock=clock)
    with gp.listen(told.append):
        report = await run_of(100, asking(model), "0.0034", clock).run()
    assert (report.written, script.calls) == (100, 100)
    assert report.cost == 100 * gp.Budget(cap="0.00003").cap
    bad = (gp.resilience.RetryScheduled, gp.resilience.CircuitOpened)
    assert not [event for event in told if isinstance(event, bad)]


async def test_what_was_waited_for_money_is_added_to_the_time_there_is(clock: FakeClock) -> None:
    """A call that hangs is cut off its whole time after it was begun, whatever it waited before."""
    script = answering(lambda request: 10 if request.prompt == "0" else 1e9, clock)
    model = gp.wrap(script, gp.Timeout(25, clock=clock), gp.Timeout(15, clock=clock))
    report = await run_of(2, asking(model), "0.0002", clock).run()
    assert (report.written, report.dead, report.errors) == (1, 1, {"AttemptTimeout": 1})
    assert clock.now() == 10 + 15


async def test_a_deadline_holds_in_line_too(clock: FakeClock) -> None:
    """Whoever has no more time than a `Deadline` gives gets no money after it, and holds none."""
    script = answering(10, clock)
    timeout, deadline = gp.Timeout(60, clock=clock), gp.Deadline(7, clock=clock)
    patient = gp.wrap(script, timeout)
    model = gp.wrap(patient, deadline)

    async def ask(number: int) -> str:
        request = gp.Request(str(number), max_output_tokens=4)
        return (await (model if number else patient)(request)).text

    report = await run_of(2, ask, "0.0002", clock).run()
    assert (report.written, report.errors, script.calls) == (1, {"DeadlineExceeded": 1}, 1)
    assert report.cost == gp.Budget(cap="0.00003").cap
