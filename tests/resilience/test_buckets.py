"""What memory keeps of quotas when they change, and of those that it does not know."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.resilience import MemoryBuckets, Quota
from genai_pipeline.testing import FakeClock

TEN = Quota(limit=600, per=60, burst=20)
DAY = Quota(limit=100, per=86_400, burst=5, calendar=True)


def made(clock: FakeClock, **quotas: Quota) -> MemoryBuckets:
    buckets = MemoryBuckets(clock=clock)
    buckets.configure(quotas)
    return buckets


def test_a_day_is_there_at_once_and_does_not_come_in() -> None:
    """A quota by the calendar has no rate, and its burst is all of it."""
    assert (DAY.rate, DAY.full) == (0, 100)
    assert (TEN.rate, TEN.full) == (10, 20)
    assert made(FakeClock(), day=DAY).levels() == {"day": 100}


def test_what_is_left_outlives_a_change() -> None:
    """A new quota beside it, or another limit, gives nothing anew and takes nothing."""
    clock = FakeClock()
    buckets = made(clock, requests=TEN)
    assert buckets.take({"requests": 20})
    buckets.configure({"requests": TEN, "day": DAY})
    assert buckets.levels() == {"requests": 0, "day": 100}
    clock.advance(1)
    buckets.configure({"requests": Quota(limit=60, per=60, burst=20)})
    assert buckets.levels() == {"requests": 10}, "it came in at the old rate"
    buckets.configure({"requests": Quota(limit=60, per=60, burst=3)})
    assert buckets.levels() == {"requests": 3}


def test_what_is_not_known_is_not_limited() -> None:
    """A need of a quota that there is not is passed over, beside one that there is."""
    buckets = made(FakeClock(), requests=TEN)
    buckets.settle({"unknown": -5, "requests": -5})
    buckets.lower({"unknown": 1, "requests": 12})
    assert buckets.levels() == {"requests": 12}
    assert buckets.take({"unknown": 9, "requests": 2})
    assert buckets.levels() == {"requests": 10}
    assert not buckets.take({"unknown": 9, "requests": 11})
    assert buckets.forecast({"unknown": 9, "requests": 11}, {}) == pytest.approx(0.1)


def test_after_a_block_the_wait_counts_from_its_end() -> None:
    """The forecast in a block is what is left of it, and then what has to come in."""
    clock = FakeClock()
    buckets = made(clock, requests=TEN)
    anyio.run(buckets.block, 30)
    clock.advance(10)
    assert buckets.forecast({"requests": 5}, {}) == pytest.approx(20.5)
    assert buckets.forecast({"requests": 5}, {"requests": 10}) == pytest.approx(21.5)


def test_a_day_waits_for_the_later_of_midnight_and_a_block() -> None:
    """In a block a day's quota that is there is given at its end, one that is used up next day."""
    clock = FakeClock(wall=1_800_000_000 - 1_800_000_000 % 86_400 + 86_300)
    buckets = made(clock, day=DAY)
    anyio.run(buckets.block, 30)
    assert buckets.forecast({"day": 1}, {}) == 30
    clock.advance(30)
    assert buckets.take({"day": 130})
    assert buckets.forecast({"day": 1}, {}) == pytest.approx(70)
    clock.advance(70)
    assert buckets.levels() == {"day": 70}, "what was taken beyond it is paid off"


def test_each_change_counts_from_its_own_moment() -> None:
    """What came in before a settlement, a lower level or a block has come in, up to the burst."""
    clock = FakeClock()
    buckets = made(clock, requests=TEN)
    clock.advance(10)
    buckets.settle({"requests": -5})
    assert buckets.levels() == {"requests": 15}
    clock.advance(10)
    buckets.lower({"requests": -10})
    assert buckets.levels() == {"requests": -10}
    clock.advance(0.5)
    anyio.run(buckets.block, 1)
    assert buckets.forecast({"requests": 1}, {}) == pytest.approx(1.6), "half of it was paid off"


def test_a_wrong_clock_is_refused() -> None:
    """Buckets need a clock, which the message names."""
    wrong: Any = 3
    with pytest.raises(ConfigurationError, match="MemoryBuckets: clock=3"):
        MemoryBuckets(clock=wrong)
