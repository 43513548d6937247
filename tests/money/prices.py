"""Strategies for prices, and moments to ask for them."""

from __future__ import annotations

from datetime import UTC, date, datetime

from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.money import Price, Rates

TODAY = date(2026, 11, 26)
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()

amounts = st.decimals(0, 100, places=4, allow_nan=False, allow_infinity=False)
names = st.sampled_from(["acme-1", "acme-1-large", "acme-*", "acme-1*", "other", "*"])
services = st.sampled_from(["batch", "flex", "priority"])
tokens = st.integers(0, 2_000_000)

_RATES = {
    "input": amounts,
    "output": amounts,
    "cached_input": st.none() | amounts,
    "cache_write": st.none() | amounts,
}

rates = st.builds(Rates, **_RATES)


def prices(models: st.SearchStrategy[str] = names) -> st.SearchStrategy[Price]:
    """Draw prices that are always valid, with any context lengths and factors."""
    return st.builds(
        Price,
        model=models,
        provider=st.none() | st.sampled_from(["acme", "reseller"]),
        above=st.dictionaries(st.integers(1, 2_000_000), rates, max_size=3),
        factors=st.dictionaries(services, amounts, max_size=3),
        max_output_tokens=st.none() | st.integers(1, 200_000),
        checked=st.none() | st.dates(),
        source=st.none() | st.text(min_size=1),
        **_RATES,
    )


def books(models: st.SearchStrategy[str] = names) -> st.SearchStrategy[gp.PriceBook]:
    """Draw price books in which no name is priced twice."""
    listed = st.lists(prices(models), max_size=6, unique_by=lambda one: (one.provider, one.model))
    return st.builds(gp.PriceBook, listed)
