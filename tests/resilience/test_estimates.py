"""Tokens are estimated by what the answers before showed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.resilience._estimates import Estimates, text_bytes, text_tokens


def test_input_is_counted_by_bytes() -> None:
    """35 bytes are 10 tokens and a message 4 more, until an answer is known."""
    assert Estimates(500).input_of(gp.Request("x" * 35)) == (14, 14)
    assert Estimates(500).input_of(gp.Request("x" * 36)) == (15, 15)
    three = gp.Request([gp.Message("user", "x" * 35)] * 3)
    assert Estimates(500).input_of(three) == (42, 42)


def test_the_tokens_of_a_text_are_counted_by_bytes() -> None:
    """What a stream brought before it was left is a token for each 3.5 bytes, rounded up."""
    assert [text_tokens(text) for text in ("", "x", "x" * 35, "é" * 18)] == [0, 1, 10, 11]


def test_all_that_the_model_reads_counts() -> None:
    """The system text, every message and the schema count, in bytes of UTF-8."""
    request = gp.Request(
        [gp.Message("user", "ab"), gp.Message("assistant", "é")],
        system="xyz",
        schema={"type": "object"},
    )
    assert text_bytes(request) == 2 + 2 + 3 + len('{"type": "object"}')


def test_the_ratio_is_learned_slowly() -> None:
    """Each answer moves the estimate of the input a tenth of the way to what it showed."""
    estimates = Estimates(500)
    request = gp.Request("x" * 336)  # 100
    for expected in (110, 119, 128):  # 1.1, 1.19, 1.271
        estimates.learn(100, gp.Usage(input_tokens=200, output_tokens=1))
        assert estimates.input_of(request)[0] == expected


@pytest.mark.parametrize(("told", "expected"), [(10**9, 1900), (1, 910)])
def test_one_absurd_answer_does_little(told: int, expected: int) -> None:
    """A count a million times off moves the estimate as one ten times off would."""
    estimates = Estimates(500)
    estimates.learn(1000, gp.Usage(input_tokens=told))
    assert estimates.input_of(gp.Request("x" * 3486))[0] == expected


def test_an_answer_without_input_tokens_teaches_no_ratio() -> None:
    """A usage that does not tell the input leaves the ratio alone."""
    estimates = Estimates(500)
    estimates.learn(100, gp.Usage(output_tokens=5))
    estimates.learn(0, gp.Usage(input_tokens=50, output_tokens=5))
    assert estimates.input_of(gp.Request("x" * 336))[0] == 100


def test_output_is_what_the_request_allows_until_enough_is_known() -> None:
    """Pain 8: before 20 answers, output is expected as allowed, or as told; then learned."""
    estimates = Estimates(500)
    limited, free = gp.Request("x", max_output_tokens=300), gp.Request("x")
    for output in range(1, 20):
        estimates.learn(1, gp.Usage(output_tokens=output))
    assert estimates.output_of(limited, strict=False) == 300
    assert estimates.output_of(free, strict=False) == 500
    estimates.learn(1, gp.Usage(output_tokens=20))
    assert estimates.output_of(free, strict=False) == 19, "the 19th of 20"
    assert estimates.output_of(gp.Request("x", max_output_tokens=19), strict=False) == 19
    assert estimates.output_of(limited, strict=False) == 19
    assert estimates.output_of(limited, strict=True) == 300
    assert estimates.output_of(free, strict=True) == 19
    assert estimates.output_of(gp.Request("x", max_output_tokens=5), strict=False) == 5


def test_old_outputs_are_forgotten() -> None:
    """After 400 short answers, nothing is left of the long ones before."""
    estimates = Estimates(500)
    for _ in range(100):
        estimates.learn(1, gp.Usage(output_tokens=1000))
    assert estimates.output_of(gp.Request("x"), strict=False) == 1000
    for _ in range(400):
        estimates.learn(1, gp.Usage(output_tokens=10))
    assert estimates.output_of(gp.Request("x"), strict=False) == 10


def test_the_twentieth_answer_counts_too() -> None:
    """What is expected after 20 answers is the 95th percentile of all 20."""
    estimates = Estimates(500)
    for output in (*range(1, 20), 0):
        estimates.learn(1, gp.Usage(output_tokens=output))
    assert estimates.output_of(gp.Request("x"), strict=False) == 18


@given(st.lists(st.integers(0, 5000), min_size=20, max_size=20))
def test_nineteen_of_twenty_keep_to_the_estimate(outputs: list[int]) -> None:
    """Of the answers that were learned from, 95 % took no more than what is expected."""
    estimates = Estimates(500)
    for output in outputs:
        estimates.learn(1, gp.Usage(output_tokens=output))
    expected = estimates.output_of(gp.Request("x"), strict=False)
    assert sum(output <= expected for output in outputs) >= 19
    assert expected in outputs
