"""The prices that come with the library are a reference: dated, and said where they are from."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

import genai_pipeline as gp
from tests.money.prices import TODAY


def test_each_entry_has_its_date_and_source() -> None:
    """Every price says when it was checked and where it is from."""
    book = gp.PriceBook.reference()
    assert book.prices
    for price in book.prices:
        assert price.checked is not None, price.model
        assert price.checked <= TODAY
        assert price.source, price.model


def test_each_price_is_plausible() -> None:
    """Output costs more than input, cached input less, and long contexts no less."""
    for price in gp.PriceBook.reference().prices:
        if "embed" in price.model:
            continue
        for rates in (price, *price.above.values()):
            assert 2 <= rates.output / rates.input <= 10, price.model
            assert rates.cached_input is not None
            assert rates.cached_input < rates.input, price.model
            assert rates.cache_write is None or rates.input < rates.cache_write, price.model
            assert rates.input >= price.input
        assert Decimal("0.01") <= price.input <= 100
        assert price.factors.get("batch", Decimal("0.5")) == Decimal("0.5")


def test_what_embeds_writes_free() -> None:
    """Models that embed cost what they read, so that a call to embed has a bound and a cost."""
    book, request = gp.PriceBook.reference(), gp.EmbeddingRequest(["a text"])
    embedding = [info for info in gp.ModelCatalogue.reference() if info.dimensions is not None]
    assert embedding
    for info in embedding:
        quote = book.quote("any", info.model, request, at=TODAY)
        assert quote.worst is not None, info.model
        assert quote.worst > 0
        cost = book.cost("any", info.model, gp.Usage(input_tokens=1_000_000), at=TODAY)
        assert cost is not None, info.model
        assert Decimal("0.01") <= cost <= 1


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("gpt-5-mini", "0.25"),
        ("gpt-5-mini-2025-08-07", "0.25"),
        ("gpt-4o-2024-11-20", "2.5"),
        ("claude-haiku-4-5-20251001", "1"),
        ("gemini-2.5-flash", "0.3"),
        ("text-embedding-3-small", "0.02"),
        ("amazon.titan-embed-text-v2:0", "0.02"),
        ("gpt-4o-2024-05-13", None),
        ("gpt-5-experimental", None),
    ],
)
def test_snapshots_are_priced_and_other_names_are_not(model: str, cost: str | None) -> None:
    """A dated snapshot has its model's price; a name that merely begins so has none."""
    price = gp.PriceBook.reference().price("any", model, at=TODAY)
    assert (None if price is None else price.input) == (None if cost is None else Decimal(cost))


def test_prices_that_changed_have_dates() -> None:
    """A call is priced by the price of its day."""
    book, usage = gp.PriceBook.reference(), gp.Usage(input_tokens=10, cached_tokens=10)
    before, after = (
        book.cost("any", "claude-sonnet-5-5", usage, at=date(2026, 10, day)) for day in (6, 7)
    )
    assert (before, after) == (Decimal("0.000002"), Decimal("0.000001"))


def test_the_reference_survives_json() -> None:
    """A copy of it can be kept and edited as a file."""
    book = gp.PriceBook.reference()
    assert gp.PriceBook.from_json(book.to_json()) == book
