"""A price book finds the one price that is meant, or says that it knows none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.money import Price
from tests.money.prices import NOW, TODAY, books, prices

book_of: Any = gp.PriceBook
price_of: Any = Price
"""The same, for what their types forbid."""


def _input(book: gp.PriceBook, model: str, *, provider: str = "acme", at: Any = TODAY) -> int:
    price = book.price(provider, model, at=at)
    return -1 if price is None else int(price.input)


def _book(*entries: tuple[str | None, str, int]) -> gp.PriceBook:
    return gp.PriceBook(
        Price(provider=provider, model=model, input=number, output=1)
        for provider, model, number in entries
    )


def test_the_exact_name_comes_before_a_prefix() -> None:
    """A name ending in a star stands for all that begin so; the longest that fits is taken."""
    book = _book((None, "*", 1), (None, "acme-*", 2), (None, "acme-1*", 3), (None, "acme-1", 4))
    asked = ["acme-1", "acme-1-large", "acme-2", "acme-", "other", "acm"]
    assert [_input(book, model) for model in asked] == [4, 3, 2, 2, 1, 1]


def test_the_provider_comes_before_the_name() -> None:
    """What is said for a provider goes before what is said for whichever offers the model."""
    book = _book((None, "acme-1", 1), ("reseller", "acme-*", 2))
    assert _input(book, "acme-1", provider="acme") == 1
    assert _input(book, "acme-1", provider="reseller") == 2


def test_what_is_not_in_the_book_is_unknown() -> None:
    """A model without a price is `None`, which is not zero."""
    book = _book(("acme", "acme-1", 1))
    usage = gp.Usage(input_tokens=1)
    assert book.price("reseller", "acme-1", at=TODAY) is None
    assert book.cost("reseller", "acme-1", usage, at=TODAY) is None
    assert book.worst("acme", "acme-2", gp.Request("x", max_output_tokens=1), at=TODAY) is None
    reason = book.quote("acme", "acme-2", gp.Request("x"), at=TODAY).reason
    assert "'acme-2' of 'acme' on 2026-11-26" in reason
    assert "with_prices" in reason


def test_a_star_alone_does_not_price_another_name_exactly() -> None:
    """A call to a model that is really called with a star has no special meaning."""
    assert _input(_book((None, "acme-*", 2)), "acme-*") == 2


def test_prices_have_dates() -> None:
    """A price counts from the day of *since* to the day before *until*, in UTC."""
    book = gp.PriceBook(
        {
            "acme-1": [
                {"input": 1, "output": 1, "until": "2026-03-01"},
                {"input": 2, "output": 1, "since": "2026-03-01", "until": date(2026, 6, 1)},
                {"input": 3, "output": 1, "since": "2026-07-01"},
            ]
        }
    )
    days = [date(2026, 2, 28), date(2026, 3, 1), date(2026, 5, 31), date(2026, 6, 1), TODAY]
    assert [_input(book, "acme-1", at=day) for day in days] == [1, 2, 2, -1, 3]


def test_the_later_of_two_valid_prices_counts() -> None:
    """A price with a later *since* replaces one without an end."""
    book = gp.PriceBook(
        {"a": [{"input": 1, "output": 1}, {"input": 2, "output": 1, "since": "2026-03-01"}]}
    )
    assert _input(book, "a", at=date(2026, 2, 28)) == 1
    assert _input(book, "a", at=date(2026, 3, 1)) == 2


def test_a_prefix_stands_in_when_no_exact_price_is_valid() -> None:
    """Of the prices valid on the day, the one most particular is taken."""
    book = gp.PriceBook(
        {"a-1": {"input": 1, "output": 1, "since": "2026-03-01"}, "a-*": {"input": 2, "output": 1}}
    )
    assert _input(book, "a-1", at=date(2026, 2, 28)) == 2


def test_moments_are_days_in_utc() -> None:
    """Seconds, times with any zone and days name the same day in UTC."""
    book = gp.PriceBook({"a": [{"input": 1, "output": 1, "since": "2026-11-26"}]})
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    tokyo = midnight.astimezone(timezone(timedelta(hours=9)))
    moments: list[Any] = [midnight, tokyo, midnight.timestamp(), midnight.date()]
    assert [_input(book, "a", at=at) for at in moments] == [1] * 4
    before = midnight - timedelta(microseconds=1)
    assert [_input(book, "a", at=at) for at in (before, before.timestamp())] == [-1, -1]
    with pytest.raises(gp.ConfigurationError, match="no time zone"):
        book.price("acme", "a", at=datetime(2026, 11, 26))  # noqa: DTZ001 - that is the fault


def test_a_key_may_hold_several_names() -> None:
    """One entry prices every name in its key."""
    book = gp.PriceBook({"a b-*": {"input": 1, "output": 1}})
    assert [_input(book, model) for model in ("a", "b-1", "c")] == [1, 1, -1]


def test_the_embedded_model_is_free() -> None:
    """Calls to `providers.Local` cost nothing in every book, unless the book says otherwise."""
    request, usage = gp.Request("x"), gp.Usage(input_tokens=10)
    assert gp.PriceBook().worst("local", "any", request, at=TODAY) == 0
    assert gp.PriceBook().cost("local", "any", usage, at=TODAY) == 0
    dear = _book(("local", "*", 1))
    assert dear.cost("local", "any", usage, at=TODAY) == Decimal("0.00001")


def test_new_prices_replace_those_of_the_same_name() -> None:
    """All dates of a name are replaced; other names and the tokenizer stay."""
    old = gp.PriceBook(
        {
            "a": [
                {"input": 1, "output": 1, "until": "2026-03-01"},
                {"input": 2, "output": 1, "since": "2026-03-01"},
            ],
            "b": {"input": 3, "output": 1},
        },
        tokens=lambda model, request: 5,
    )
    new = old.with_prices({"a": {"input": 4, "output": 1, "since": "2026-06-01"}})
    assert _input(new, "a", at=date(2026, 1, 1)) == -1
    assert (_input(new, "a"), _input(new, "b")) == (4, 3)
    assert new.tokens is old.tokens
    assert _input(old, "a") == 2


def test_a_new_price_of_one_provider_leaves_the_others() -> None:
    """A price that names a provider replaces only that provider's; one without, everybody's."""
    old = _book((None, "a", 1), ("acme", "a", 2), ("reseller", "a", 3))
    one = old.with_prices([Price(provider="acme", model="a", input=4, output=1)])
    assert [_input(one, "a", provider=who) for who in ("acme", "reseller", "x")] == [4, 3, 1]
    every = old.with_prices({"a": {"input": 5, "output": 1}})
    assert [_input(every, "a", provider=who) for who in ("acme", "reseller", "x")] == [5] * 3


@settings(deadline=None)
@given(books(), st.lists(prices(), max_size=4, unique_by=lambda one: (one.provider, one.model)))
def test_merging_keeps_what_is_given_last(book: gp.PriceBook, more: list[Price]) -> None:
    """All of the new prices are there afterwards, and merging them again changes nothing."""
    merged = book.with_prices(more)
    assert set(map(id, more)) <= set(map(id, merged.prices))
    assert merged.with_prices(more) == merged
    given_names = {one.model for one in more}
    assert [one for one in merged.prices if one.model not in given_names] == [
        one for one in book.prices if one.model not in given_names
    ]


@settings(deadline=None)
@given(books())
def test_json_tells_all_prices(book: gp.PriceBook) -> None:
    """A book comes back from its JSON with every price as it was."""
    again = gp.PriceBook.from_json(book.to_json())
    assert sorted(again.prices, key=repr) == sorted(book.prices, key=repr)


def test_the_json_of_the_reference_page_is_a_book() -> None:
    """What the documentation shows as JSON is read, with names, dates and long contexts."""
    page = (Path(__file__).parents[2] / "docs/reference/money.md").read_text("utf-8")
    (text,) = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    book = gp.PriceBook.from_json(text)
    inputs = [_input(book, model) for model in ("acme-large", "acme-large-2026-10-01", "acme")]
    assert inputs == [2, 2, -1]
    assert _input(book, "acme-large", at=date(2026, 9, 30)) == 3


def test_json_numbers_are_exact() -> None:
    """Numbers in JSON are read as they are written, also those that no float holds."""
    book = gp.PriceBook.from_json(
        '{"a": {"input": 0.1, "output": 1e-1, "above": {"9": {"input": 0.3, "output": 2}}}}'
    )
    price = book.price("x", "a", at=TODAY)
    assert price is not None
    assert (price.input, price.output, price.above[9].input) == (
        Decimal("0.1"),
        Decimal("0.1"),
        Decimal("0.3"),
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"a": {"input": 0.25, "output": 1}}, 'is a float, which is not exact; give text ("0.25")'),
        ({"a": {"input": "dear", "output": 1}}, "input='dear'"),
        ({"a": {"input": -1, "output": 1}}, "input=-1; give an amount of 0 or more"),
        ({"a": {"input": "NaN", "output": 1}}, "input='NaN'"),
        ({"a": {"input": "Infinity", "output": 1}}, "input='Infinity'"),
        ({"a": {"input": "1e-19", "output": 1}}, "at most 18 decimal places"),
        ({"a": {"input": True, "output": 1}}, "input=True"),
        ({"a": {"input": 1}}, "'a' lacks 'output'; give dollars per million tokens, 0 if free"),
        ({"a": {"input": 1, "output": 1, "inptu": 2}}, "'a' has 'inptu'; known are above"),
        ({"a": 5}, "prices['a']=5; give a mapping"),
        ({"": {"input": 1, "output": 1}}, "names of models"),
        ({"a*b": {"input": 1, "output": 1}}, "with a * at its end"),
        ({"a": {"input": 1, "output": 1, "since": "soon"}}, "since='soon'; give a day"),
        ({"a": {"input": 1, "output": 1, "since": 5}}, "since=5; give a day"),
        (
            {"a": {"input": 1, "output": 1, "since": "2026-02-01", "until": "2026-02-01"}},
            "give days in that order",
        ),
        ({"a": [{"input": 1, "output": 1}] * 2}, "'a' has two prices without since=; give one"),
        ({"a": {"input": 1, "output": 1, "above": {"many": {}}}}, "numbers of input tokens"),
        (
            {"a": {"input": 1, "output": 1, "above": {5: {"input": 1}}}},
            "a, above 5' lacks 'output'",
        ),
        ({"a": {"input": 1, "output": 1, "above": {0: {"input": 1, "output": 1}}}}, "1 or more"),
        ({"a": {"input": 1, "output": 1, "above": 5}}, "above=5"),
        ({"a": {"input": 1, "output": 1, "factors": {"batch": 0.5}}}, "factors['batch']"),
        ({"a": {"input": 1, "output": 1, "factors": {"default": 1}}}, "that is the price itself"),
        ({"a": {"input": 1, "output": 1, "max_output_tokens": 0}}, "max_output_tokens=0"),
        ({"a": {"input": 1, "output": 1, "provider": ""}}, "provider=''"),
        (["a"], "price 0 is a str; give a Price"),
        ("a", "a mapping of models to prices"),
    ],
)
def test_a_wrong_price_is_refused(wrong: Any, told: str) -> None:
    """The error names the model, the field, the value and what is allowed."""
    with pytest.raises(gp.ConfigurationError) as caught:
        book_of(wrong)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", '{"a": {"input": NaN, "output": 1}}'])
def test_a_wrong_file_is_refused(text: str) -> None:
    """What is no JSON object of prices fails as an option does."""
    with pytest.raises(gp.ConfigurationError, match="PriceBook"):
        gp.PriceBook.from_json(text)


def test_wrong_rates_of_long_contexts_are_refused() -> None:
    """``above`` of a `Price` holds `Rates`, by whole numbers."""
    for above in ({5: 1}, {True: 1}, [5]):
        with pytest.raises(gp.ConfigurationError, match="above"):
            price_of(model="a", input=1, output=1, above=above)


def test_seconds_are_wall_time() -> None:
    """A float is seconds since 1970, as a journal keeps it."""
    assert _input(_book((None, "a", 1)), "a", at=NOW) == 1


def test_a_book_answers_for_any_number_of_models() -> None:
    """What a book remembers of its answers is bounded, and changes none of them."""
    book = _book((None, "acme-*", 1), (None, "acme-7*", 7))
    asked = [f"acme-{number}" for number in range(2500)] * 2
    expected = [7 if model.startswith("acme-7") else 1 for model in asked]
    assert [_input(book, model) for model in asked] == expected


def test_the_tokenizer_is_a_function() -> None:
    """Anything but a function is refused when the book is built."""
    with pytest.raises(gp.ConfigurationError, match=r"tokens=5; give a function"):
        book_of((), tokens=5)
