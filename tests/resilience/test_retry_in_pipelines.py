"""`Retry`, `Timeout` and `Deadline` in a pipeline: parked, handed back, counted."""

from __future__ import annotations

from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.errors import AttemptTimeout, ConnectionFailed, Overloaded, RateLimited
from genai_pipeline.resilience import Deadline, RetryBudget, Timeout
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import current_walk
from tests.engine.doubles import Kept, Ledger

from .flaky import Flaky, always, retry

pytestmark = pytest.mark.anyio


def pipeline(clock: FakeClock, stage: Any, source: Ledger, **options: Any) -> gp.Pipeline[Any, Any]:
    """Make a pipeline of *stage* alone."""
    return gp.Pipeline(source=source, stage=gp.map(stage), sink=Kept(), clock=clock, **options)


async def test_a_long_hint_parks_the_record(clock: FakeClock) -> None:
    """Pain 5: the record waits as long as the server asked, is called then, and dies of nothing."""
    model = Flaky(clock, RateLimited("per day", retry_after=7200), "fine")
    dead = Kept()
    report = await pipeline(
        clock, gp.wrap(model, retry(clock)), Ledger([1]), dead_letters=dead
    ).run()
    assert model.times == [0, 7200]
    assert (report.written, report.dead, report.rejections) == (1, 0, 1)


async def test_a_storm_of_rate_limits_kills_no_record(clock: FakeClock) -> None:
    """While the provider limits for an hour, every record waits; none uses up its attempts."""

    async def model(value: int) -> int:
        if clock.now() < 3600:
            raise RateLimited("slow down", retry_after=30)
        return value

    report = await pipeline(
        clock,
        gp.wrap(model, retry(clock)),
        Ledger(range(40)),
        dead_letters=Kept(),
        max_in_flight=16,
    ).run()
    assert (report.written, report.dead) == (40, 0)


async def test_the_deadline_of_the_record_forbids_waiting(clock: FakeClock) -> None:
    """A hint past the record's own deadline ends it at once with the provider's error."""
    model = Flaky(clock, RateLimited("slow down", retry_after=40))
    dead = Kept()
    report = await pipeline(
        clock, gp.wrap(model, retry(clock)), Ledger([1]), dead_letters=dead, record_timeout=30
    ).run()
    assert clock.now() == 0
    assert report.errors == {"RateLimited": 1}


@pytest.mark.parametrize("error", [RateLimited("", retry_after=40), Overloaded("", retry_after=40)])
async def test_the_end_of_the_run_kills_no_record(clock: FakeClock, error: Exception) -> None:
    """A wait past the end of the run hands the record back; it may succeed in the next."""
    source, dead = Ledger([1, 2]), Kept()
    report = await pipeline(
        clock,
        gp.wrap(Flaky(clock, error), retry(clock)),
        source,
        dead_letters=dead,
        timeout=30,
        max_in_flight=2,
    ).run()
    assert not dead.records
    assert report.handed_back == 2
    source.check()


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_the_end_of_the_run_is_no_timeout(clock: FakeClock, policy: Any) -> None:
    """What the end of the run interrupts is handed back as stopped, not as too slow."""
    source = Ledger([1])
    report = await pipeline(
        clock,
        gp.wrap(Flaky(clock, "fine", takes=20), policy(60, clock=clock)),
        source,
        dead_letters=Kept(),
        timeout=10,
    ).run()
    assert (report.written, report.dead, report.handed_back) == (0, 0, 1)
    assert isinstance(source.handed_back["0"], errors.Stopped)
    assert clock.now() == 10


@pytest.mark.parametrize("policy", [Timeout, Deadline])
async def test_the_records_own_deadline_is_kept(clock: FakeClock, policy: Any) -> None:
    """A record whose time is up in a call is dead by its deadline."""
    report = await pipeline(
        clock,
        gp.wrap(Flaky(clock, "fine", takes=20), policy(60, clock=clock)),
        Ledger([1]),
        dead_letters=Kept(),
        record_timeout=10,
    ).run()
    assert report.errors == {"DeadlineExceeded": 1}
    assert clock.now() == 10


async def test_the_dead_letter_counts_the_attempts(clock: FakeClock) -> None:
    """A record tells how often the call that killed it was made, and nothing of calls before."""
    first = gp.wrap(Flaky(clock, Overloaded("busy"), "fine"), retry(clock))
    closed = errors.Rejected("closed", retry_after=1)
    storm = [RateLimited("slow down"), closed, Overloaded("busy"), ConnectionFailed("reset")]
    second = gp.wrap(Flaky(clock, *storm, AttemptTimeout("slow")), retry(clock))
    dead = Kept()
    await gp.Pipeline(
        source=Ledger([1]),
        stage=gp.chain(gp.map(first), gp.map(second, name="second")),
        sink=Kept(),
        dead_letters=dead,
        clock=clock,
    ).run()
    (letter,) = dead.values
    assert (letter.stage, letter.attempts) == ("second", 4)
    assert "Earlier attempts: RateLimited: slow down; Rejected: closed" in letter.trace


async def test_a_success_leaves_the_count_as_it_was(clock: FakeClock) -> None:
    """What follows a call that was retried begins to count at one."""
    counted: list[int] = []
    model = gp.wrap(Flaky(clock, *[Overloaded("busy")] * 2, "fine"), retry(clock))

    async def stage(value: int) -> Any:
        answer = await model(value)
        walk = current_walk()
        assert walk is not None
        counted.append(walk.attempts)
        return answer

    await pipeline(clock, stage, Ledger([1])).run()
    assert counted == [1]


async def test_faults_stay_a_share_of_the_traffic(clock: FakeClock) -> None:
    """In an outage the provider sees the calls, a fifth more, and the budget's store."""
    calls = 0

    async def model(value: int) -> int:
        nonlocal calls
        calls += 1
        raise Overloaded("down")

    budget = RetryBudget(capacity=10, reserve=0, clock=clock)
    policy = retry(clock, budget=budget, random=always(0.5))
    report = await pipeline(
        clock,
        gp.wrap(model, policy),
        Ledger(range(300)),
        dead_letters=Kept(),
        max_in_flight=64,
        max_failures=None,
    ).run()
    assert report.dead == 300
    assert 350 <= calls <= 370
