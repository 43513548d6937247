"""Calls for gathered lists, when their records are released or redriven."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline._journal_admin import Selector
from genai_pipeline.errors import ConnectionFailed
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept

from .test_journaled_runs import asking, pipeline

pytestmark = pytest.mark.anyio

MakeJournal = Callable[[], Any]


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, folder: Path) -> MakeJournal:
    """Give what opens the same journal again and again."""
    memory = Memory()
    return (lambda: memory) if request.param == "memory" else lambda: gp.Sqlite(folder / "run.db")


def lists(depth: int) -> list[Any]:
    """Answer stages that make a list of two records, or of two lists of two."""
    return [gp.gather(2, linger=600, name=f"gather{number}") for number in range(depth)]


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_held_list_goes_on_when_it_is_released(make: MakeJournal, depth: int) -> None:
    """Releasing one of its members gives up the calls of the list, and of no other list."""
    lost = ConnectionFailed("cut off", sent=True)
    members = 2**depth
    async with FakeClock(cushion=0.02) as clock:
        model = Script(lost, lost, then=lambda request: request.prompt)
        retried = gp.wrap(model, gp.Retry(on=gp.Transient, attempts=2, clock=clock))
        stage = gp.map(asking(retried), name="ask", on_unknown="hold")

        async def run() -> gp.RunFailed:
            chained: Any = gp.chain(*lists(depth), stage)  # type: ignore[call-overload]
            with pytest.raises(gp.RunFailed) as failed:
                await pipeline(range(2 * members), chained, sink, journal=make()).run()
            return failed.value

        sink: Any = Kept()
        for _ in range(2):  # running again is no release
            await run()
            assert (sink.values, model.calls) == ([], 2)
        async with make() as journal:
            assert len(await journal.open_calls()) == 2
            assert await journal.release(Selector(state="held", keys=("1",))) == 1
            assert len(await journal.open_calls()) == 1
        failed = await run()
        assert isinstance(failed.exceptions[0], gp.errors.OutcomeUnknown)
        assert (len(sink.values), model.calls) == (1, 3)
        assert "1" in sink.values[0]
        async with make() as journal:
            assert await journal.counts("pipeline") == {"done": members, "held": members}


@pytest.mark.parametrize(
    ("keys", "reuse", "asked"),
    [
        (("0", "1", "2"), True, [[0, 1, 2]]),
        (("0", "2"), True, [[0, 1, 2], [0, 2]]),
        (("0", "1", "2"), False, [[0, 1, 2], [0, 1, 2]]),
    ],
    ids=["all", "without one", "fresh"],
)
async def test_a_redriven_list_is_paid_for_once(
    make: MakeJournal, keys: tuple[str, ...], reuse: bool, asked: list[list[int]]
) -> None:
    """Redriven whole, a list goes on with its answers; in part, or afresh, another is gathered."""
    mended, model = False, Script.of(lambda request: request.prompt)

    def read(answer: str) -> str:
        if not mended:
            raise ValueError(answer)
        return answer

    async def run(count: int) -> gp.Report:
        gathered: Any = gp.gather(count, linger=600)
        stage = gp.chain(gathered, gp.map(asking(model), name="ask"), gp.map(read))
        return await pipeline(range(3), stage, sink, journal=make(), max_failures=None).run()

    sink: Any = Kept()
    assert (await run(3)).dead == 3
    async with make() as journal:
        assert await journal.redrive(Selector(keys=keys), reuse=reuse) == len(keys)
    mended = True
    report = await run(len(keys))
    assert (report.written, report.skipped) == (len(keys), 3 - len(keys))
    assert [sorted(json.loads(prompt)) for prompt in model.prompts] == asked
    assert sink.values == model.prompts[-1:]
