"""`ModelInfo`: what is known of one model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Protocol, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._options import at_least, check, day, optional, to_day

__all__ = ["FEATURES", "INPUTS", "OUTPUTS", "ModelInfo"]

FEATURES = (
    "logprobs",
    "prompt_caching",
    "reasoning",
    "seed",
    "streaming",
    "structured_output",
    "temperature",
    "tools",
)
"""What a model, as its API has it, may be able to do."""

INPUTS = ("text", "image", "audio", "video", "file")
OUTPUTS = ("text", "image", "audio", "video", "embedding")

P_co = TypeVar("P_co", covariant=True)


class Prices(Protocol[P_co]):
    """As much of a `PriceBook` as is asked here."""

    def price(self, provider: str, model: str, *, at: Any) -> P_co | None:
        """Answer the price of *model* on the day of *at*; `None` when none is known."""
        ...


def _name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    check(_is_name(value), owner, option.name, value, "a name without spaces and without *")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "*" not in value and not _spaced(value)


def _spaced(text: str) -> bool:
    return any(map(str.isspace, text))


def _names(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, tuple) and all(map(_is_name, value))
    check(fine, owner, option.name, value, "several names without spaces and without *")


def _to_tuple(value: Iterable[str]) -> Any:
    return value if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)


def _kinds(*known: str) -> _options.Validator:
    allowed = "several of " + ", ".join(map(repr, known))

    def validate(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
        fine = isinstance(value, tuple) and bool(value) and all(one in known for one in value)
        check(fine, owner, option.name, value, allowed)

    return validate


def _to_features(value: Mapping[str, bool]) -> Any:
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value


def _features(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    allowed = f"True or False for any of {', '.join(FEATURES)}"
    fine = isinstance(value, dict) and all(isinstance(has, bool) for has in value.values())
    check(fine and set(value) <= set(FEATURES), owner, option.name, value, allowed)


_COUNT = optional(at_least(1))


@attrs.frozen(kw_only=True)
class ModelInfo:
    """
    What is known of a model, as its maker's documentation told it on a day.

    A field that is `None`, and a feature that is not named, is unknown: nothing is guessed.
    """

    model: str = attrs.field(validator=_name)
    """Its name, as its maker's own API knows it."""

    provider: str | None = attrs.field(default=None, validator=optional(_options.text))
    """
    Who makes it: ``openai``, ``anthropic``, ``google``, ``amazon``, ``cohere``.

    `None`: whoever is asked for.
    """

    aliases: tuple[str, ...] = attrs.field(default=(), converter=_to_tuple, validator=_names)
    """
    Other names of it.

    Dated snapshots and the names that Bedrock and Vertex AI give need not be told: see
    `ModelCatalogue.find`.
    """

    context_window: int | None = attrs.field(default=None, validator=_COUNT)
    """The most tokens that it reads and writes together; where it can be had, the larger one."""

    max_input_tokens: int | None = attrs.field(default=None, validator=_COUNT)
    """The most tokens that it reads, where that is told apart; of one text, if it embeds."""

    max_output_tokens: int | None = attrs.field(default=None, validator=_COUNT)
    """The most tokens that it writes in one answer, reasoning included."""

    dimensions: int | None = attrs.field(default=None, validator=_COUNT)
    """How long its vectors are unless less is asked for, if it embeds."""

    input_modalities: tuple[str, ...] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(_to_tuple),
        validator=optional(_kinds(*INPUTS)),
    )
    """What it reads, of ``text``, ``image``, ``audio``, ``video`` and ``file`` (such as PDF)."""

    output_modalities: tuple[str, ...] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(_to_tuple),
        validator=optional(_kinds(*OUTPUTS)),
    )
    """What it makes, of ``text``, ``image``, ``audio``, ``video`` and ``embedding``."""

    features: Mapping[str, bool] = attrs.field(
        factory=dict, converter=_to_features, validator=_features
    )
    """
    What it can, and what it cannot: see `supports`.

    Of ``tools``, ``structured_output``, ``reasoning``, ``streaming``, ``prompt_caching``,
    ``temperature``, ``seed`` and ``logprobs``.
    """

    tokenizer: str | None = attrs.field(default=None, validator=optional(_options.text))
    """What cuts its text into tokens, where that is public: ``o200k_base``."""

    deprecated: bool | None = attrs.field(default=None, validator=optional(_options.flag))
    """Whether its maker advises against it, or has announced its end."""

    retires: date | None = attrs.field(default=None, converter=to_day, validator=optional(day))
    """The day on which its maker turns it off, once that is announced."""

    as_of: date | None = attrs.field(default=None, converter=to_day, validator=optional(day))
    """As of which day the *source* said so."""

    source: str | None = attrs.field(default=None, validator=optional(_options.text))
    """Where it is from."""

    note: str | None = attrs.field(default=None, validator=optional(_options.text))
    """What else there is to say of it."""

    @property
    def most_read(self) -> int | None:
        """The most tokens that a prompt can have; `None` when that is not known."""
        limits = [self.max_input_tokens, self.context_window]
        return min((limit for limit in limits if limit is not None), default=None)

    def supports(self, feature: str) -> bool | None:
        """Tell whether it has *feature*; `None` when that is not known."""
        allowed = f"one of {', '.join(FEATURES)}"
        check(feature in FEATURES, self, "feature", feature, allowed)
        return self.features.get(feature)

    def price(self, book: Prices[P_co], *, at: Any) -> P_co | None:
        """Answer what it costs on the day of *at* by *book*, a `PriceBook`; `None` if unknown."""
        return book.price(self.provider or "", self.model, at=at)
