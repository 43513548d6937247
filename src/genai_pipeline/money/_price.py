"""`Price`: what one model costs, from a day on or until one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least, check, day, optional, to_day
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Usage
from genai_pipeline.money._amounts import EXACT, Amount, to_amount

__all__ = ["STANDARD", "Price", "Rates"]

STANDARD = frozenset({"standard", "default", "auto", "standard_only"})
"""What providers call the service that costs what the price says."""

_MILLION = -6


def _to_input(value: Amount) -> Decimal:
    return to_amount(value, "Price", "input")


def _to_output(value: Amount) -> Decimal:
    return to_amount(value, "Price", "output")


def _to_cached_input(value: Amount | None) -> Decimal | None:
    return None if value is None else to_amount(value, "Price", "cached_input")


def _to_cache_write(value: Amount | None) -> Decimal | None:
    return None if value is None else to_amount(value, "Price", "cache_write")


@attrs.frozen(kw_only=True)
class Rates:
    """US dollars per million tokens."""

    input: Decimal = attrs.field(converter=_to_input)
    output: Decimal = attrs.field(converter=_to_output)
    """For all that the model writes, reasoning included."""

    cached_input: Decimal | None = attrs.field(default=None, converter=_to_cached_input)
    """For input read from the provider's cache; `None`: as other input."""

    cache_write: Decimal | None = attrs.field(default=None, converter=_to_cache_write)
    """For input put into the provider's cache; `None`: as other input."""

    def of(self, usage: Usage) -> Decimal:
        """Answer the dollars for *usage*."""
        cached, written = max(0, usage.cached_tokens), max(0, usage.cache_write_tokens)
        fresh = max(0, usage.input_tokens - cached - written)
        parts = (
            (fresh, self.input),
            (cached, self.input if self.cached_input is None else self.cached_input),
            (written, self.input if self.cache_write is None else self.cache_write),
            (max(0, usage.output_tokens), self.output),
        )
        total = Decimal(0)
        for tokens, rate in parts:
            if tokens:
                total = EXACT.fma(tokens, rate, total)
        return EXACT.scaleb(total, _MILLION)

    def most(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Answer the most that so many tokens can cost, whatever the cache does."""
        dearest = max(self.input, self.cached_input or 0, self.cache_write or 0)
        total = EXACT.fma(output_tokens, self.output, EXACT.multiply(input_tokens, dearest))
        return EXACT.scaleb(total, _MILLION)


def _name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and bool(value) and not any(map(str.isspace, value))
    fine = fine and "*" not in value[:-1]
    check(fine, owner, option.name, value, "a name, with a * at its end for all that begin so")


def _to_above(above: Mapping[int, Rates]) -> Mapping[int, Rates]:
    check(isinstance(above, Mapping), "Price", "above", above, "Rates by numbers of input tokens")
    for tokens, rates in above.items():
        fine = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0
        check(fine, "Price", "above", tokens, "numbers of input tokens, 1 or more")
        check(isinstance(rates, Rates), "Price", f"above[{tokens}]", rates, "Rates")
    return dict(sorted(above.items()))


def _to_factors(factors: Mapping[str, Amount]) -> Mapping[str, Decimal]:
    check(isinstance(factors, Mapping), "Price", "factors", factors, "numbers by service tier")
    for service in factors:
        check(isinstance(service, str), "Price", "factors", service, "names of service tiers")
        if service in STANDARD:
            raise ConfigurationError(
                f"Price: factors[{service!r}]; that is the price itself, give none"
            )
    return {
        service: to_amount(factor, "Price", f"factors[{service!r}]")
        for service, factor in sorted(factors.items())
    }


@attrs.frozen(kw_only=True)
class Price(Rates):
    """
    What a model costs, in US dollars per million tokens, while the price is valid.

    Amounts are text, whole numbers or `Decimal`; floats are refused. ``0`` is free of charge.
    """

    model: str = attrs.field(validator=_name)
    """Its name as calls give it; with ``*`` at the end, every model that begins so."""

    provider: str | None = attrs.field(default=None, validator=optional(_options.text))
    """The provider's name as in events; `None`: whichever offers the model."""

    since: date | None = attrs.field(default=None, converter=to_day, validator=optional(day))
    """The first day on which it is valid, UTC; `None`: always was."""

    until: date | None = attrs.field(default=None, converter=to_day, validator=optional(day))
    """The day on which it ends to be valid, UTC; `None`: no end is known."""

    above: Mapping[int, Rates] = attrs.field(factory=dict, converter=_to_above)
    """
    Rates for the whole of a call that reads more than so many input tokens.

    Cached ones count too.
    """

    factors: Mapping[str, Decimal] = attrs.field(factory=dict, converter=_to_factors)
    """What the rates are multiplied with for other service tiers: ``{"batch": "0.5"}``."""

    max_output_tokens: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    """The most that the model writes in one answer; lets calls without a limit have a bound."""

    checked: date | None = attrs.field(default=None, converter=to_day, validator=optional(day))
    """When somebody last compared it with what the provider publishes."""

    source: str | None = attrs.field(default=None, validator=optional(_options.text))
    """Where it is from."""

    def __attrs_post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ConfigurationError(
                f"Price: {self.model!r} is valid since={self.since} until={self.until}; "
                "give days in that order"
            )

    def valid(self, day: date) -> bool:
        """Tell whether it is the price on *day*."""
        begun = self.since is None or self.since <= day
        return begun and (self.until is None or day < self.until)

    def factor(self, service: str) -> Decimal | None:
        """Answer what the rates are multiplied with for *service*; `None` if that is not known."""
        return Decimal(1) if service in STANDARD else self.factors.get(service)

    def cost(self, usage: Usage) -> Decimal:
        """Answer what *usage* costs at the standard service."""
        rates: Rates = self
        read = max(usage.input_tokens, usage.cached_tokens + usage.cache_write_tokens)
        for tokens, others in self.above.items():
            if read > tokens:
                rates = others
        return Rates.of(rates, usage)

    def worst(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Answer the most that a call of up to so many tokens costs at the standard service."""
        reached: list[tuple[int, Rates]] = [(-1, self)]
        reached += [
            (tokens, rates) for tokens, rates in self.above.items() if tokens < input_tokens
        ]
        ends = [tokens for tokens, _ in reached[1:]] + [input_tokens]
        return max(
            rates.most(end, output_tokens) for (_, rates), end in zip(reached, ends, strict=True)
        )
