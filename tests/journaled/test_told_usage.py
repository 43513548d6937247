"""What a provider tells of what a call used, where that is nonsense."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept

from .test_journaled_runs import asking, pipeline

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook({"script": {"input": "1", "output": "10"}})
SOUND = gp.Usage(input_tokens=1, output_tokens=1)
NONSENSE = {
    "more tokens than any file holds": gp.Usage(input_tokens=2**70, cost="0"),
    "tokens for more than there is": gp.Usage(input_tokens=2**52, output_tokens=2**52),
    "fewer than none": gp.Usage(input_tokens=5, output_tokens=-3),
    "a word": gp.Usage(input_tokens="many"),  # type: ignore[arg-type]
    "a cost beyond all money": gp.Usage(input_tokens=1, cost="1e15"),
    "a cost below nothing": gp.Usage(cost="-1"),
    "a cost that is none": gp.Usage(cost="NaN"),
    "nothing": gp.Usage(),
}


@pytest.mark.parametrize("told", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_counts_at_the_most_and_loses_no_answer(
    folder: Path, told: gp.Usage
) -> None:
    """A call whose usage cannot be true is kept, counts at its hold, and harms no other."""
    model = Script.of(
        lambda request: gp.Response("ok", usage=told if request.prompt == "b" else SOUND)
    )
    for run in range(2):
        sink: Any = Kept()
        async with FakeClock(cushion=0.01) as clock:
            report = await pipeline(
                "abc",
                gp.map(asking(model)),
                sink,
                journal=gp.Sqlite(folder / "run.db"),
                budgets=[gp.Budget(cap="1", window="total")],
                prices=PRICES,
                clock=clock,
            ).run()
        assert (report.written, report.skipped) == ((3, 0), (0, 3))[run]
        if not run:
            worst = PRICES.worst("script", "script", gp.Request("b", max_output_tokens=4), at=0)
            assert worst is not None
            assert report.cost == worst + 2 * Decimal("0.000011")
    assert model.calls == 3
    async with gp.Sqlite(folder / "run.db") as journal:
        (line,) = await journal.budgets()
        assert line.reserved == 0
