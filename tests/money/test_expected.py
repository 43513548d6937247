"""What calls to come will cost is estimated from a sample, with an honest range."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.money import Estimate, expected

amounts = st.integers(1, 10**6).map(lambda nano: Decimal(nano) / 1000)
pairs = st.lists(st.tuples(amounts, amounts), min_size=2, max_size=20)


def _estimate(past: Any, upcoming: Any, **options: Any) -> Estimate:
    estimate = expected(past, upcoming, **options)
    assert estimate is not None
    return estimate


def test_the_costs_share_of_the_sizes_is_expected_again() -> None:
    """Calls that cost a fifth of their worst case are expected to do so again."""
    estimate = _estimate([(10, 1), (30, 7)], [100, 200])
    assert estimate.cost == Decimal(60)
    assert (estimate.calls, estimate.sample) == (2, 2)


def test_a_ratio_without_spread_has_no_range() -> None:
    """When every call cost the same share of its size, nothing is left to chance."""
    estimate = _estimate([(10, 1), (20, 2), (5, Decimal("0.5"))], [40])
    assert estimate.low == estimate.cost == estimate.high == 4


@pytest.mark.parametrize("past", [[], [(10, 1)], [(0, 0), (0, 0)]])
def test_too_small_a_sample_tells_nothing(past: Any) -> None:
    """From fewer than two calls, or calls without a size, nothing is estimated."""
    assert expected(past, [10]) is None


def test_no_calls_cost_nothing() -> None:
    """When nothing is left to call, the estimate is exactly zero."""
    estimate = _estimate([(10, 1), (20, 3)], [])
    assert estimate.calls == estimate.low == estimate.cost == estimate.high == 0


@settings(deadline=None)
@given(pairs, st.lists(amounts, max_size=10))
def test_the_range_is_around_the_cost(past: Any, upcoming: Any) -> None:
    """The expected cost lies in its range, which is never below zero."""
    estimate = _estimate(past, upcoming)
    assert 0 <= estimate.low <= estimate.cost <= estimate.high


@settings(deadline=None)
@given(pairs, st.lists(amounts, min_size=1, max_size=10))
def test_more_confidence_needs_a_wider_range(past: Any, upcoming: Any) -> None:
    """Asking for more confidence never narrows the range."""
    loose = _estimate(past, upcoming, confidence=0.5)
    strict = _estimate(past, upcoming, confidence=0.99)
    assert strict.low <= loose.low
    assert strict.high >= loose.high


@pytest.mark.parametrize(
    ("sample", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (11, 2.228), (101, 1.984)]
)
def test_the_range_is_that_of_student(sample: int, quantile: float) -> None:
    """Small samples get the wide ranges of Student's t, by the tables."""
    past = [(1, 1 + index % 2) for index in range(sample)]
    estimate = _estimate(past, [1])
    mean = (sample + sample // 2) / sample
    variance = sum((cost - mean) ** 2 for _, cost in past) / (sample - 1)
    error = (variance * (1 + 1 / sample)) ** 0.5
    assert float(estimate.high - estimate.cost) == pytest.approx(quantile * error, rel=5e-3)


def test_the_range_holds_as_often_as_it_says() -> None:
    """Of a thousand estimates of random calls, about 95 % hold the true cost."""
    dice = random.Random(7)

    def call() -> tuple[Decimal, Decimal]:
        size = dice.randint(100, 1000)
        return Decimal(size), Decimal(size * dice.randint(10, 60)) / 100

    held = 0
    for _ in range(1000):
        upcoming = [call() for _ in range(30)]
        estimate = _estimate([call() for _ in range(20)], [size for size, _ in upcoming])
        held += estimate.low <= sum(cost for _, cost in upcoming) <= estimate.high
    assert 920 <= held <= 980


@pytest.mark.parametrize(
    ("past", "options", "told"),
    [
        ([(1.5, 1), (1, 1)], {}, "past=1.5"),
        ([(1, -1), (1, 1)], {}, "past=-1"),
        ([(1, 1), (1, 1)], {"confidence": 95}, "confidence=95; give a number above 0 and below 1"),
        ([(1, 1), (1, 1)], {"confidence": 1.0}, "confidence=1.0"),
    ],
)
def test_wrong_numbers_are_refused(past: Any, options: Any, told: str) -> None:
    """Floats, negative amounts and percents are named, with what is allowed."""
    with pytest.raises(gp.ConfigurationError) as caught:
        expected(past, [1], **options)
    assert told in str(caught.value)
