"""The command ``models``: what is known of models, and what they cost."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import attrs

from genai_pipeline.catalogue import ModelCatalogue, ModelInfo
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._journal_file import perform
from genai_pipeline.cli._table import print_json, print_table
from genai_pipeline.clock import SystemClock
from genai_pipeline.money import Price, PriceBook
from genai_pipeline.telemetry import _figures as figures

__all__ = ["models"]

_HEADER = ("MODEL", "CONTEXT", "OUTPUT", "MODALITIES", "$ IN", "$ OUT", "AS OF", "NOTE")
_RIGHT = (1, 2, 4, 5)


def models(options: argparse.Namespace) -> int:
    """Print the models that were asked for; answer 1 when there is none."""
    return perform(_models, options)


async def _models(options: argparse.Namespace) -> int:
    catalogue = ModelCatalogue.reference()
    if options.catalogue is not None:
        catalogue = catalogue.with_file(options.catalogue)
    found = _found(catalogue, options.pattern, options.provider)
    book, now = PriceBook.reference(), SystemClock().wall()
    priced = [(info, info.price(book, at=now)) for info in found]
    if options.json:
        print_json({"models": [_plain(info, price) for info, price in priced]})
    elif priced:
        print_table(_HEADER, [_row(info, price) for info, price in priced], right=_RIGHT)
    if not priced:
        print("no such model is known; --catalogue FILE adds models", file=sys.stderr)
    return Exit.DONE if priced else Exit.FAILED


def _found(
    catalogue: ModelCatalogue, pattern: str | None, provider: str | None
) -> Sequence[ModelInfo]:
    listed = [info for info in catalogue if provider in (None, info.provider)]
    if pattern is None:
        return listed
    matching = [info for info in listed if _matches(pattern.lower(), info)]
    if matching:
        return matching
    spelled = catalogue.find(pattern, provider=provider)
    return [] if spelled is None else [spelled]


def _matches(pattern: str, info: ModelInfo) -> bool:
    names = [name.lower() for name in (info.model, *info.aliases)]
    if any(sign in pattern for sign in "*?["):
        return any(fnmatchcase(name, pattern) for name in names)
    return any(pattern in name for name in names)


def _row(info: ModelInfo, price: Price | None) -> list[str]:
    return [
        info.model,
        _count(info.context_window or info.max_input_tokens),
        _count(info.max_output_tokens),
        _modalities(info),
        "-" if price is None else _dollars(price.input),
        "-" if price is None else _dollars(price.output),
        "-" if info.as_of is None else info.as_of.isoformat(),
        "; ".join(_notes(info)),
    ]


def _count(number: int | None) -> str:
    return "-" if number is None else figures.count(number)


def _dollars(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _modalities(info: ModelInfo) -> str:
    reads, makes = info.input_modalities, info.output_modalities
    return (
        f"{'-' if reads is None else ' '.join(reads)} > {'-' if makes is None else ' '.join(makes)}"
    )


def _notes(info: ModelInfo) -> Iterator[str]:
    if info.retires is not None:
        yield f"until {info.retires}"
    elif info.deprecated:
        yield "deprecated"
    if info.dimensions is not None:
        yield f"{figures.count(info.dimensions)} dimensions"
    if info.note is not None:
        yield info.note


def _plain(info: ModelInfo, price: Price | None) -> dict[str, Any]:
    plain: dict[str, Any] = attrs.asdict(info)
    for name in ("retires", "as_of"):
        plain[name] = None if plain[name] is None else plain[name].isoformat()
    cost = None
    if price is not None:
        cost = {"input": _dollars(price.input), "output": _dollars(price.output)}
        cost["checked"] = str(price.checked)
    return {**plain, "usd_per_million_tokens": cost}
