"""Asking the provider for calls whose answers were lost: nothing is paid for that can be found."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline._chain import Chain
from genai_pipeline._journal_admin import Selector
from genai_pipeline._versions import mark_of
from genai_pipeline.events import CallReconciled
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script

from .test_journaled_runs import asking, pipeline
from .worlds import PRICES

pytestmark = pytest.mark.anyio

CAP = gp.Budget(cap="1", window="total")


@attrs.define(eq=False)
class Remembering:
    """A provider that keeps what it answers under the token of the call, and loses some."""

    loses: set[int] = attrs.field(factory=set)
    """Calls, by number, whose answer does not arrive."""

    never: set[int] = attrs.field(factory=set)
    """Calls, by number, that do not arrive themselves."""

    lags: int = 0
    """How often it does not know yet when it is asked."""

    trouble: Exception | None = None
    """What asking raises, once."""

    calls: int = 0
    billed: int = 0
    kept: dict[str, gp.Response] = attrs.field(factory=dict)
    tokens: list[str] = attrs.field(factory=list)
    asked: list[gp.LostCall] = attrs.field(factory=list)
    name: str = "double"
    model: str = "double"

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.calls += 1
        token = gp.call_token()
        assert token is not None
        self.tokens.append(token)
        if self.calls not in self.never:
            self.billed += 1
            usage = gp.Usage(input_tokens=10, output_tokens=1)
            self.kept[token] = gp.Response(request.prompt.upper(), usage=usage, model="double")
        if self.calls in self.loses | self.never:
            raise gp.errors.ConnectionFailed("cut off", sent=True)
        return self.kept[token]

    async def find(self, call: gp.LostCall) -> gp.Response | Any:
        assert gp.call_token() is None
        self.asked.append(call)
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        if self.lags:
            self.lags -= 1
            return None
        return self.kept.get(call.token, "void")


def reconciling(provider: Any, values: Any = "x", **options: Any) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline that asks *provider* for its lost calls, with a budget."""
    stage = gp.map(asking(provider), on_unknown="reconcile")
    return pipeline(values, stage, budgets=[CAP], prices=PRICES, **options)


async def held(run: gp.Pipeline[Any, Any]) -> Exception:
    """Run it; answer the error that it fails with."""
    with pytest.raises(gp.RunFailed) as caught:
        await run.run()
    return caught.value.exceptions[0]


async def spent(journal: Memory) -> tuple[int, int]:
    """Answer what is spent and reserved."""
    (line,) = await journal.budgets()
    return line.spent, line.reserved


def bare(provider: Remembering, clock: FakeClock) -> Any:
    """Answer *provider* with nothing but what journals its calls."""
    return gp.resilient(
        provider,
        retry=None,
        rate_limit=None,
        concurrency=None,
        breaker=None,
        timeout=None,
        clock=clock,
    )


async def test_a_lost_answer_is_found_and_counts_at_its_cost(clock: FakeClock) -> None:
    """What the provider still has is kept as the answer, and nothing is called or billed again."""
    journal, provider = Memory(), Remembering(loses={1})
    run = reconciling(bare(provider, clock), journal=journal, clock=clock)
    assert (await run.run()).dead == 1
    hold, _ = await spent(journal)
    await journal.redrive(Selector())
    events: list[gp.events.Event] = []
    with gp.listen(events.append):
        report = await run.run()
    assert (report.written, report.replayed, report.calls, provider.calls) == (1, 1, 0, 1)
    cost, reserved = await spent(journal)
    assert 0 < cost < hold
    assert reserved == 0
    assert [call.token for call in provider.asked] == provider.tokens
    assert (provider.asked[0].request.prompt, provider.asked[0].model) == ("x", "double")
    assert await journal.open_calls() == []
    (told,) = [event for event in events if isinstance(event, CallReconciled)]
    assert told == CallReconciled(
        stage="ask", provider="double", model="double", outcome="answered"
    )


async def test_a_call_that_was_never_executed_is_made(clock: FakeClock) -> None:
    """A provider that never saw the call gives its money back, and is called."""
    journal, provider = Memory(), Remembering(never={1})
    retried = gp.resilient(provider, clock=clock)
    report = await reconciling(retried, journal=journal, clock=clock).run()
    assert (report.written, provider.calls, provider.billed) == (1, 2, 1)
    (line,) = await journal.costs()
    assert (line.calls, line.unknown) == (1, 0)
    assert await spent(journal) == (line.charged, 0)
    assert report.cost is not None
    assert int(report.cost * 10**9) == line.charged


async def test_a_retry_asks_before_it_calls_again(clock: FakeClock) -> None:
    """An answer that is lost on the way is found by the next attempt, within the same run."""
    journal, provider = Memory(), Remembering(loses={1})
    report = await reconciling(
        gp.resilient(provider, clock=clock), journal=journal, clock=clock
    ).run()
    assert (report.written, provider.calls, len(provider.asked)) == (1, 1, 1)
    spent_now, _ = await spent(journal)
    assert report.cost is not None
    assert int(report.cost * 10**9) == spent_now


async def test_a_record_is_held_until_the_provider_knows(clock: FakeClock) -> None:
    """Not known is held, at its hold; each run asks again, and nothing is called meanwhile."""
    journal, provider = Memory(), Remembering(loses={1}, lags=2)
    run = reconciling(gp.resilient(provider, clock=clock), journal=journal, clock=clock)
    for _ in range(2):
        assert isinstance(await held(run), gp.errors.OutcomeUnknown)
        assert await journal.counts("pipeline") == {"held": 1}
        (call,) = await journal.open_calls()
        assert await spent(journal) == (call.charged, 0)
    assert (await run.run()).written == 1
    assert (provider.calls, len(provider.asked)) == (1, 3)


async def test_a_failure_to_ask_is_not_knowing(clock: FakeClock) -> None:
    """When asking fails the record is held and says why; a rejection is waited out instead."""
    lost = gp.errors.Overloaded("busy")
    journal, provider = Memory(), Remembering(loses={1}, trouble=lost)
    run = reconciling(gp.resilient(provider, clock=clock), journal=journal, clock=clock)
    error = await held(run)
    assert isinstance(error, gp.errors.OutcomeUnknown)
    assert "busy" in str(error)
    provider.trouble = gp.Rejected("later", retry_after=5)
    assert (await run.run()).written == 1
    assert provider.calls == 1


async def test_an_answer_that_is_found_replays(clock: FakeClock) -> None:
    """Once it is found, an answer is as any other: a stage that is walked again asks nobody."""
    journal, provider = Memory(), Remembering(loses={1})
    model, times = gp.resilient(provider, clock=clock), 0
    ask = asking(model)

    async def fail_once(value: str) -> str:
        nonlocal times
        answer, times = await ask(value), times + 1
        if times == 1:
            raise gp.Rejected("again", retry_after=1)
        return str(answer)

    stage = gp.map(fail_once, on_unknown="reconcile")
    report = await pipeline("x", stage, journal=journal, clock=clock).run()
    assert (report.written, times, provider.calls, len(provider.asked)) == (1, 2, 1, 1)


@settings(max_examples=60, deadline=None)
@given(
    loses=st.sets(st.integers(1, 8)),
    never=st.sets(st.integers(1, 8)),
    lags=st.integers(0, 4),
    records=st.integers(1, 3),
)
async def test_no_record_is_paid_for_twice(
    loses: set[int], never: set[int], lags: int, records: int
) -> None:
    """Property: whatever is lost on the way, a call is billed once, and the books say so."""
    journal = Memory()
    provider = Remembering(loses=loses, never=never, lags=lags)
    async with FakeClock() as clock:
        run = reconciling(
            gp.resilient(provider, clock=clock), "abc"[:records], journal=journal, clock=clock
        )
        for _ in range(20):
            try:
                await run.run()
            except gp.RunFailed:
                continue
            if await journal.counts("pipeline") == {"done": records}:
                break
            await journal.redrive(Selector())
    assert await journal.counts("pipeline") == {"done": records}
    assert provider.billed == records
    (line,) = await journal.costs()
    assert (line.calls, line.unknown) == (records, 0)
    usage = gp.Usage(input_tokens=10, output_tokens=1)
    cost = PRICES.cost("double", "double", usage, at=0.0)
    assert cost is not None
    assert await spent(journal) == (records * int(cost * 10**9), 0)


class Forgetful:
    """A provider that cannot be asked."""

    model = "double"
    name = "forgetful"
    calls = 0

    async def __call__(self, request: gp.Request) -> gp.Response:
        self.calls += 1
        return gp.Response(request.prompt)


async def test_a_provider_that_cannot_be_asked_is_refused(clock: FakeClock) -> None:
    """Before a record is read, if the stage's function names the provider, also behind others."""
    told = r"^ask: on_unknown='reconcile': forgetful cannot be asked"
    for wrapped in (
        gp.resilient(Forgetful(), clock=clock),
        gp.wrap(Forgetful(), gp.Journaled(provider="forgetful", model="double")),
        gp.wrap(
            gp.wrap(Forgetful(), gp.Journaled(provider="forgetful", model="m")),
            gp.Retry(on=gp.Transient, clock=clock),
        ),
    ):
        run = reconciling(wrapped, journal=Memory(), clock=clock)
        with pytest.raises(gp.ConfigurationError, match=told):
            await run.run()
    with pytest.raises(gp.ConfigurationError, match=r"^ask: .* Script cannot be asked"):
        await reconciling(Script("a"), journal=Memory()).run()


async def test_a_hidden_provider_that_cannot_be_asked_is_not_called(clock: FakeClock) -> None:
    """One that only the stage itself can see is found out before it is called."""
    provider = Forgetful()
    models = {"mine": gp.resilient(provider, clock=clock)}

    async def ask(value: str) -> str:
        return (await models["mine"](gp.Request(value, max_output_tokens=1))).text

    error = await held(
        pipeline("x", gp.map(ask, on_unknown="reconcile"), journal=Memory(), clock=clock)
    )
    assert isinstance(error, gp.ConfigurationError)
    assert "ask: on_unknown='reconcile': forgetful cannot be asked" in str(error)
    assert provider.calls == 0


async def test_without_a_journal_nothing_is_asked() -> None:
    """A stage that would ask runs without a journal as it is, and there is no token."""
    assert gp.call_token() is None
    assert (await pipeline("x", gp.map(asking(Script("a")), on_unknown="reconcile")).run()).written


@pytest.mark.parametrize("options", [{"find": 3}, {"find": "x"}])
def test_what_asks_must_be_a_function(options: dict[str, Any]) -> None:
    """What Journaled is to ask by must be callable."""
    with pytest.raises(gp.ConfigurationError, match="find"):
        gp.Journaled(provider="p", model="m", **options)


@pytest.mark.parametrize(
    ("policies", "known"),
    [
        (("retry", "reconcile"), "reconcile"),
        (("reconcile", "retry"), "reconcile"),
        (("hold", "reconcile", "retry"), "hold"),
        (("retry", "retry"), "retry"),
    ],
)
def test_a_stage_is_as_careful_as_its_most_careful_part(
    policies: tuple[Any, ...], known: str
) -> None:
    """Stages inside of one have it hold or ask for lost calls if one of them does."""
    parts: list[gp.Stage[Any, Any]] = [gp.map(str, on_unknown=policy) for policy in policies]
    inside = Chain(parts, fan_out=2)
    assert mark_of("inside", inside).on_unknown == known
