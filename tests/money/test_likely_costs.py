"""What a call is likely to cost is counted by an estimate, and is no bound."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.testing.strategies import embedding_requests, requests
from tests.money.prices import TODAY, books

BOOK = gp.PriceBook({"acme-1": {"input": 1, "output": 10, "factors": {"batch": "0.5"}}})
REQUEST = gp.Request("x" * 400, max_output_tokens=50)  # 106 tokens


def likely(book: gp.PriceBook = BOOK, request: Any = REQUEST, **options: Any) -> Decimal | None:
    """Answer the likely cost of a call of acme-1, in millionths of a dollar."""
    told = {"at": TODAY, "output_tokens": 20, **options}
    cost = book.expected("acme", told.pop("model", "acme-1"), request, **told)
    return None if cost is None else cost * 10**6


def test_input_is_estimated_and_output_is_told() -> None:
    """Each at its rate; output goes no further than the request allows."""
    assert likely() == 106 + 20 * 10
    assert likely(output_tokens=0) == 106
    assert likely(output_tokens=1000) == 106 + 50 * 10
    assert likely(request=gp.Request("x" * 400), output_tokens=1000) == 106 + 1000 * 10
    assert likely(request=gp.EmbeddingRequest("x" * 400)) == 100


def test_several_answers_and_other_services_count() -> None:
    """Each answer asked for is written; a service has its factor."""
    request = gp.Request("x" * 400, max_output_tokens=50, extra={"n": 3})
    assert likely(request=request) == 106 + 3 * 20 * 10
    assert likely(service="batch") == (106 + 20 * 10) / Decimal(2)
    assert likely(request=gp.Request("x" * 400, extra={"service_tier": "batch"})) == 153


def test_a_calibrated_counter_may_count() -> None:
    """What an estimator learned of the model goes into the cost."""
    counter = gp.TokenEstimator(known={"acme-1": {"ratio": 2.0, "size": 1, "answers": 9}})
    assert likely(counter=counter) == 212 + 20 * 10


def test_what_has_no_price_has_no_likely_cost() -> None:
    """Neither a model without a price, nor a service without a factor, nor odd numbers have one."""
    assert likely(model="acme-2") is None
    assert likely(service="flex") is None
    assert likely(request=gp.Request("x", extra={"n": "two"})) is None


@given(
    books(),
    st.one_of(requests(), embedding_requests()),
    st.integers(0, 10**6),
    st.floats(0.1, 10),
)
def test_the_likely_is_never_above_the_worst(
    book: gp.PriceBook, request: Any, output_tokens: int, ratio: float
) -> None:
    """Property: however wrong an estimate is, a call is expected to cost no more than its bound."""
    counter = gp.TokenEstimator(known={"acme-1": {"ratio": ratio}})
    worst = book.worst("acme", "acme-1", request, at=TODAY)
    found = likely(book, request, output_tokens=output_tokens, counter=counter)
    if worst is not None:
        assert found is not None
        assert found <= worst * 10**6


@pytest.mark.parametrize(
    "wrong", [{"output_tokens": -1}, {"output_tokens": 1.5}, {"counter": "text"}]
)
def test_wrong_options_are_refused(wrong: Any) -> None:
    """The error names the method, the option and the value."""
    with pytest.raises(
        gp.ConfigurationError, match=r"PriceBook.expected: (output_tokens|counter)="
    ):
        likely(**wrong)
