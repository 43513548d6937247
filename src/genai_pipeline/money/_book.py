"""`PriceBook`: what calls cost, and the most that they can cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import cache, lru_cache
from typing import Any, Self, TypeAlias

import attrs

from genai_pipeline._options import apply, at_least, check, optional, token_counter
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request, Usage
from genai_pipeline.money._amounts import EXACT, Moment, day_of
from genai_pipeline.money._bounds import (
    AnyRequest,
    most_answers,
    most_input_tokens,
    most_output_tokens,
    service_of,
)
from genai_pipeline.money._price import Price
from genai_pipeline.money._reading import PriceData, dump, load, to_prices
from genai_pipeline.tokens import TokenEstimator
from genai_pipeline.types import TokenCounter

__all__ = ["PriceBook", "Quote", "TokenBound"]

TokenBound: TypeAlias = Callable[[str, Request], int | None]
"""
Answers the most input tokens a request to the named model can have; `None`: count its bytes.

Called once for each call of a hard budget, so it should be quick.
"""

_LOCAL = Price(model="*", provider="local", input=0, output=0)
_REMEMBERED = 1000
_NANO_DOLLAR = Decimal("1e-9")


@attrs.frozen(kw_only=True)
class Quote:
    """The most that a call can cost, or why that is not known."""

    worst: Decimal | None = None
    """US dollars, rounded up to the nano-dollar; `None` when there is no bound, never zero then."""

    reason: str = ""
    """Why there is no bound, and what to give for there to be one; else empty."""

    input_tokens: int | None = None
    """The most tokens that the model reads."""

    output_tokens: int | None = None
    """The most that it writes, in all answers together."""

    price: Price | None = None
    """By which price it is counted."""


def _callable(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(callable(value), owner, option.name, value, "a function of (model, request)")


@attrs.frozen
class PriceBook:
    """
    What models cost, by name and date; answers what a call did cost, and the most it can cost.

    *prices* are `Price` objects, or a mapping of names to mappings of `Price` fields, in US
    dollars per million tokens::

        gp.PriceBook({"acme-large": {"input": "2.50", "cached_input": "0.25", "output": "10"}})

    A key may hold several names, separated by spaces, and its value may be a list, for several
    dates or providers. Of the prices valid on the day of a call, one that names the provider
    comes before one that names none, then the exact name before a prefix (``acme-*``), a longer
    prefix before a shorter, and the later *since* before an earlier. What has no price is
    unknown, which is `None` everywhere and never zero. The embedded model of `providers.Local`
    is free.

    Immutable; nothing is read or fetched. `reference` answers a small table to begin with.
    """

    prices: tuple[Price, ...] = attrs.field(default=(), converter=to_prices)

    tokens: TokenBound | None = attrs.field(
        default=None, kw_only=True, validator=optional(_callable)
    )
    """
    A tokenizer's own bound of a request's input, for tighter bounds than its bytes.

    Also for what bytes do not show: files and earlier answers that ``extra`` refers to. It is
    trusted: where it answers too little, a budget's cap may not hold.
    """

    _named: dict[tuple[str | None, str], list[Price]] = attrs.field(
        init=False, repr=False, eq=False
    )
    _prefixes: dict[str | None, list[str]] = attrs.field(init=False, repr=False, eq=False)
    _found: dict[tuple[str, str, date], Price | None] = attrs.field(
        init=False, repr=False, eq=False, factory=dict
    )

    def __attrs_post_init__(self) -> None:
        named: dict[tuple[str | None, str], list[Price]] = {}
        for price in self.prices:
            named.setdefault((price.provider, price.model), []).append(price)
        named.setdefault((_LOCAL.provider, _LOCAL.model), [_LOCAL])
        prefixes: dict[str | None, list[str]] = {}
        for (provider, model), prices in named.items():
            prices.sort(key=lambda price: price.since or date.min, reverse=True)
            _refuse_twice(prices)
            if model.endswith("*"):
                prefixes.setdefault(provider, []).append(model)
        for names in prefixes.values():
            names.sort(key=len, reverse=True)
        object.__setattr__(self, "_named", named)
        object.__setattr__(self, "_prefixes", prefixes)

    @classmethod
    def from_json(cls, text: str | bytes, *, tokens: TokenBound | None = None) -> Self:
        """
        Answer the book that a JSON text holds, in the form of the mapping.

        Numbers are read exactly, so ``0.25`` is as good as ``"0.25"``. Raises
        `ConfigurationError` that names the model and what is wrong.
        """
        return cls(load(text), tokens=tokens)

    def to_json(self) -> str:
        """Answer the prices as JSON that `from_json` reads back."""
        return dump(self.prices)

    @classmethod
    def reference(cls) -> PriceBook:
        """
        Answer the list prices of some well-known models, as public sources gave them.

        A place to begin, not a promise: each entry has the date it was *checked* and its
        *source*, prices change without notice, and regions, contracts and resellers have their
        own. Compare them with your provider's page and override them (`with_prices`) before a
        budget relies on them. Cache writes are priced at the shortest lifetime.
        """
        return _reference()

    def with_prices(self, prices: PriceData) -> Self:
        """
        Answer a book in which *prices* replace what this one says of the same names.

        All dates of a name are replaced. A price that names no provider replaces those of every
        provider; one that does, only that provider's.
        """
        added = to_prices(prices)
        names = {(price.provider, price.model) for price in added}
        kept = [
            price
            for price in self.prices
            if (None, price.model) not in names and (price.provider, price.model) not in names
        ]
        return attrs.evolve(self, prices=(*kept, *added))

    def price(self, provider: str, model: str, *, at: Moment) -> Price | None:
        """Answer the price of *model* on the day of *at*; `None` when none is known."""
        asked = (provider, model, day_of(at))
        if asked not in self._found:
            found = self._find(*asked)
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[asked] = found
            return found
        return self._found[asked]

    def cost(
        self, provider: str, model: str, usage: Usage, *, at: Moment, service: str = "standard"
    ) -> Decimal | None:
        """
        Answer what a call cost, in US dollars, exactly; `None` when that is not known.

        What the provider told (``Usage.cost``) counts before the book. *at* is when the call
        began; *service* the service tier that it ran in, ``batch`` for one.
        """
        told = usage.cost
        if told is not None and told.is_finite() and told >= 0:
            return told
        price = self.price(provider, model, at=at)
        factor = None if price is None else price.factor(service)
        if price is None or factor is None:
            return None
        return EXACT.multiply(price.cost(usage), factor)

    def expected(
        self,
        provider: str,
        model: str,
        request: AnyRequest,
        *,
        at: Moment,
        output_tokens: int,
        counter: TokenCounter | None = None,
        service: str | None = None,
    ) -> Decimal | None:
        """
        Answer what a call is likely to cost, if it writes *output_tokens*; `None` if not known.

        Input counts as *counter* has it, by default a new `TokenEstimator`, and as if nothing of
        it was cached; output goes no further than the request's limit. Never more than `worst`,
        which is the bound that a `Budget` holds: this is none.
        """
        apply(at_least(0), "PriceBook.expected", "output_tokens", output_tokens)
        apply(optional(token_counter), "PriceBook.expected", "counter", counter)
        price, answers = self.price(provider, model, at=at), most_answers(request)
        if price is None or answers is None:
            return None
        reads = (counter or TokenEstimator()).count(request, model=model)
        most = self._input_tokens(model, request)
        limit = most_output_tokens(request, price.max_output_tokens)
        usage = Usage(
            input_tokens=reads if most is None else min(reads, most),
            output_tokens=answers * (output_tokens if limit is None else min(output_tokens, limit)),
        )
        service = service_of(request) if service is None else service
        return self.cost(provider, model, usage, at=at, service=service)

    def worst(
        self,
        provider: str,
        model: str,
        request: AnyRequest,
        *,
        at: Moment,
        service: str | None = None,
    ) -> Decimal | None:
        """Answer the most that a call can cost; `None` when there is no bound: `quote` says why."""
        return self.quote(provider, model, request, at=at, service=service).worst

    def quote(
        self,
        provider: str,
        model: str,
        request: AnyRequest,
        *,
        at: Moment,
        service: str | None = None,
    ) -> Quote:
        """
        Answer the most that a call can cost, with what it is counted from.

        Input counts by its bytes, which tokens cannot exceed (see `tokens`), at the dearest of
        the plain, cached and cache-write rates and of the context lengths within reach; output
        at the request's limit, for each answer asked for. A request without a limit has a bound
        only if the book knows the most that the model writes, or if writing is free. *service*
        is what ``extra`` asks for, if it is not given.

        It holds if the price does, the provider keeps to the limit, and nothing else is billed:
        searches, tools that run at the provider, files, or earlier answers that it stores.
        """
        price = self.price(provider, model, at=at)
        if price is None:
            return Quote(reason=_no_price(provider, model, day_of(at)))
        service = service_of(request) if service is None else service
        factor = price.factor(service)
        if factor is None:
            return Quote(price=price, reason=_no_factor(price, service))
        answers = most_answers(request)
        limit = most_output_tokens(request, price.max_output_tokens)
        if _writes_free(price):
            answers, limit = answers or 1, limit or 0
        if answers is None or limit is None:
            return Quote(price=price, reason=_no_limit(model))
        reads, writes = self._input_tokens(model, request), answers * limit
        if reads is None:
            return Quote(price=price, reason=_no_size(model))
        worst = EXACT.multiply(price.worst(reads, writes), factor)
        worst = worst.quantize(_NANO_DOLLAR, rounding=ROUND_CEILING, context=EXACT)
        return Quote(worst=worst, input_tokens=reads, output_tokens=writes, price=price)

    def _find(self, provider: str, model: str, day: date) -> Price | None:
        listed = itertools.chain.from_iterable(self._candidates(provider, model))
        return next((price for price in listed if price.valid(day)), None)

    def _candidates(self, provider: str, model: str) -> Iterator[Iterable[Price]]:
        for who in (provider, None):
            yield self._named.get((who, model), ())
            for name in self._prefixes.get(who, ()):
                if model.startswith(name[:-1]):
                    yield self._named[who, name]

    def _input_tokens(self, model: str, request: AnyRequest) -> int | None:
        counted = None
        if self.tokens is not None and isinstance(request, Request):
            counted = self.tokens(model, request)
        if counted is None:
            return most_input_tokens(request)
        if not isinstance(counted, int) or counted < 0:
            raise ConfigurationError(
                f"PriceBook: tokens= answered {counted!r} for {model!r}; "
                "let it answer a whole number, 0 or more, or None"
            )
        return counted


def _refuse_twice(prices: list[Price]) -> None:
    for later, earlier in itertools.pairwise(prices):
        if later.since == earlier.since:
            since = "without since=" if later.since is None else f"with since={later.since}"
            raise ConfigurationError(
                f"PriceBook: {later.model!r} has two prices {since}; give one, or days that differ"
            )


def _writes_free(price: Price) -> bool:
    return not any(rates.output for rates in (price, *price.above.values()))


@lru_cache(maxsize=100)
def _no_price(provider: str, model: str, day: date) -> str:
    return (
        f"no price is known for {model!r} of {provider!r} on {day}; give one: "
        f"book.with_prices({{{model!r}: {{'input': ..., 'output': ...}}}})"
    )


def _no_factor(price: Price, service: str) -> str:
    return (
        f"the price of {price.model!r} has no factor for the service tier {service!r}; "
        f"give one: factors={{{service!r}: ...}}"
    )


def _no_limit(model: str) -> str:
    return (
        f"the request to {model!r} has no limit of output; give max_output_tokens= in the "
        "Request, or in the model's price"
    )


def _no_size(model: str) -> str:
    return (
        f"the request to {model!r} names a file or a recording by its address, and how much it "
        "is to read is not known; give it as data=, or PriceBook(tokens=...)"
    )


@cache
def _reference() -> PriceBook:
    from importlib.resources import files  # noqa: PLC0415 - slow to import

    data = files("genai_pipeline.money").joinpath("reference_prices.json")
    return PriceBook.from_json(data.read_text("utf-8"))
