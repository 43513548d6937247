"""A run that is cancelled at any of its steps: what it has in hand is kept, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVarTuple

import anyio
import anyio.lowlevel
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline.journals import Sqlite
from tests.engine.doubles import Kept, Ledger

RECORDS = 2

Given = TypeVarTuple("Given")


@attrs.define(eq=False)
class Steps:
    """Calls something at the *at*-th step of an event loop."""

    at: int
    strike: Callable[[], None] | None = None
    """What to call; steps count as long as there is something."""

    met: int = 0

    def step(self) -> None:
        """Note a step."""
        if self.strike is not None:
            self.met += 1
            if self.met == self.at:
                self.strike()

    # How trio and asyncio tell of their steps.

    def before_task_step(self, task: object) -> None:
        """Note that trio goes on with a task."""
        self.step()

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make an event loop of asyncio that tells of what it is about to call."""
        steps = self

        class Loop(asyncio.SelectorEventLoop):
            def call_soon(
                self,
                callback: Callable[[*Given], object],
                *args: *Given,
                context: Context | None = None,
            ) -> asyncio.Handle:
                # Not from within the step that asked for this.
                super().call_soon(steps.step)
                return super().call_soon(callback, *args, context=context)

        return Loop()

    def options(self, backend: str) -> dict[str, Any]:
        """Answer the options of *backend* that let this hear of steps."""
        return {"instruments": [self]} if backend == "trio" else {"loop_factory": self.new_loop}


@attrs.define
class Model:
    """A model that answers after it was waited for; what it has answered is in hand."""

    sent: Counter[str] = attrs.field(factory=Counter)
    answered: Counter[str] = attrs.field(factory=Counter)

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.sent[request.prompt] += 1
        await anyio.lowlevel.checkpoint()
        self.answered[request.prompt] += 1
        return gp.Response(request.prompt.upper())


async def _run(folder: Path, call: Model, sink: Kept, steps: Steps | None) -> gp.Report:
    model = gp.wrap(call, gp.Journaled(provider="double", model="double"))

    async def twice(value: str) -> str:
        first = await model(gp.Request(f"first {value}", max_output_tokens=4))
        return (await model(gp.Request(f"{first.text} second", max_output_tokens=4))).text

    source = Ledger([str(number) for number in range(RECORDS)])
    pipeline = gp.Pipeline(
        source=source,
        stage=gp.map(twice),
        sink=sink,
        journal=Sqlite(folder / "run.db", ballast=0),
    )
    with anyio.CancelScope() as scope:
        if steps is not None:
            steps.strike = scope.cancel
        await pipeline.run()
    if steps is not None:
        steps.strike = None
    source.check()
    report = pipeline.report()
    report.check()
    assert report.pending == 0
    assert (report.dead, report.filtered) == (0, 0)
    return report


async def _look(folder: Path, call: Model) -> None:
    async with Sqlite(folder / "run.db", ballast=0) as journal:
        assert await journal.check() == []
        assert "claimed" not in await journal.counts("pipeline")
        unknown = await journal.open_calls()
        past = await journal.past_calls([str(number) for number in range(RECORDS)], "pipeline")
    kept = Counter(each.state for claim in past.values() for each in claim.calls)
    assert kept["inflight"] == 0
    assert kept["answered"] == call.answered.total()
    assert len(unknown) == (call.sent - call.answered).total()


def _cancelled_at(folder: Path, backend: str, at: int) -> bool:
    """Cancel a run at a step, look at what is left, and run again; answer if it came so far."""
    steps, call, sink = Steps(at), Model(), Kept()

    async def main() -> None:
        await _run(folder, call, sink, steps)
        if (folder / "run.db").exists():
            await _look(folder, call)
        report = await _run(folder, call, sink, None)
        assert report.written + report.skipped == RECORDS

    anyio.run(main, backend=backend, backend_options=steps.options(backend))
    assert set(call.answered.values()) == {1}, "an answer that was in hand was paid for again"
    assert set(sink.values) == {f"FIRST {number} SECOND" for number in range(RECORDS)}
    return steps.met >= at


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_at_any_step_what_is_in_hand_is_kept(folder: Path, backend: str) -> None:
    """Each answer that came is in the journal, and every record is handed back or has its end."""
    at = 1
    while True:
        place = folder / str(at)
        place.mkdir()
        if not _cancelled_at(place, backend, at):
            break
        at += 1
    print(f"cancelled at each of {at - 1} steps")
    assert at > 30
