"""What a pipeline with a journal promises, one promise at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline._journal import CallEnd, ItemState, Settled
from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept, Ledger

from .worlds import PRICES

pytestmark = pytest.mark.anyio


def asking(model: Any, **options: Any) -> Any:
    """Answer an async function that asks *model* about a value."""

    async def ask(value: Any) -> str:
        request = gp.Request(str(value), max_output_tokens=4, **options)
        return str((await model(request)).text)

    return ask


def upper() -> Script:
    """Answer a model that answers in capitals, and remembers what it was asked."""
    return Script.of(lambda request: request.prompt.upper())


def pipeline(values: Any, stage: Any, sink: Any = None, **options: Any) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline whose sink is durable at once."""
    return gp.Pipeline(source=Ledger(values), stage=stage, sink=sink or Kept(), **options)


async def test_running_again_skips_what_is_finished() -> None:
    """A second run over the same records reads and skips them, and calls nothing."""
    journal, model = Memory(), upper()
    for skipped in (0, 3):
        sink = Kept()
        source = Ledger("abc")
        report = await gp.Pipeline(
            source=source, stage=gp.map(asking(model)), sink=sink, journal=journal
        ).run()
        assert report.skipped == skipped
        assert len(sink.values) == 3 - skipped
        source.check()
    assert model.calls == 3
    assert "skipped 3" in str(report)


async def test_a_sink_that_publishes_at_the_end_gets_everything_again() -> None:
    """For a sink that is durable only at the end, calls are replayed and nothing is skipped."""
    journal, model = Memory(), upper()
    for replayed in (0, 3):
        sink: gp.sinks.Collect[str] = gp.sinks.Collect()
        report = await pipeline("abc", gp.map(asking(model)), sink, journal=journal).run()
        assert sorted(sink.values) == ["A", "B", "C"]
        assert (report.replayed, report.calls) == (replayed, 3 - replayed)
    assert model.calls == 3


async def test_a_changed_version_buys_only_its_own_stage_again() -> None:
    """After the second stage's version changed, the first stage's calls are replayed."""
    journal, first, second = Memory(), upper(), Script.of(lambda request: request.prompt + "!")
    for version in "12":
        stage = gp.chain(
            gp.map(asking(first), name="first"),
            gp.map(asking(second), name="second", version=version),
        )
        sink = Kept()
        report = await pipeline("ab", stage, sink, journal=journal).run()
        assert sorted(sink.values) == ["A!", "B!"]
    assert report.replayed == 2
    assert first.calls == 2
    assert second.calls == 4


async def test_a_replayed_response_says_so_and_is_the_same() -> None:
    """A response out of the journal differs in its mark alone, and its event costs nothing."""
    journal, model, got, told = Memory(), Script("yes", then="repeat"), list[Any](), list[Any]()

    async def keep(value: str) -> str:
        got.append(await model(gp.Request(value)))
        return value

    with gp.listen(told.append):
        for version in "12":
            stage = gp.chain(gp.map(keep, name="a"), gp.map(lambda v: v, name="b", version=version))
            await pipeline("x", stage, journal=journal).run()
    first, again = got
    assert again.attributes == {**first.attributes, "replayed": True}
    assert (again.text, again.usage, again.model) == (first.text, first.usage, first.model)
    events = [event for event in told if isinstance(event, gp.events.CallFinished)]
    assert [event.replayed for event in events] == [False, True]
    assert events[1].cost == Decimal(0)
    assert events[1].input_tokens == 0


async def test_an_answer_in_hand_is_kept_when_the_run_is_cancelled(clock: FakeClock) -> None:
    """Cancelled while the journal writes an answer down, a run ends only when it is written."""

    class Slow(Memory):
        async def end_call(self, call: int, end: CallEnd, /) -> Settled:
            with anyio.CancelScope(shield=True):
                await clock.sleep(5)
            return await super().end_call(call, end)

    journal, model = Slow(), Script("yes", latency=1, clock=clock)
    with clock.cancel_at(clock.now() + 3) as scope:
        await pipeline("x", gp.map(asking(model)), journal=journal, clock=clock).run()
    assert scope.cancelled_caught
    assert clock.now() >= 6
    report = await pipeline("x", gp.map(asking(model)), journal=journal, clock=clock).run()
    assert (report.written, report.replayed, model.calls) == (1, 1, 1)


async def test_no_call_begins_after_a_stop(clock: FakeClock) -> None:
    """A stop lets the call under way end; the record's next call waits for the next run."""
    journal, model = Memory(), Script.of(lambda r: r.prompt, latency=10, clock=clock)

    async def twice(value: str) -> str:
        await model(gp.Request(f"{value} 1"))
        return (await model(gp.Request(f"{value} 2"))).text

    run = pipeline("x", gp.map(twice), journal=journal, clock=clock)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await clock.sleep(5)
            run.stop()

        group.start_soon(stop)
        report = await run.run()
    assert (report.handed_back, model.prompts) == (1, ["x 1"])
    report = await run.run()
    assert (report.written, report.replayed, model.prompts) == (1, 1, ["x 1", "x 2"])


async def test_dead_records_stay_in_the_journal() -> None:
    """Without dead_letters= a failed record is dead in the journal, redacted, and skipped."""
    journal = Memory()

    async def fail(value: str) -> str:
        raise ValueError(f"{value}: api_key=sk-canary1234567890abcdef is wrong")

    for _ in range(2):
        report = await pipeline("a", gp.map(fail), journal=journal, max_failures=None).run()
    assert (report.dead, report.skipped) == (0, 1)
    (record,) = await journal.records(Selector(state="dead"))
    assert (record.error, record.stage, record.attempts) == ("ValueError", "fail", 1)
    letter = await journal.letter(record.item)
    assert letter is not None
    assert b"canary" not in letter
    assert "canary" not in str(record.message)
    assert await journal.redrive(Selector(state="dead")) == 1
    report = await pipeline("a", gp.map(str.upper), journal=journal).run()
    assert report.written == 1


async def test_dead_letters_go_to_their_sink_too() -> None:
    """With dead_letters= a failed record is there and in the journal."""
    journal, dead = Memory(), Kept()

    async def fail(value: str) -> str:
        raise gp.errors.Overloaded("busy")

    run = pipeline("a", gp.map(fail), journal=journal, dead_letters=dead, max_failures=None)
    assert (await run.run()).dead == 1
    assert [letter.key for letter in dead.records] == ["0"]
    (record,) = await journal.records(Selector(state="dead"))
    assert (record.attempts, record.environment, record.category) == (0, 1, "transient")


async def test_a_key_is_needed() -> None:
    """A record without a key stops the run, which tells what to do."""

    class Keyless(Ledger):
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
            yield gp.Delivery(gp.Record("x"))

    run = gp.Pipeline(source=Keyless(""), stage=gp.map(str.upper), sink=Kept(), journal=Memory())
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    assert "without a key" in str(caught.value.exceptions[0])
    assert caught.value.report.handed_back == 1


async def test_the_same_record_delivered_again_is_no_second_one(clock: FakeClock) -> None:
    """A redelivery while the record is in flight, or after, is settled and calls nothing."""

    class Twice(Ledger):
        async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
            for key in ("0", "0", "1", "0"):
                self.read.append(key)
                yield gp.Delivery(gp.Record(f"v{key}", key), self._settler(key))

    source, sink = Twice(""), Kept()
    model = Script.of(lambda r: r.prompt, latency=3, clock=clock)
    report = await gp.Pipeline(
        source=source, stage=gp.map(asking(model)), sink=sink, journal=Memory(), clock=clock
    ).run()
    assert (report.read, report.written, report.skipped) == (4, 2, 2)
    assert model.calls == 2
    assert source.settled == {"0": [None, None, None], "1": [None]}


async def test_a_call_of_unknown_outcome_is_made_again_or_holds_its_record(
    clock: FakeClock,
) -> None:
    """By default a lost call is made again; with on_unknown="hold" a person decides."""
    lost = gp.errors.ConnectionFailed("cut off", sent=True)
    for policy, calls in (("retry", 2), ("hold", 1)):
        journal, model = Memory(), Script(lost, "yes")
        retried = gp.wrap(model, gp.Retry(on=gp.Transient, attempts=2, clock=clock))
        stage = gp.map(asking(retried), on_unknown=policy)  # type: ignore[call-overload]
        run = pipeline("x", stage, journal=journal)
        if policy == "retry":
            assert (await run.run()).written == 1
        else:
            for _ in range(2):
                with pytest.raises(gp.RunFailed) as caught:
                    await run.run()
                assert isinstance(caught.value.exceptions[0], gp.errors.OutcomeUnknown)
            assert await journal.counts("pipeline") == {"held": 1}
        assert model.calls == calls
    await journal.release(Selector(state="held"))
    assert (await run.run()).written == 1


async def test_the_cap_holds_when_every_answer_is_lost(clock: FakeClock) -> None:
    """Calls that may have been billed count at the most they can cost, so the cap holds."""
    billed = Decimal(0)

    async def lose(request: gp.Request) -> gp.Response:
        nonlocal billed
        usage = gp.Usage(input_tokens=80, output_tokens=4)
        billed += PRICES.cost("double", "double", usage, at=0.0) or 0
        raise gp.errors.ConnectionFailed("cut off", sent=True)

    model = gp.wrap(
        lose,
        gp.Retry(on=gp.Transient, attempts=5, clock=clock),
        gp.Journaled(provider="double", model="double"),
    )
    budget = gp.Budget(cap="0.0005")
    run = pipeline(
        range(20),
        gp.map(asking(model)),
        journal=Memory(),
        budgets=[budget],
        prices=PRICES,
        clock=clock,
        max_failures=None,
    )
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    assert 0 < billed <= budget.cap
    cost = caught.value.report.cost
    assert cost is not None
    assert billed <= cost <= budget.cap


async def test_a_thousand_calls_share_a_cap(clock: FakeClock) -> None:
    """Concurrent calls wait for money that others hold, and use the cap up to one hold."""
    usage = gp.Usage(input_tokens=10, output_tokens=2)
    model = Script.of(
        lambda r: gp.Response("ok", usage=usage, model="double"), latency=1, clock=clock
    )
    prices = gp.PriceBook({"script": {"input": "1", "output": "10"}})
    worst = prices.worst("script", "script", gp.Request("999", max_output_tokens=4), at=0)
    assert worst is not None
    told: list[Any] = []
    budget = gp.Budget(cap="0.01")
    run = pipeline(
        range(1000),
        gp.map(asking(model)),
        journal=Memory(),
        budgets=[budget],
        prices=prices,
        clock=clock,
        max_in_flight=1000,
    )
    with gp.listen(told.append), pytest.raises(gp.RunFailed) as caught:
        await run.run()
    report = caught.value.report
    assert isinstance(caught.value.exceptions[0], gp.errors.BudgetExhausted)
    assert report.cost is not None
    assert budget.cap - worst < report.cost <= budget.cap
    assert report.cost == model.calls * Decimal("0.00003")
    shares = [each.share for each in told if isinstance(each, gp.money.BudgetThresholdReached)]
    assert shares[:2] == [0.5, 0.8]


async def test_money_that_ran_out_holds_records_for_a_later_run() -> None:
    """After BudgetExhausted, a higher cap goes on where the run stopped."""
    journal, model = Memory(), Script.of(lambda r: gp.Response("ok", usage=gp.Usage(cost="0.1")))
    prices = gp.PriceBook({"script": {"input": "1000", "output": "1000"}})
    for cap, expected in (("1", {"done", "held", "ready"}), ("100", {"done"})):
        run = pipeline(
            range(30),
            gp.map(asking(model)),
            journal=journal,
            budgets=[gp.Budget(cap=cap, window="total")],
            prices=prices,
            max_in_flight=2,
        )
        if len(expected) > 1:
            with pytest.raises(gp.RunFailed):
                await run.run()
        else:
            await run.run()
        states: set[ItemState] = set(await journal.counts("pipeline"))
        assert states <= expected
        assert "done" in states
    assert model.calls == 30


async def test_a_call_without_a_bound_is_refused() -> None:
    """A hard budget refuses a call whose output is not limited, and says what to give."""
    prices = gp.PriceBook({"script": {"input": "1", "output": "1"}})
    model = upper()

    async def ask(value: str) -> str:
        return (await model(gp.Request(value))).text

    run = pipeline("x", gp.map(ask), journal=Memory(), budgets=[gp.Budget(cap="1")], prices=prices)
    with pytest.raises(gp.RunFailed, match="ConfigurationError") as caught:
        await run.run()
    assert "max_output_tokens" in str(caught.value.exceptions[0])
    assert model.calls == 0


def test_budgets_need_a_journal() -> None:
    """A pipeline with budgets and no journal is refused when it is built."""
    with pytest.raises(gp.ConfigurationError, match="needs journal="):
        pipeline("x", gp.map(str.upper), budgets=[gp.Budget(cap="1")])


async def test_calls_made_for_several_records_at_once_are_refused() -> None:
    """A paid call inside batched cannot be journaled; the error names gather."""
    model = upper()

    async def many(values: Any) -> Any:
        return [(await model(gp.Request(value))).text for value in values]

    run = pipeline("ab", gp.map(gp.batched(many, size=2)), journal=Memory())
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    assert "gp.gather" in str(caught.value.exceptions[0])
    assert model.calls == 0


async def test_gathered_values_must_be_plain() -> None:
    """What a journal keeps of a group must be JSON; the error names the record."""
    run = pipeline([(1, 2)], gp.gather(1), journal=Memory())
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    assert "the value of '0'" in str(caught.value.exceptions[0])


async def test_a_failed_group_fails_each_member_once() -> None:
    """When the list fails, its members are dead, and a later run leaves them so."""
    journal = Memory()

    async def fail(values: list[str]) -> str:
        raise ValueError("no")

    for _ in range(2):
        report = await pipeline(
            "ab",
            gp.chain(gp.gather(2), gp.map(fail)),
            journal=journal,
            max_failures=None,
        ).run()
    assert report.skipped == 2
    assert await journal.counts("pipeline") == {"dead": 2}


async def test_a_gathered_group_ends_in_the_journal_when_the_outer_one_has() -> None:
    """While the outer group is being written, the journal says of nobody that it has ended."""
    journal, meanwhile = Memory(), list[object]()

    async def slow_sink(_: gp.Record[Any]) -> None:
        meanwhile.append(await journal.counts("pipeline"))

    pairs: gp.Stage[int, list[int]] = gp.gather(2)
    triples: gp.Stage[list[int], list[list[int]]] = gp.gather(3)
    report = await pipeline(range(6), gp.chain(pairs, triples), slow_sink, journal=journal).run()
    assert (report.written, report.filtered) == (6, 0)
    assert meanwhile == [{"claimed": 6}]
    assert await journal.counts("pipeline") == {"done": 6}


async def test_records_that_die_alike_stop_the_run() -> None:
    """After 1,000 good records, a stage that breaks is found out within a hundred."""

    async def work(value: int) -> int:
        if value >= 1000:
            raise ValueError("the prompt is broken")
        return value

    journal = Memory()
    run = pipeline(range(5000), gp.map(work), journal=journal, max_failures=0.2)
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    (error,) = caught.value.exceptions
    assert "21 of the last 100 records died of ValueError in work" in str(error)
    assert caught.value.report.dead < 100
    assert (await journal.counts("pipeline"))["done"] == 1000


async def test_finished_records_are_skipped_before_any_worker() -> None:
    """What is finished never reaches a worker."""
    journal, began = Memory(), list[int]()

    async def work(value: int) -> int:
        began.append(value)
        return value

    for _ in range(2):
        report = await pipeline(range(2000), gp.map(work), journal=journal).run()
    assert report.skipped == 2000
    assert len(began) == 2000
    assert report.stages == ()


async def test_an_answer_that_cannot_be_kept_stops_the_run_and_counts() -> None:
    """A response whose attributes JSON cannot hold is billed, so it counts at its worst case."""

    async def odd(request: gp.Request) -> gp.Response:
        return gp.Response("yes", attributes={"raw": object()})

    model = gp.wrap(odd, gp.Journaled(provider="double", model="double"))
    run = pipeline("x", gp.map(asking(model)), journal=Memory(), prices=PRICES)
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    assert "cannot keep it" in str(caught.value.exceptions[0])
    worst = PRICES.worst("double", "double", gp.Request("x", max_output_tokens=4), at=0.0)
    assert caught.value.report.cost == worst
