"""A budget with a scope holds the records whose money has run out, and lets others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.journals import Memory
from genai_pipeline.testing import Script
from tests.engine.doubles import Kept

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook({"script": {"input": "0", "output": "100000"}})  # $0.10 a token


class Orders:
    """Four orders of each tenant, one tenant after the other."""

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
        for tenant in ("acme", "beta", "zeta"):
            for number in range(4):
                key = f"{tenant}-{number}"
                yield gp.Delivery(gp.Record(key, key, {"tenant": tenant}))


def _pipeline(journal: Any, *stages: gp.Stage[Any, Any], **budget: Any) -> gp.Pipeline[Any, Any]:
    return gp.Pipeline(
        source=Orders(),
        stage=gp.chain(*stages),
        sink=Kept(),
        journal=journal,
        budgets=[gp.Budget(window="total", **budget)],
        prices=PRICES,
        max_in_flight=2,
    )


def _stage() -> tuple[Script, gp.Stage[Any, Any]]:
    model = Script.of(lambda request: gp.Response("ok", usage=gp.Usage(output_tokens=1)))

    async def ask(value: Any) -> str:
        return (await model(gp.Request(str(value), max_output_tokens=1))).text

    return model, gp.map(ask)


async def _run(pipeline: gp.Pipeline[Any, Any]) -> gp.Report:
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    assert all(isinstance(each, gp.errors.BudgetExhausted) for each in caught.value.exceptions)
    return caught.value.report


async def test_no_tenant_waits_for_the_money_of_another() -> None:
    """The records of a tenant whose money is spent are held; those of all others are done."""
    journal, (model, stage) = Memory(), _stage()
    for cap, written in (("0.30", 9), ("0.30", 0)):
        report = await _run(_pipeline(journal, stage, cap=cap, scope="tenant"))
        assert (report.written, report.handed_back, report.stopped) == (written, 3, None)
        assert await journal.counts("pipeline") == {"done": 9, "held": 3}
        assert model.calls == 9
    report = await _pipeline(journal, stage, cap="0.40", scope="tenant").run()
    assert (report.written, report.skipped, model.calls) == (3, 9, 12)


async def test_a_budget_of_all_records_still_stops_the_run() -> None:
    """Where every record would be refused alike, the run reads no more of them."""
    for scope in (None, "model", ("stage", "provider")):
        journal, (model, stage) = Memory(), _stage()
        report = await _run(_pipeline(journal, stage, cap="0.30", scope=scope))
        assert (report.written, model.calls) == (3, 3)
        assert report.read < 12
        assert report.stopped is not None


async def test_gathered_records_are_held_together() -> None:
    """A group without money is held with all its members, and goes on as it was."""
    journal, (model, stage) = Memory(), _stage()
    report = await _run(_pipeline(journal, gp.gather(2), stage, cap="0.05", scope="tenant"))
    assert (report.written, report.handed_back, model.calls) == (0, 12, 0)
    report = await _pipeline(journal, gp.gather(2), stage, cap="1", scope="tenant").run()
    assert (report.written, model.calls) == (12, 6)


async def test_a_budget_of_a_stage_that_is_not_there_is_refused() -> None:
    """A misspelt stage= would cap nothing, so the pipeline is refused, and its stages are named."""
    inner = gp.chain(gp.map(str.strip, name="inner"), gp.map(str.title, name="other"))
    stages = (gp.map(str.upper, name="first"), inner)
    for stage in ("first", "inner", "f*", "*", None):
        _pipeline(Memory(), *stages, cap="1", stage=stage)
    with pytest.raises(gp.ConfigurationError, match=r"stage='frist'.* are first, .*inner, other"):
        _pipeline(Memory(), *stages, cap="1", stage="frist")
