"""The most tokens a request can use: bounds, where policies have estimates."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

from genai_pipeline._part_forms import texts_of
from genai_pipeline.embeddings import EmbeddingRequest
from genai_pipeline.messages import Request
from genai_pipeline.parts import Audio, File, Image, Part

__all__ = ["AnyRequest", "most_answers", "most_input_tokens", "most_output_tokens", "service_of"]

AnyRequest: TypeAlias = Request | EmbeddingRequest

_A_REQUEST = 64
_A_MESSAGE = 16
_A_STRUCTURE = 1024
_AN_IMAGE = 16_384
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
_ANSWERS = ("n", "best_of", "candidateCount")
_SERVICES = ("service_tier", "serviceTier")


def most_input_tokens(request: AnyRequest) -> int | None:
    """
    Answer a number of tokens that *request* does not exceed; `None` when that cannot be told.

    Tokens of byte-level vocabularies, which all large models have, are a byte or longer; text
    that normalising (NFKC) makes longer counts at that length. What the provider puts around it
    is allowed for: 64 tokens a request, 16 a message or part, and, for ``labels``, ``schema``,
    ``tools`` and ``extra``, twice their JSON and 1,024 more. An image counts as 16,384, more than
    any API charges for one; audio and files at hand count as their bytes, others are unknown.
    """
    if isinstance(request, EmbeddingRequest):
        told = _A_STRUCTURE + 2 * len(json.dumps(request.extra)) if request.extra else 0
        return _A_REQUEST + told + sum(_A_MESSAGE + _bytes(text) for text in request.texts)
    total = _A_REQUEST + (0 if request.system is None else _bytes(request.system))
    for message in request.messages:
        if isinstance(message.content, str):
            total += _A_MESSAGE + _bytes(message.content)
            continue
        for part in message.content:
            most = _most_of(part)
            if most is None:
                return None
            total += _A_MESSAGE + most
    tools = [tool.plain() for tool in request.tools]
    for structure in (request.labels, request.schema, request.extra, tools):
        if structure:
            total += _A_STRUCTURE + 2 * len(json.dumps(structure))
    return total


def most_output_tokens(request: AnyRequest, known: int | None = None) -> int | None:
    """
    Answer the most that one answer to *request* may have, reasoning included.

    That is its limit, also when ``extra`` holds it; without one, what is *known* of the model.
    Nothing is written to a request to embed.
    """
    if isinstance(request, EmbeddingRequest):
        return 0
    if not request.extra:  # as of nearly every request
        return known if request.max_output_tokens is None else request.max_output_tokens
    limits: list[Any] = [request.extra[name] for name in _LIMITS if name in request.extra]
    if request.max_output_tokens is not None:
        limits.append(request.max_output_tokens)
    if not limits or not all(_is_count(limit) for limit in limits):
        return known
    return int(max(limits))


def most_answers(request: AnyRequest) -> int | None:
    """Answer how many answers *request* asks for; `None` when that cannot be told."""
    if not request.extra or isinstance(request, EmbeddingRequest):
        return 1
    asked = [request.extra[name] for name in _ANSWERS if name in request.extra]
    return int(max(asked, default=1)) if all(_is_count(count) for count in asked) else None


def service_of(request: AnyRequest) -> str:
    """Answer the service tier that ``extra`` asks for; ``standard`` when it names none."""
    for name in _SERVICES if request.extra else ():
        asked = request.extra.get(name)
        if isinstance(asked, Mapping):
            asked = asked.get("type")
        if isinstance(asked, str) and asked:
            return asked.lower()
    return "standard"


def _most_of(part: Part) -> int | None:
    if isinstance(part, Image):
        return _AN_IMAGE
    if isinstance(part, Audio | File):
        return None if part.data is None else len(part.data)
    return sum(_bytes(text) for text in texts_of(part))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    plain = len(text.encode("utf-8", "surrogatepass"))
    normal = unicodedata.normalize("NFKC", text)
    return max(plain, len(normal.encode("utf-8", "surrogatepass")))
