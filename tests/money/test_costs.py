"""What a call cost is counted exactly, and never above the most that it could cost."""

from __future__ import annotations

import decimal
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.money import Price, Rates, from_nano, service_of, to_nano
from genai_pipeline.money._bounds import most_input_tokens
from genai_pipeline.testing import strategies as gps
from tests.money.prices import TODAY, prices, rates, services, tokens

ONE = st.just("acme-1")
LIMITED = gp.Request("x", max_output_tokens=10)


def _book(**fields: Any) -> gp.PriceBook:
    return gp.PriceBook({"acme-1": {"input": "2", "output": "10", **fields}})


def _cost(book: gp.PriceBook, usage: gp.Usage, **options: Any) -> Decimal | None:
    return book.cost("acme", "acme-1", usage, at=TODAY, **options)


def _worst(book: gp.PriceBook, request: gp.Request, **options: Any) -> Decimal | None:
    return book.worst("acme", "acme-1", request, at=TODAY, **options)


def test_each_kind_of_token_has_its_price() -> None:
    """Cached and cache-write tokens are parts of the input, and reasoning is part of the output."""
    book = _book(cached_input="0.2", cache_write="2.5")
    usage = gp.Usage(
        input_tokens=1000,
        cached_tokens=600,
        cache_write_tokens=300,
        output_tokens=50,
        reasoning_tokens=40,
    )
    parts = 100 * 2 + 600 * Decimal("0.2") + 300 * Decimal("2.5") + 50 * 10
    assert _cost(book, usage) == parts / 1_000_000


def test_without_a_price_of_their_own_cached_tokens_cost_as_others() -> None:
    """A discount or surcharge that the book does not know is not made up."""
    usage = gp.Usage(input_tokens=1000, cached_tokens=600, cache_write_tokens=300)
    assert _cost(_book(), usage) == Decimal("0.002")


def test_long_contexts_cost_more_as_a_whole() -> None:
    """Above so many input tokens, cached ones included, other rates count for all of the call."""
    book = _book(above={1000: {"input": "4", "output": "15"}, 5000: {"input": 8, "output": 15}})
    for read, rate in ((1000, 2), (1001, 4), (5000, 4), (5001, 8)):
        usage = gp.Usage(input_tokens=read, cached_tokens=read)
        assert _cost(book, usage) == Decimal(read * rate) / 1_000_000


def test_what_the_provider_told_comes_first() -> None:
    """A cost in the usage counts, also zero, and also where the book knows no price."""
    for told in ("0.5", "0"):
        usage = gp.Usage(input_tokens=1000, cost=Decimal(told))
        assert _cost(_book(), usage) == Decimal(told)
        assert gp.PriceBook().cost("x", "y", usage, at=TODAY) == Decimal(told)


@pytest.mark.parametrize("told", ["-1", "NaN", "Infinity"])
def test_nonsense_that_the_provider_told_does_not_count(told: str) -> None:
    """A cost that is none leaves the book's."""
    usage = gp.Usage(input_tokens=1000, cost=Decimal(told))
    assert _cost(_book(), usage) == Decimal("0.002")


def test_other_services_have_a_factor() -> None:
    """Batch and flex calls cost their factor of the price; a service without one is unknown."""
    book, usage = _book(factors={"batch": "0.5"}), gp.Usage(output_tokens=1000)
    services = ("standard", "default", "auto", "standard_only", "batch", "priority")
    costs = [_cost(book, usage, service=service) for service in services]
    assert costs == [Decimal("0.01")] * 4 + [Decimal("0.005"), None]


@pytest.mark.parametrize(
    ("extra", "service"),
    [
        ({}, "standard"),
        ({"service_tier": "flex"}, "flex"),
        ({"serviceTier": "PRIORITY"}, "priority"),
        ({"serviceTier": {"type": "flex"}}, "flex"),
        ({"service_tier": None}, "standard"),
        ({"service_tier": 5}, "standard"),
    ],
)
def test_the_request_says_its_service(extra: dict[str, Any], service: str) -> None:
    """The service tier is read where the APIs of the large providers have it."""
    assert service_of(gp.Request("x", extra=extra)) == service


def test_the_worst_case_obeys_the_service() -> None:
    """A bound counts with the factor of the service asked for; without a factor there is none."""
    book = _book(factors={"batch": "0.5", "priority": "2"})
    standard = _worst(book, LIMITED, service="standard")
    assert standard is not None
    assert _worst(book, LIMITED, service="batch") == standard / 2
    urgent = gp.Request("x", max_output_tokens=10, extra={"service_tier": "priority"})
    written = book.quote("acme", "acme-1", urgent, at=TODAY)
    assert written.worst is not None
    assert written.worst > 2 * standard  # the extra is read, too
    quote = book.quote("acme", "acme-1", LIMITED, at=TODAY, service="flex")
    assert quote.worst is None
    assert "no factor for the service tier 'flex'" in quote.reason


def test_a_request_without_a_limit_has_no_bound() -> None:
    """Without a limit of output there is no bound, and the reason says what to give."""
    quote = _book().quote("acme", "acme-1", gp.Request("x"), at=TODAY)
    assert quote.worst is None
    assert "'acme-1' has no limit of output; give max_output_tokens=" in quote.reason


def test_the_book_may_know_the_limit_of_the_model() -> None:
    """The most that the model writes stands in for a limit, and never lowers one."""
    book = _book(max_output_tokens=100)
    unlimited = book.quote("acme", "acme-1", gp.Request("x"), at=TODAY)
    assert unlimited.output_tokens == 100
    limited = gp.Request("x", max_output_tokens=5000)
    assert book.quote("acme", "acme-1", limited, at=TODAY).output_tokens == 5000


def test_free_output_needs_no_limit() -> None:
    """Where writing costs nothing, as of an embedding model, there is a bound without a limit."""
    book = gp.PriceBook({"embed": {"input": "0.1", "output": 0}})
    assert book.worst("acme", "embed", gp.Request("x"), at=TODAY) == Decimal("0.0000081")


@pytest.mark.parametrize(
    ("extra", "output"),
    [
        ({"max_tokens": 50}, 50),
        ({"max_tokens": 5}, 10),
        ({"n": 3}, 30),
        ({"n": 2, "best_of": 4}, 40),
        ({"n": 0}, None),
        ({"n": "3"}, None),
        ({"max_completion_tokens": -1}, None),
        ({"max_completion_tokens": "many"}, None),
    ],
)
def test_limits_in_the_extra_count(extra: dict[str, Any], output: int | None) -> None:
    """The larger of several limits holds, times the answers asked for; what is no number, none."""
    request = gp.Request("x", max_output_tokens=10, extra=extra)
    assert _book().quote("acme", "acme-1", request, at=TODAY).output_tokens == output


def test_all_that_the_model_reads_is_bounded() -> None:
    """System text, messages, labels, schema and extra count by their bytes, with an allowance."""
    assert most_input_tokens(gp.Request("é" * 10)) == 64 + 16 + 20
    assert most_input_tokens(gp.Request("x" * 10, system="y" * 5)) == 64 + 16 + 15
    assert most_input_tokens(gp.Request("", labels=["yes", "no"])) == 80 + 1024 + 2 * 13
    assert most_input_tokens(gp.Request("", schema={"a": 1})) == 80 + 1024 + 2 * 8
    assert most_input_tokens(gp.Request("", extra={"a": 1})) == 80 + 1024 + 2 * 8


@pytest.mark.parametrize("text", ["\ufdfa", "\ud800", "\U0001f600"])
def test_text_that_grows_is_bounded(text: str) -> None:
    """A letter that normalising makes eighteen, and half a surrogate pair, count in full."""
    expected = {"\ufdfa": 33, "\ud800": 3, "\U0001f600": 4}[text]
    assert most_input_tokens(gp.Request(text)) == 80 + expected


@pytest.mark.extras
@settings(deadline=None)
@given(gps.requests())
def test_byte_level_tokens_never_exceed_the_bound(request: gp.Request) -> None:
    """The tokens of a byte-level vocabulary without any merge, the worst there is, are fewer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    texts = [message.text for message in request.messages] + [request.system or ""]
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    plain = sum(len(tokenizer.encode(text).ids) for text in clean)
    tokenizer.normalizer = normalizers.NFKC()
    normal = sum(len(tokenizer.encode(text).ids) for text in clean)
    most = most_input_tokens(request)
    assert most is not None
    assert max(plain, normal) <= most


def test_a_tokenizer_makes_bounds_tighter() -> None:
    """What the tokenizer of the book answers counts; `None` leaves the bytes."""
    book = gp.PriceBook(
        {"acme-1 acme-2": {"input": 2, "output": 10}},
        tokens=lambda model, request: len(request.prompt.split()) if model == "acme-1" else None,
    )
    request = gp.Request("three words here", max_output_tokens=10)
    assert book.quote("acme", "acme-1", request, at=TODAY).input_tokens == 3
    assert book.quote("acme", "acme-2", request, at=TODAY).input_tokens == 64 + 16 + 16


@pytest.mark.parametrize("answer", [-1, 2.5, "3"])
def test_a_tokenizer_that_answers_no_number_is_an_error(answer: Any) -> None:
    """A bound is not guessed from what is none."""
    book = gp.PriceBook({"acme-1": {"input": 2, "output": 1}}, tokens=lambda *_: answer)
    with pytest.raises(gp.ConfigurationError, match="tokens= answered"):
        _worst(book, LIMITED)


def test_the_worst_case_is_rounded_up() -> None:
    """A bound of a fraction of a nano-dollar is the next whole one."""
    book = gp.PriceBook({"a": {"input": "0.0000001", "output": 0}})
    assert book.worst("acme", "a", gp.Request("x"), at=TODAY) == Decimal("1e-9")


@settings(deadline=None)
@given(
    prices(ONE),
    gps.requests(),
    st.none() | services,
    st.data(),
)
def test_no_call_costs_more_than_its_worst_case(
    price: Price, request: gp.Request, service: str | None, data: st.DataObject
) -> None:
    """Whatever a call within its bounds used, it cost no more than the bound, in nano too."""
    book = gp.PriceBook([price])
    who = price.provider or "acme"
    quote = book.quote(who, "acme-1", request, at=TODAY, service=service)
    if quote.worst is None:
        assert quote.reason
        return
    assert quote.input_tokens is not None
    assert quote.output_tokens is not None
    read = data.draw(st.integers(0, quote.input_tokens))
    cached = data.draw(st.integers(0, read))
    wrote = quote.output_tokens if any(one.output for one in (price, *price.above.values())) else 0
    usage = gp.Usage(
        input_tokens=read,
        cached_tokens=cached,
        cache_write_tokens=data.draw(st.integers(0, read - cached)),
        output_tokens=data.draw(st.integers(0, wrote)),
    )
    cost = book.cost(who, "acme-1", usage, at=TODAY, service=service or service_of(request))
    assert cost is not None
    assert cost <= quote.worst
    assert to_nano(cost) <= to_nano(quote.worst)
    assert from_nano(to_nano(quote.worst)) == quote.worst


@settings(deadline=None)
@given(prices(ONE), tokens, tokens, tokens, tokens)
def test_more_tokens_never_lower_the_worst_case(
    price: Price, read: int, wrote: int, more_read: int, more_wrote: int
) -> None:
    """The bound grows with each of the tokens, whatever the rates of longer contexts are."""
    assert price.worst(read, wrote) <= price.worst(read + more_read, wrote + more_wrote)


@settings(deadline=None)
@given(st.lists(gps.usages(), min_size=1, max_size=5), rates)
def test_costs_add_up(usages: list[gp.Usage], priced: Rates) -> None:
    """The cost of a sum of usages is the sum of their costs, to the last digit."""
    total = sum(usages[1:], usages[0])
    assert priced.of(total) == sum(map(priced.of, usages))


@settings(deadline=None)
@given(gps.usages(), prices(ONE))
def test_the_callers_precision_does_not_matter(usage: gp.Usage, price: Price) -> None:
    """Costs are exact also where the program has set a coarse decimal context."""
    exact = price.cost(usage), price.worst(usage.input_tokens, usage.output_tokens)
    with decimal.localcontext(decimal.Context(prec=2)):
        assert (price.cost(usage), price.worst(usage.input_tokens, usage.output_tokens)) == exact


@settings(deadline=None)
@given(st.integers(0, 10**18))
def test_nano_dollars_are_exact(nano: int) -> None:
    """Whole nano-dollars come back from dollars as they were, whichever way one rounds."""
    dollars = from_nano(nano)
    assert to_nano(dollars) == to_nano(dollars, rounding=ROUND_FLOOR) == nano
    assert dollars * 10**9 == nano


def test_nano_dollars_round_up() -> None:
    """A hold is never below what it stands for; a cap is never above."""
    assert to_nano(Decimal("1e-10")) == 1
    assert to_nano(Decimal("1e-10"), rounding=ROUND_FLOOR) == 0
