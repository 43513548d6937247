"""What goes to a model that embeds texts and what comes back, for every provider alike."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._options import at_least, check, one_of, optional
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Usage

__all__ = ["Embedded", "EmbeddingRequest", "EmbeddingResponse", "EmbeddingTask", "Vector"]

A = TypeVar("A")

EmbeddingTask: TypeAlias = Literal[
    "query",
    "document",
    "similarity",
    "classification",
    "clustering",
    "question_answering",
    "fact_verification",
    "code_query",
]
"""
What vectors are for, where a model makes them differently: to search with (a *query*, or one for
answers, facts or code), to be found (a *document*), to be compared, filed or grouped.
"""

_TASKS = (
    *("query", "document", "similarity", "classification", "clustering"),
    *("question_answering", "fact_verification", "code_query"),
)

Vector: TypeAlias = Sequence[float]
"""
One vector, of numbers of single precision (an `array.array` of the type ``f``).

That takes 4 bytes a number where a list takes 32; ``numpy.asarray`` reads it without copying, and
``list(vector)`` makes a list of it.
"""


def _to_texts(texts: str | Iterable[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        return (texts,)
    fine = isinstance(texts, Iterable) and not isinstance(texts, bytes)
    check(fine, "EmbeddingRequest", "texts", texts, "a text, or several")
    chosen = tuple(texts)
    for index, text in enumerate(chosen):
        if not isinstance(text, str):
            raise ConfigurationError(
                f"EmbeddingRequest: text {index} is a {type(text).__qualname__}; give texts"
            )
    if not chosen:
        raise ConfigurationError("EmbeddingRequest: no texts; a request needs at least one")
    return chosen


def _to_extra(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    check(isinstance(extra, Mapping), "EmbeddingRequest", "extra", extra, "a mapping")
    copy: Mapping[str, Any] = json_copy(extra, where="EmbeddingRequest: extra")
    return copy


def _to_vectors(vectors: Iterable[Iterable[float]]) -> tuple[Vector, ...]:
    return tuple(
        vector if isinstance(vector, array) and vector.typecode == "f" else array("f", vector)
        for vector in vectors
    )


@attrs.frozen
class EmbeddingRequest:
    """
    What to embed, independent of the model: *texts* is a text, or several.

    Mutable arguments are copied; do not change what the fields hold.
    """

    texts: tuple[str, ...] = attrs.field(converter=_to_texts)

    dimensions: int | None = attrs.field(
        default=None, kw_only=True, validator=optional(at_least(1))
    )
    """How many numbers a vector shall have; `None` leaves it to the model."""

    task: EmbeddingTask | None = attrs.field(
        default=None, kw_only=True, validator=optional(one_of(*_TASKS))
    )
    """What the vectors are for; a provider that makes no difference refuses it."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True, converter=_to_extra)
    """Parameters only this provider knows, passed through as they are."""

    def fingerprint(self) -> str:
        """
        Answer 32 hexadecimal digits that stand for the whole request, every parameter included.

        Like those of `Request`, they are the same in every process and every version, and never
        those of a request to generate.
        """
        given: dict[str, Any] = {"texts": list(self.texts)}
        if self.dimensions is not None:
            given["dimensions"] = self.dimensions
        if self.task is not None:
            given["task"] = self.task
        if self.extra:
            given["extra"] = self.extra
        return digest(json_copy(given, where="EmbeddingRequest"))


@attrs.frozen
class EmbeddingResponse:
    """What a model made of an `EmbeddingRequest`: a vector for each text, in its order."""

    vectors: tuple[Vector, ...] = attrs.field(converter=_to_vectors, repr=False)

    usage: Usage = attrs.field(factory=Usage, kw_only=True)
    model: str = attrs.field(default="", kw_only=True)
    """The model that really served the call, as the provider named it."""

    request_id: str | None = attrs.field(default=None, kw_only=True)
    """The provider's own name for the call, to quote to its support."""

    attributes: Mapping[str, Any] = attrs.field(factory=dict, kw_only=True)
    """What else the provider told: rate-limit headers …"""


@attrs.frozen
class Embedded(Generic[A]):
    """A value, and the vector of its text."""

    value: A
    vector: Vector = attrs.field(repr=False)
