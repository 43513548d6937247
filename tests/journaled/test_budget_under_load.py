"""Budgets when very many calls want the same money at once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline._journal import NANO, CallEnd, Intent, Settled
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.testing import FakeClock
from tests.engine.doubles import Kept, Ledger
from tests.journals.disk import Disk

from .worlds import PRICES

pytestmark = pytest.mark.anyio

CALLS = 1000
CAP = Decimal("0.02")


class Watched:
    """A journal whose accounts are looked at after every commit that moves money."""

    peak = 0
    asked = 0
    budgets: Callable[[], Any]

    async def begin_call(self, intent: Intent, /) -> int:
        self.asked += 1
        number: int = await super().begin_call(intent)  # type: ignore[misc]
        await self._look()
        return number

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        settled: Settled = await super().end_call(call, end)  # type: ignore[misc]
        await self._look()
        return settled

    async def _look(self) -> None:
        for line in await self.budgets():
            self.peak = max(self.peak, line.spent + line.reserved)


class WatchedMemory(Watched, Memory):
    """In memory."""


class WatchedSqlite(Watched, Sqlite):
    """In a file."""


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_thousand_calls_at_once_use_the_cap_up_and_stay_within(
    clock: FakeClock, tmp_path: Path, kind: str
) -> None:
    """Of 1,000 calls at once as many are made as the cap has room for, and not one more."""
    bill, most = Decimal(0), 0
    under_way = 0

    async def call(request: gp.Request) -> gp.Response:
        nonlocal bill, most, under_way
        under_way += 1
        most = max(most, under_way)
        number = int(request.prompt)
        usage = gp.Usage(input_tokens=4, output_tokens=1 + number % 4)
        bill += PRICES.cost("double", "double", usage, at=0.0) or 0
        await clock.sleep(1 + number % 2)
        under_way -= 1
        return gp.Response("yes", usage=usage, model="double")

    model = gp.wrap(call, gp.Journaled(provider="double", model="double"))

    async def ask(value: int) -> str:
        return str((await model(gp.Request(f"{value:04d}", max_output_tokens=4))).text)

    journal: Any = (
        WatchedMemory()
        if kind == "memory"
        else WatchedSqlite(
            tmp_path / "run.db", ballast=0, clock=clock, writer="inline", connect=Disk().connect
        )
    )
    pipeline = gp.Pipeline(
        source=Ledger(range(CALLS)),
        stage=gp.map(ask),
        sink=Kept(),
        clock=clock,
        journal=journal,
        budgets=[gp.Budget(cap=CAP, window="total")],
        prices=PRICES,
        max_in_flight=CALLS,
    )
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    report = caught.value.report
    assert report.written + report.handed_back == CALLS
    assert most > 100
    # Besides the first time, each looks when one has ended, and when one before it found room.
    assert journal.asked <= CALLS + 2 * report.written + 2
    print(f"{CALLS} at once, at most {most} under way: {bill / CAP:.1%} of the cap billed")
    assert Decimal("0.95") * CAP <= bill <= CAP
    assert journal.peak <= int(CAP * NANO)
    async with journal:
        (line,) = await journal.budgets()
    assert (line.reserved, line.spent) == (0, int(bill * NANO))
