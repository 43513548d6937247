"""What a run does when its journal fails at a moment at which others wait for it."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline._journal import CallEnd, Settled
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept, Ledger

from .worlds import PRICES

pytestmark = pytest.mark.anyio


class Failing(Memory):
    """A journal that cannot keep how the first call ended."""

    failures = 1

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        if self.failures:
            self.failures -= 1
            raise gp.errors.StorageFailed("the disk failed")
        return await super().end_call(call, end)


async def test_nobody_waits_for_money_that_a_failed_commit_holds(clock: FakeClock) -> None:
    """A record of which one call waits for money held by a lost call ends, and the run with it."""
    model = gp.wrap(
        Script.of(lambda request: request.prompt, latency=1, clock=clock),
        gp.Journaled(provider="double", model="double"),
    )

    async def ask(value: str) -> str:
        return (await model(gp.Request(value, max_output_tokens=4))).text

    async def two(value: str) -> list[str]:
        return [value + "1", value + "2"]

    journal = Failing()

    def pipeline(cap: str) -> gp.Pipeline[str, str]:
        return gp.Pipeline(
            source=Ledger(["x"]),
            stage=gp.chain(gp.flat_map(two), gp.map(ask)),
            sink=Kept(),
            journal=journal,
            budgets=[gp.Budget(cap=cap, window="total")],
            prices=PRICES,
            clock=clock,
        )

    with pytest.raises(gp.RunFailed) as caught, clock.cancel_at(clock.now() + 1000) as scope:
        await pipeline("0.0002").run()
    assert not scope.cancelled_caught
    assert caught.value.report.handed_back == 1
    assert (await pipeline("1").run()).written == 1
