"""The output of a call is expected by what the answers before took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.resilience._usual_output import UsualOutput


def test_output_is_what_the_request_allows_until_enough_is_known() -> None:
    """Pain 8: before 20 answers, output is expected as allowed, or as told; then learned."""
    usual = UsualOutput(500)
    limited, free = gp.Request("x", max_output_tokens=300), gp.Request("x")
    for output in range(1, 20):
        usual.learn(output)
    assert usual.of(limited, strict=False) == 300
    assert usual.of(free, strict=False) == 500
    usual.learn(20)
    assert usual.of(free, strict=False) == 19, "the 19th of 20"
    assert usual.of(gp.Request("x", max_output_tokens=19), strict=False) == 19
    assert usual.of(limited, strict=False) == 19
    assert usual.of(limited, strict=True) == 300
    assert usual.of(free, strict=True) == 19
    assert usual.of(gp.Request("x", max_output_tokens=5), strict=False) == 5


def test_old_outputs_are_forgotten() -> None:
    """After 400 short answers, nothing is left of the long ones before."""
    usual = UsualOutput(500)
    for _ in range(100):
        usual.learn(1000)
    assert usual.of(gp.Request("x"), strict=False) == 1000
    for _ in range(400):
        usual.learn(10)
    assert usual.of(gp.Request("x"), strict=False) == 10


def test_the_twentieth_answer_counts_too() -> None:
    """What is expected after 20 answers is the 95th percentile of all 20."""
    usual = UsualOutput(500)
    for output in (*range(1, 20), 0):
        usual.learn(output)
    assert usual.of(gp.Request("x"), strict=False) == 18


@given(st.lists(st.integers(0, 5000), min_size=20, max_size=20))
def test_nineteen_of_twenty_keep_to_the_estimate(outputs: list[int]) -> None:
    """Of the answers that were learned from, 95 % took no more than what is expected."""
    usual = UsualOutput(500)
    for output in outputs:
        usual.learn(output)
    expected = usual.of(gp.Request("x"), strict=False)
    assert sum(output <= expected for output in outputs) >= 19
    assert expected in outputs
