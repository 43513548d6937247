"""An estimator learns from answers how far off it is, for each model."""

from __future__ import annotations

import json
import math
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.tokens import TokenEstimator

SIZES = st.lists(st.integers(1, 100_000), min_size=150, max_size=150)
TRUE = st.floats(0.1, 10)


def test_at_first_nothing_is_corrected() -> None:
    """Before any answer the estimate is what the counter counts."""
    estimator = TokenEstimator()
    assert estimator.count("x" * 40) == estimator.counter.count("x" * 40) == 10
    assert (estimator.ratio(), estimator.snapshot()) == (1.0, {})


@given(TRUE)
def test_a_constant_error_is_unlearned(true: float) -> None:
    """Property: whatever the true ratio, 0.1 to 10, it is found to a percent in 150 answers."""
    estimator = TokenEstimator()
    for _ in range(150):
        estimator.learn(100_000, round(100_000 * true))
    assert estimator.ratio() == pytest.approx(true, rel=0.01)


@given(TRUE, st.integers(0, 2**32))
def test_requests_of_any_size_teach_it(true: float, seed: int) -> None:
    """Property: it is found, too, where small and large requests take turns by chance."""
    dice = random.Random(seed)
    estimator = TokenEstimator()
    for _ in range(1500):
        size = round(10 ** dice.uniform(2, 4))
        estimator.learn(size, round(size * true))
    assert estimator.ratio() == pytest.approx(true, rel=0.05)


@given(SIZES, TRUE, st.integers(1, 10**12), st.integers(1, 10**12))
def test_one_outlier_is_bounded(sizes: list[int], true: float, counted: int, told: int) -> None:
    """Property: no answer, whatever it tells, moves a learned ratio by more than a tenth."""
    estimator = TokenEstimator()
    for size in sizes:
        estimator.learn(size, max(1, round(size * true)))
    before = estimator.ratio()
    estimator.learn(counted, told)
    assert before * 0.949 <= estimator.ratio() <= before * 1.101


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)), max_size=60))
def test_the_ratio_stays_within_bounds(answers: list[tuple[int, int]]) -> None:
    """Property: the ratio is 0.1 to 10, at most doubled by any answer, and never no number."""
    estimator = TokenEstimator()
    for counted, told in answers:
        before = estimator.ratio()
        estimator.learn(counted, told)
        assert 0.1 <= estimator.ratio() <= 10
        assert 0.5 <= estimator.ratio() / before <= 2
        assert estimator.corrected(counted) >= 1


def test_after_an_outlier_it_recovers() -> None:
    """One answer for a million tokens among small ones is forgotten after a hundred more."""
    estimator = TokenEstimator()
    for _ in range(50):
        estimator.learn(100, 100)
    estimator.learn(1_000_000, 10_000_000)
    assert estimator.ratio() > 1.05
    for _ in range(100):
        estimator.learn(100, 100)
    assert estimator.ratio() == pytest.approx(1, rel=0.01)


def test_large_requests_weigh_more() -> None:
    """Short pings, with twice the tokens by what is put around them, hardly skew long texts."""
    estimator = TokenEstimator()
    for _ in range(100):
        estimator.learn(10, 20)
        estimator.learn(5000, 5000)
    assert estimator.ratio() == pytest.approx(1, rel=0.02)


def test_what_tells_nothing_teaches_nothing() -> None:
    """Usage without input tokens, and requests without any, leave the ratio as it is."""
    estimator = TokenEstimator()
    for counted, told in ((0, 10), (10, 0), (-1, 10), (10, -1)):
        estimator.learn(counted, told)
    assert estimator.snapshot() == {}


ANSWERS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 5000), st.integers(1, 5000)), max_size=40
)


@given(ANSWERS)
def test_models_do_not_mix(answers: list[tuple[str, int, int]]) -> None:
    """Property: what is learned of a model is what its own answers taught, in their order."""
    together = TokenEstimator()
    alone = {model: TokenEstimator() for model in "abc"}
    for model, counted, told in answers:
        together.learn(counted, told, model=model)
    for model, counted, told in sorted(answers, key=lambda answer: answer[0]):
        alone[model].learn(counted, told, model=model)
    for model in "abc":
        assert together.ratio(model) == alone[model].ratio(model)


@given(ANSWERS, ANSWERS)
def test_a_snapshot_goes_on_where_it_was_taken(before: Any, after: Any) -> None:
    """Property: by way of JSON, a later estimator knows and learns what this one would have."""
    first = TokenEstimator()
    for model, counted, told in before:
        first.learn(counted, told, model=model)
    second = TokenEstimator(known=json.loads(json.dumps(first.snapshot())))
    for model, counted, told in after:
        first.learn(counted, told, model=model)
        second.learn(counted, told, model=model)
    assert first.snapshot() == second.snapshot()


def test_a_hundred_models_are_remembered() -> None:
    """However many names come by, memory is bounded; those heard of last are known."""
    estimator = TokenEstimator()
    estimator.learn(10, 20, model="first")
    for number in range(150):
        estimator.learn(10, 20, model=str(number))
        estimator.learn(10, 20, model="often")
        estimator.count("x", model=f"asked {number}")
    known = estimator.snapshot()
    assert len(known) == 100
    assert {"149", "often"} <= known.keys()
    assert "first" not in known
    assert len(TokenEstimator(known={**known, "one more": {}}).snapshot()) == 100


@pytest.mark.parametrize(
    "known",
    [
        5,
        [],
        {1: {}},
        {"m": 5},
        {"m": {"ratio": math.nan}},
        {"m": {"ratio": 11}},
        {"m": {"ratio": "1"}},
        {"m": {"size": 0}},
        {"m": {"answers": -1}},
        {"m": {"colour": 1}},
    ],
)
def test_what_is_no_snapshot_is_refused(known: Any) -> None:
    """Anything but what `snapshot` answers is a mistake, and the error names the place."""
    with pytest.raises(gp.ConfigurationError, match=r"TokenEstimator: known"):
        TokenEstimator(known=known)


@pytest.mark.parametrize("counter", [None, "text", [1], TokenEstimator, object()])
def test_a_counter_has_to_count(counter: Any) -> None:
    """A text has a method count, and so has a list, but neither is a token counter."""
    with pytest.raises(gp.ConfigurationError, match="TokenEstimator: counter="):
        TokenEstimator(counter=counter)


class Words:
    """A counter of an application's own."""

    def count(self, content: Any, /, *, model: str = "") -> int:
        text = content if isinstance(content, str) else content.prompt
        return len(text.split()) * (2 if model == "large" else 1)


def test_any_counter_can_be_corrected() -> None:
    """A tokenizer of one's own is asked for the model, and corrected by what answers told."""
    estimator = TokenEstimator(counter=Words())
    assert (estimator.count("a b c"), estimator.count("a b c", model="large")) == (3, 6)
    for _ in range(200):
        estimator.learn(100, 150)
    assert estimator.count(gp.Request("a b c d")) == 6


def test_threads_may_share_one() -> None:
    """No answer is lost when many threads learn and count at the same time."""
    estimator = TokenEstimator()

    def work() -> None:
        for _ in range(500):
            estimator.learn(100, 150)
            estimator.count("abc")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (known,) = estimator.snapshot().values()
    assert known["answers"] == 4000
    assert known["ratio"] == pytest.approx(1.5)
