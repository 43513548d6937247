"""What is known of a model: checked when it is given, and unknown where it is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

import genai_pipeline as gp

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "model="),
    ({"model": "two words"}, "model="),
    ({"model": "gpt-*"}, "model="),
    ({"provider": ""}, "provider="),
    ({"aliases": "acme"}, "aliases="),
    ({"aliases": ["a b"]}, "aliases="),
    ({"context_window": 0}, "context_window="),
    ({"context_window": 8192.0}, "context_window="),
    ({"context_window": True}, "context_window="),
    ({"max_input_tokens": "8192"}, "max_input_tokens="),
    ({"max_output_tokens": -1}, "max_output_tokens="),
    ({"dimensions": 0}, "dimensions="),
    ({"input_modalities": "text"}, "input_modalities="),
    ({"input_modalities": ()}, "input_modalities="),
    ({"input_modalities": ["smell"]}, "input_modalities="),
    ({"output_modalities": ["file"]}, "output_modalities="),
    ({"features": ["tools"]}, "features="),
    ({"features": {"telepathy": True}}, "features="),
    ({"features": {"tools": "yes"}}, "features="),
    ({"tokenizer": ""}, "tokenizer="),
    ({"deprecated": 1}, "deprecated="),
    ({"retires": "soon"}, "retires="),
    ({"as_of": 20261126}, "as_of="),
    ({"source": ""}, "source="),
]


@pytest.mark.parametrize(("fields", "named"), WRONG, ids=lambda case: str(case)[:40])
def test_a_wrong_field_is_refused(fields: dict[str, Any], named: str) -> None:
    """Each field is checked when it is given, and the error names it and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=f"ModelInfo: {named}.*; give "):
        gp.ModelInfo(**{"model": "acme", **fields})


def test_what_is_not_given_is_unknown() -> None:
    """A model of which only the name is known has no limits, no features and no dates."""
    info = gp.ModelInfo(model="acme")
    assert info.most_read is None
    assert info.supports("tools") is None
    assert info.input_modalities is None
    assert (info.deprecated, info.retires, info.as_of) == (None, None, None)


@pytest.mark.parametrize(
    ("window", "most", "read"),
    [(None, None, None), (10, None, 10), (None, 8, 8), (10, 8, 8), (8, 10, 8)],
)
def test_the_most_it_reads(window: int | None, most: int | None, read: int | None) -> None:
    """A prompt fits neither more than the window nor more than the input limit, as far as known."""
    info = gp.ModelInfo(model="acme", context_window=window, max_input_tokens=most)
    assert info.most_read == read


def test_features() -> None:
    """A feature is there, is not there, or is unknown; one that does not exist is an error."""
    info = gp.ModelInfo(model="acme", features={"tools": True, "seed": False})
    assert (info.supports("tools"), info.supports("seed")) == (True, False)
    assert info.supports("logprobs") is None
    with pytest.raises(gp.ConfigurationError, match=r"feature='tool'; give one of .*tools"):
        info.supports("tool")


def test_its_price_is_looked_up() -> None:
    """What it costs is in a price book, by its maker, its name and the day."""
    book = gp.PriceBook(
        {
            "acme": [
                {"input": 2, "output": 4, "provider": "acme"},
                {"input": 1, "output": 2, "provider": "other", "since": "2026-01-01"},
            ]
        }
    )
    day = date(2026, 11, 26)
    price = gp.ModelInfo(model="acme", provider="acme").price(book, at=day)
    assert price is not None
    assert price.input == 2
    assert gp.ModelInfo(model="acme", provider="third").price(book, at=day) is None
    assert gp.ModelInfo(model="acme").price(book, at=day) is None
