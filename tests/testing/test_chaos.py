"""Chaos does what its seed says, whoever asks first."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import ConnectionFailed, RateLimited
from genai_pipeline.testing import Chaos, FakeClock, Fault, Script
from genai_pipeline.testing import strategies as gps
from tests.testing.doubles import Buried, Listed, Written

pytestmark = pytest.mark.anyio

RATES: dict[str, Any] = {
    "transient": 0.1,
    "rate_limited": 0.1,
    "rejected": 0.1,
    "permanent": 0.1,
    "hang": 0.1,
    "lost": 0.1,
    "duplicate": 0.1,
}


async def outcome(call: gp.Provider) -> str:
    """Say in one word how a call ended."""
    try:
        return (await call(gp.Request("x"))).text
    except gp.PipelineError as error:
        return type(error).__name__


async def test_without_rates_nothing_happens(anyio_backend: str) -> None:
    """All rates are 0 unless given."""
    chaos = Chaos(1)
    model = gp.wrap(Script("fine", then="repeat"), chaos)
    assert [await outcome(model) for _ in range(20)] == ["fine"] * 20
    assert chaos.calls == 20
    assert not chaos.injected


@pytest.mark.parametrize(
    ("kind", "error", "calls"),
    [
        ("transient", "Transient", 0),
        ("rate_limited", "RateLimited", 0),
        ("rejected", "Rejected", 0),
        ("permanent", "Permanent", 0),
        ("lost", "ConnectionFailed", 1),
        ("duplicate", "1", 2),
        (None, "1", 1),
    ],
)
async def test_each_kind(kind: Any, error: str, calls: int, anyio_backend: str) -> None:
    """A fault ends the call as its kind says, before, after or beside the real call."""
    model = Script("1", "2", "3")
    chaos = Chaos.planned(kind)
    assert await outcome(gp.wrap(model, chaos)) == error
    assert model.calls == calls
    assert chaos.injected == (Counter([kind]) if kind else Counter())


async def test_after_its_plan_it_is_quiet(anyio_backend: str) -> None:
    """A plan is about the first calls only."""
    model = gp.wrap(Script("fine", then="repeat"), Chaos.planned("transient", None, "permanent"))
    assert [await outcome(model) for _ in range(5)] == [
        "Transient",
        "fine",
        "Permanent",
        "fine",
        "fine",
    ]


async def test_a_hang_ends_by_cancellation_only(clock: FakeClock) -> None:
    """A hanging call never answers, and lets cancellation through."""
    model = gp.wrap(Script("fine", clock=clock), Chaos.planned("hang", clock=clock))
    with clock.cancel_at(10_000) as scope:
        await model(gp.Request("x"))
    assert scope.cancelled_caught
    assert clock.now() == 10_000


async def test_a_duplicate_that_fails_is_not_seen(anyio_backend: str) -> None:
    """Of a duplicated call the first answer counts, whatever becomes of the second."""
    model = gp.wrap(Script("first", gp.Permanent("second")), Chaos.planned("duplicate"))
    assert await outcome(model) == "first"


async def test_latency_is_within_its_range(clock: FakeClock) -> None:
    """Every call waits first; the slow ones far longer, and are counted."""
    chaos = Chaos(3, latency=(1, 2), slow=0.3, slowness=(100, 200), clock=clock)
    model = gp.wrap(Script("fine", then="repeat", clock=clock), chaos)
    took = []
    for _ in range(50):
        began = clock.now()
        await model(gp.Request("x"))
        took.append(clock.now() - began)
    assert all(1 <= seconds <= 2 or 101 <= seconds <= 202 for seconds in took)
    assert chaos.injected["slow"] == sum(seconds > 100 for seconds in took) > 5


def test_a_seed_is_a_fate() -> None:
    """The same seed plans the same faults, another seed others, in whatever order one asks."""
    forwards = [Chaos(7, **RATES).fault(number) for number in range(100)]
    backwards = [Chaos(7, **RATES).fault(number) for number in reversed(range(100))]
    assert forwards == backwards[::-1]
    assert forwards != [Chaos(8, **RATES).fault(number) for number in range(100)]


def test_faults_are_the_same_in_every_process() -> None:
    """Neither the hash seed nor anything else of a process changes the faults."""
    code = (
        "from genai_pipeline.testing import Chaos;"
        "print([Chaos(7, transient=.3, lost=.3).fault(n) for n in range(40)])"
    )
    here = str([Chaos(7, transient=0.3, lost=0.3).fault(number) for number in range(40)])
    path = [each for each in sys.path if each]
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


async def test_racing_calls_do_not_change_the_faults(clock: FakeClock) -> None:
    """However long the calls take, call number n meets fault number n."""
    lengths = itertools.cycle([9.0, 1.0, 5.0])

    async def faults(latency: Any) -> list[str]:
        chaos = Chaos(11, transient=0.3, permanent=0.2, lost=0.2, clock=clock)
        model = gp.wrap(Script("fine", then="repeat", clock=clock, latency=latency), chaos)
        ends = [""] * 40

        async def ask(number: int) -> None:
            ends[number] = await outcome(model)

        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(ask, number)
                while chaos.calls == number:
                    await anyio.lowlevel.checkpoint()
        return ends

    assert await faults(lambda _: next(lengths)) == await faults(0.0)


def test_rates_are_met() -> None:
    """Over many calls each kind comes about as often as its rate says."""
    chaos = Chaos(5, **RATES)
    kinds: Counter[Any] = Counter(chaos.fault(number).kind for number in range(4000))
    assert all(300 < kinds[kind] < 500 for kind in RATES)
    assert 1000 < kinds[None] < 1400


def test_who_tells_when_to_try_again() -> None:
    """Refusals always tell, transient errors by chance, the others never."""
    chaos = Chaos(5, retry_after=(1, 2), **RATES)
    told: dict[Any, set[bool]] = {}
    for fault in map(chaos.fault, range(1000)):
        told.setdefault(fault.kind, set()).add(fault.retry_after is not None)
        assert fault.retry_after is None or 1 <= fault.retry_after <= 2
    assert told.pop("rate_limited") == told.pop("rejected") == {True}
    assert told.pop("transient") == {True, False}
    assert all(each == {False} for each in told.values())


async def test_errors_carry_what_the_fault_says(anyio_backend: str) -> None:
    """``retry_after`` reaches the error, and the message says which call of which seed."""
    model = gp.wrap(Script(), Chaos.planned(Fault("rate_limited", retry_after=2.5)))
    with pytest.raises(RateLimited, match="call 0 of seed 0") as caught:
        await model(gp.Request("x"))
    assert caught.value.retry_after == 2.5


async def test_a_lost_answer_may_have_been_billed(anyio_backend: str) -> None:
    """The error of a lost answer says that the request was sent."""
    with pytest.raises(ConnectionFailed) as caught:
        await gp.wrap(Script("paid"), Chaos.planned("lost"))(gp.Request("x"))
    assert caught.value.sent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transient": 1.5}, "transient=1.5; give a share of calls, 0 to 1"),
        ({"hang": -0.1}, "hang=-0.1; give a share"),
        ({"slow": True}, "slow=True; give a share"),
        ({"lost": 0.6, "hang": 0.6}, "rates='hang=0.6, lost=0.6'; give rates that are at most 1"),
        ({"latency": (2, 1)}, r"latency=\(2, 1\); give \(least, most\)"),
        ({"slowness": 3}, r"slowness=3; give \(least, most\)"),
        ({"retry_after": (0, float("inf"))}, "retry_after=.*inf.*; give"),
    ],
)
def test_wrong_rates_are_refused(options: Any, message: str) -> None:
    """Rates and ranges are validated when the chaos is built."""
    with pytest.raises(gp.ConfigurationError, match=message):
        Chaos(1, **options)


def test_unknown_faults_are_refused() -> None:
    """A plan of a kind that does not exist names the kinds that do."""
    with pytest.raises(gp.ConfigurationError, match="kind='boom'; give one of None, 'transient'"):
        Chaos.planned("boom")  # type: ignore[arg-type]


@given(gps.fault_plans(), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_adds_up_under_any_faults(backend: str, plan: list[Fault], workers: int) -> None:
    """Whatever happens to stage and sink, every delivery is settled exactly once."""

    async def main() -> None:
        async with FakeClock() as clock:
            source, buried = Listed(*range(12)), Buried()
            chaos = Chaos.planned(*plan, clock=clock)
            pipeline: gp.Pipeline[int, int] = gp.Pipeline(
                source=source,
                stage=gp.wrap(gp.map(lambda value: value), chaos),
                sink=gp.wrap(Written(), chaos),
                dead_letters=buried,
                max_in_flight=workers,
                clock=clock,
            )
            report = await pipeline.run()
        report.check()
        assert report.read == report.written + report.dead == 12
        assert all(len(ends) == 1 for ends in source.settled.values())
        assert len(source.settled) == 12
        assert len(buried.letters) == report.dead

    anyio.run(main, backend=backend)


async def read(source: Any) -> list[str]:
    """Read *source* to its end, beginning anew after a failure; settle everything."""
    keys: list[str] = []
    while True:
        try:
            async for delivery in source:
                keys.append(delivery.record.key)
                await delivery.settle(None)
        except gp.Transient:
            continue
        return keys


async def test_a_quiet_source_is_itself(anyio_backend: str) -> None:
    """Without rates a source is passed on as it is."""
    source = Listed(*"abcd")
    assert await read(Chaos(1).source(source)) == ["0", "1", "2", "3"]


async def test_a_chaotic_source_loses_nothing(anyio_backend: str) -> None:
    """Records come twice, out of order and after failures, and each delivery settles once."""
    source, chaos = Listed(*range(200)), Chaos(4)
    keys = await read(chaos.source(source, duplicate=0.2, swap=0.2, fail=0.1))
    injected = chaos.injected
    assert set(keys) == {str(number) for number in range(200)}
    assert len(keys) == 200 + injected["source_duplicate"]
    assert keys != sorted(keys, key=int)
    assert min(injected[f"source_{kind}"] for kind in ("duplicate", "swap", "fail")) > 5
    assert all(ends == [None] for ends in source.settled.values())
    assert len(source.settled) == 200


async def test_a_chaotic_source_repeats_itself(anyio_backend: str) -> None:
    """The same seed gives the same deliveries in the same order."""
    rates = {"duplicate": 0.3, "swap": 0.3, "fail": 0.2}
    first = await read(Chaos(9).source(Listed(*range(50)), **rates))
    assert first == await read(Chaos(9).source(Listed(*range(50)), **rates))
    assert first != await read(Chaos(10).source(Listed(*range(50)), **rates))


async def test_what_is_held_back_is_handed_back(anyio_backend: str) -> None:
    """A reader that goes away in the middle of a swap leaves nothing unsettled."""
    source = Listed(*"abc")
    deliveries = aiter(Chaos(1).source(source, swap=1.0))
    first = await anext(deliveries)
    assert first.record.key == "1"
    await deliveries.aclose()  # type: ignore[attr-defined]
    assert [type(error) for error in source.settled["0"]] == [gp.errors.Stopped]


async def test_a_chaotic_source_runs(clock: FakeClock) -> None:
    """A pipeline takes it like any source, and each record that is read twice is worked twice."""
    source, chaos, written = Listed(*range(60)), Chaos(2), Written()
    pipeline: gp.Pipeline[int, int] = gp.Pipeline(
        source=chaos.source(source, duplicate=0.3, swap=0.3),
        stage=gp.map(lambda value: value),
        sink=written,
        clock=clock,
    )
    report = await pipeline.run()
    assert report.written == 60 + chaos.injected["source_duplicate"] > 60
    assert set(written.values) == set(range(60))


def test_wrong_source_rates_are_refused() -> None:
    """The rates of a chaotic source are validated too."""
    with pytest.raises(gp.ConfigurationError, match=r"Chaos\.source: swap=2; give a share"):
        Chaos(1).source(Listed(), swap=2)
