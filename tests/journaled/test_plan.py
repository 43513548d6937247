"""A plan tells what a run would reuse and buy, and does nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.testing import Script
from tests.engine.doubles import Kept, Ledger

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook({"script": {"input": "1", "output": "10"}})
USAGE = gp.Usage(input_tokens=10, output_tokens=2)


def world(journal: Any, count: int, *, fails: bool = False) -> tuple[Script, gp.Pipeline[Any, Any]]:
    """Answer a model, and a pipeline that asks it twice for each record."""
    model = Script.of(lambda request: gp.Response("ok", usage=USAGE, model="script"))

    async def first(value: int) -> int:
        await model(gp.Request(f"first {value}", max_output_tokens=4))
        return value

    async def second(value: int) -> int:
        if fails and value == 3:
            raise gp.errors.AuthenticationFailed("the key is gone")
        await model(gp.Request(f"second {value}", max_output_tokens=4))
        return value

    pipeline = gp.Pipeline(
        source=Ledger(range(count)),
        stage=gp.chain(gp.map(first), gp.map(second)),
        sink=Kept(),
        journal=journal,
        prices=PRICES,
        max_in_flight=1,
    )
    return model, pipeline


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_plan_adds_up_to_what_the_run_then_does(kind: str, tmp_path: Any) -> None:
    """After a run that stopped midway, the plan's counts and cost are those of the next run."""
    journal: Any = Memory() if kind == "memory" else Sqlite(tmp_path / "run.db", ballast=0)
    _, broken = world(journal, 6, fails=True)
    with pytest.raises(gp.RunFailed):
        await broken.run()
    model, pipeline = world(journal, 10)
    plan = await pipeline.plan()
    assert model.calls == 0
    assert (plan.records, plan.finished, plan.begun) == (10, 3, 1)
    assert (plan.reuse, plan.unknown, plan.new) == (1, 0, 13)
    assert plan.expected_cost == 13 * Decimal("0.00003")
    assert [(line.stage, line.calls) for line in plan.lines] == [("second", 7), ("first", 6)]
    assert "3 finished" in str(plan)
    pipeline = gp.Pipeline(**{**_options(pipeline), "source": Ledger(range(10))})
    report = await pipeline.run()
    assert (report.replayed, report.calls, report.cost) == (1, 13, plan.expected_cost)


def _options(pipeline: gp.Pipeline[Any, Any]) -> dict[str, Any]:
    names = ("stage", "sink", "journal", "prices", "max_in_flight")
    return {name: getattr(pipeline, name) for name in names}


async def test_a_sample_is_priced_up_to_its_first_new_call() -> None:
    """Sampled records run up to the call they would make, at its worst price."""
    model, pipeline = world(Memory(), 5)
    plan = await pipeline.plan(sample=3)
    assert model.calls == 0
    assert (plan.new, plan.expected_cost) == (None, None)
    assert (plan.sampled, plan.next_calls) == (3, 3)
    request = gp.Request("first 0", max_output_tokens=4)
    worst = PRICES.worst("script", "script", request, at=0.0)
    assert worst is not None
    assert plan.worst_cost == 3 * worst
    likely = PRICES.expected("script", "script", request, at=0.0, output_tokens=4)
    assert likely is not None
    assert plan.likely_cost == 3 * likely < plan.worst_cost
    assert await pipeline.journal.counts("pipeline") == {}  # type: ignore[union-attr]


async def test_past_answers_tell_how_long_the_next_will_be() -> None:
    """Likely output is the mean of what past calls of the stage and model wrote."""
    journal = Memory()
    await world(journal, 3)[1].run()
    _, pipeline = world(journal, 5)
    plan = await pipeline.plan(sample=5)
    request = gp.Request("first 3", max_output_tokens=4)
    likely = PRICES.expected("script", "script", request, at=0.0, output_tokens=2)
    assert likely is not None
    assert (plan.next_calls, plan.likely_cost) == (2, 2 * likely)


async def test_without_a_limit_or_a_past_nothing_is_likely() -> None:
    """Nothing tells how long a first answer without a limit is, so there is no likely cost."""
    model = Script("ok", then="repeat")
    pipeline = gp.Pipeline(
        source=Ledger("a"),
        stage=gp.map(lambda value: model(gp.Request(value))),
        sink=Kept(),
        journal=Memory(),
        prices=PRICES,
    )
    plan = await pipeline.plan(sample=1)
    assert (plan.next_calls, plan.worst_cost, plan.likely_cost) == (1, None, None)


async def test_what_a_plan_reads_is_handed_back() -> None:
    """A source that keeps account gets each record back."""
    _, pipeline = world(Memory(), 2)
    await pipeline.plan()
    source: Any = pipeline.source
    assert set(source.handed_back) == {"0", "1"}


async def test_a_plan_needs_a_journal() -> None:
    """Without a journal nothing is known; the error says what to give."""
    pipeline = gp.Pipeline(source=Ledger("a"), stage=gp.map(str.upper), sink=Kept())
    with pytest.raises(gp.ConfigurationError, match="needs journal="):
        await pipeline.plan()


async def test_a_gather_ends_what_is_known() -> None:
    """Behind a gather no call is priced, so there is no worst case."""
    pipeline = gp.Pipeline(
        source=Ledger("ab"), stage=gp.gather(2), sink=Kept(), journal=Memory(), prices=PRICES
    )
    plan = await pipeline.plan(sample=2)
    assert (plan.next_calls, plan.worst_cost, plan.likely_cost) == (0, None, None)


async def _ask(text: str) -> str:
    model = Script.of(lambda request: gp.Response(request.prompt, usage=USAGE, model="script"))
    first = await model(gp.Request(f"first {text}", max_output_tokens=4))
    return (await model(gp.Request(f"then {first.text}", max_output_tokens=4))).text


def _asking(
    journal: Any, *stages: gp.Stage[Any, Any], count: int = 10, in_flight: int = 4
) -> gp.Pipeline[Any, Any]:
    return gp.Pipeline(
        source=Ledger([str(number) for number in range(count)]),
        stage=gp.chain(*stages),
        sink=Kept(),
        journal=journal,
        prices=PRICES,
        max_in_flight=in_flight,
    )


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_changed_stage_is_planned_to_be_bought_again(kind: str, tmp_path: Any) -> None:
    """Answers of an older version are no calls to reuse; the plan is what the run then buys."""
    journal: Any = Memory() if kind == "memory" else Sqlite(tmp_path / "run.db", ballast=0)
    await _asking(journal, gp.map(_ask)).run()
    for version, redone in (("2", 4), ("3", 10), ("4", 10)):
        stage = gp.map(_ask, version=version)
        plan = await _asking(journal, stage).plan()
        assert (plan.finished, plan.begun, plan.reuse, plan.new) == (0, 10, 0, 20)
        assert plan.expected_cost == 20 * Decimal("0.00003")
        report = await _asking(journal, stage, count=redone).run()
        assert (report.calls, report.replayed) == (2 * redone, 0)
        plan = await _asking(journal, stage).plan()
        assert (plan.finished, plan.reuse, plan.new) == (redone, 0, 20 - 2 * redone)


async def test_the_answers_of_other_stages_are_planned_to_be_reused() -> None:
    """When one of two stages changes, only its calls are new."""
    journal = Memory()
    first = gp.map(_ask, name="first")
    await _asking(journal, first, gp.map(_ask, name="second")).run()
    changed = gp.map(_ask, name="second", version="2")
    plan = await _asking(journal, first, changed).plan()
    assert (plan.reuse, plan.new, plan.untried) == (20, 20, ())
    assert [(line.stage, line.calls) for line in plan.lines] == [("second", 20), ("first", 0)]
    report = await _asking(journal, first, changed).run()
    assert (report.replayed, report.calls) == (20, 20)


async def test_lost_calls_are_no_part_of_what_a_record_takes() -> None:
    """Calls whose answers were lost are not expected again of all records still to come."""
    journal = Memory()
    model = Script.of(lambda request: gp.Response(request.prompt, usage=USAGE, model="script"))
    broken = Script(gp.errors.Overloaded("the answer is lost"))

    async def ask(text: str) -> str:
        if text == "4":
            with pytest.raises(gp.errors.Overloaded):
                await broken(gp.Request(text, max_output_tokens=4000))
            raise gp.errors.AuthenticationFailed("the key is gone")
        return (await model(gp.Request(text, max_output_tokens=4))).text

    with pytest.raises(gp.RunFailed):
        await _asking(journal, gp.map(ask), in_flight=1).run()
    plan = await _asking(journal, gp.map(ask)).plan()
    assert (plan.finished, plan.begun, plan.unknown, plan.new) == (4, 1, 1, 6)
    assert plan.expected_cost == 6 * Decimal("0.00003")


async def test_a_plan_names_stages_of_which_nothing_is_known() -> None:
    """What a stage will call that no run has had is not among the new calls, and it is named."""
    journal = Memory()
    first = gp.map(_ask, name="first")
    assert (await _asking(journal, first).plan()).untried == ()
    await _asking(journal, first).run()
    plan = await _asking(journal, first, gp.map(_ask, name="second")).plan()
    assert (plan.reuse, plan.new, plan.untried) == (20, 0, ("second",))
    plan = await _asking(journal, gp.map(_ask, name="renamed")).plan()
    assert (plan.reuse, plan.new, plan.untried) == (0, 0, ("renamed",))
