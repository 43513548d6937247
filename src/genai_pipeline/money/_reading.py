"""Prices as plain data: the form of a price book in mappings and in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.money._price import Price, Rates

__all__ = ["PriceData", "dump", "load", "to_prices"]

PriceData: TypeAlias = "Mapping[str, Any] | Iterable[Price]"
"""
Prices by the names of models, or `Price` objects.

One price is a mapping of the fields of `Price`; several of one model, a list of them.
"""

_RATES = {field.name for field in attrs.fields(Rates)}
_FIELDS = {field.name for field in attrs.fields(Price)} - {"model"}


def to_prices(data: PriceData) -> tuple[Price, ...]:
    """Answer the prices in *data*."""
    if isinstance(data, Mapping):
        return tuple(price for names, entries in data.items() for price in _named(names, entries))
    check(
        isinstance(data, Iterable) and not isinstance(data, str | bytes),
        "PriceBook",
        "prices",
        data,
        "a mapping of models to prices, or several Price",
    )
    prices = tuple(data)
    for index, price in enumerate(prices):
        if not isinstance(price, Price):
            raise ConfigurationError(
                f"PriceBook: price {index} is a {type(price).__qualname__}; give a Price"
            )
    return prices


def load(text: str | bytes) -> tuple[Price, ...]:
    """Answer the prices in JSON; its numbers are read exactly."""
    try:
        data = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ConfigurationError(f"PriceBook: the prices are no JSON: {error}") from error
    check(isinstance(data, dict), "PriceBook", "prices", data, "a JSON object of models")
    return to_prices(data)


def dump(prices: Iterable[Price]) -> str:
    """Answer *prices* as JSON that `load` reads back."""
    data: dict[str, list[dict[str, Any]]] = {}
    for price in prices:
        data.setdefault(price.model, []).append(_plain(price))
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _named(names: Any, entries: Any) -> Iterator[Price]:
    fine = isinstance(names, str) and bool(names.split())
    check(fine, "PriceBook", "prices", names, "names of models")
    for entry in entries if isinstance(entries, list | tuple) else [entries]:
        for name in names.split():
            yield _price(name, entry)


def _price(name: str, entry: Any) -> Price:
    fields = _checked(name, entry, _FIELDS)
    above = fields.get("above", {})
    if isinstance(above, Mapping):
        fields["above"] = {
            _count(name, tokens): _rates(f"{name}, above {tokens}", rates)
            for tokens, rates in above.items()
        }
    try:
        return Price(model=name, **fields)
    except ConfigurationError as error:
        raise ConfigurationError(f"PriceBook: {name!r}: {error}") from error


def _rates(name: str, entry: Any) -> Rates:
    try:
        return Rates(**_checked(name, entry, _RATES))
    except ConfigurationError as error:
        raise ConfigurationError(f"PriceBook: {name!r}: {error}") from error


def _checked(name: str, entry: Any, known: set[str]) -> dict[str, Any]:
    check(isinstance(entry, Mapping), "PriceBook", f"prices[{name!r}]", entry, "a mapping")
    unknown = sorted(entry.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"PriceBook: {name!r} has {unknown[0]!r}; known are {', '.join(sorted(known))}"
        )
    missing = sorted({"input", "output"} - entry.keys())
    if missing:
        raise ConfigurationError(
            f"PriceBook: {name!r} lacks {missing[0]!r}; give dollars per million tokens, 0 if free"
        )
    return dict(entry)


def _count(name: str, tokens: Any) -> Any:
    if isinstance(tokens, str) and tokens.isascii() and tokens.isdigit():
        return int(tokens)  # a key of a JSON object is a text
    fine = isinstance(tokens, int)
    check(fine, "PriceBook", f"prices[{name!r}]: above", tokens, "numbers of input tokens")
    return tokens


def _plain(thing: Price | Rates) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field in attrs.fields(type(thing)):
        value = getattr(thing, field.name)
        if field.name == "model" or value is None or value == {}:
            continue
        if field.name == "above":
            value = {str(tokens): _plain(rates) for tokens, rates in value.items()}
        elif field.name == "factors":
            value = {service: str(factor) for service, factor in value.items()}
        elif not isinstance(value, int):
            value = str(value)
        plain[field.name] = value
    return plain
