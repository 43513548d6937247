"""How many tokens all is that a request gives a model to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from genai_pipeline._options import check
from genai_pipeline._part_forms import texts_of
from genai_pipeline.embeddings import EmbeddingRequest
from genai_pipeline.messages import Request
from genai_pipeline.parts import Audio, File, Image, Part
from genai_pipeline.tokens._media import audio_tokens, file_tokens, image_tokens

__all__ = ["Countable", "total_of"]

Countable: TypeAlias = str | Request | EmbeddingRequest
"""What has tokens: a text, or a request to generate or to embed."""

_A_REQUEST = 3
_A_MESSAGE = 3


def total_of(content: Countable, of_text: Callable[[str], int], *, token: int = 1) -> int:
    """
    Answer the sum of *of_text* over all that a model reads of *content*, in parts of a *token*.

    A request has 3 tokens around it, and 3 around each message, as OpenAI's models have; tools
    and schemas count as their JSON.
    """
    if isinstance(content, str):
        return of_text(content)
    if isinstance(content, EmbeddingRequest):
        return sum(map(of_text, content.texts))
    fine = isinstance(content, Request)
    check(fine, "count", "content", content, "a text, a Request or an EmbeddingRequest")
    total = _A_REQUEST * token
    if content.system is not None:
        total += _A_MESSAGE * token + of_text(content.system)
    for message in content.messages:
        said = message.content
        total += _A_MESSAGE * token
        if isinstance(said, str):
            total += of_text(said)
        else:
            total += sum(_part(part, of_text, token) for part in said)
    return total + sum(of_text(_json(each)) for each in _structures(content))


def _structures(request: Request) -> list[Any]:
    structures: list[Any] = [tool.plain() for tool in request.tools]
    structures += [each for each in (request.schema, request.labels) if each is not None]
    return structures


def _json(structure: object) -> str:
    return json.dumps(structure, ensure_ascii=False, separators=(",", ":"))


def _part(part: Part, of_text: Callable[[str], int], token: int) -> int:
    if isinstance(part, Image):
        return image_tokens(part) * token
    if isinstance(part, Audio):
        return audio_tokens(part) * token
    if isinstance(part, File):
        return file_tokens(part, of_text, token)
    return sum(map(of_text, texts_of(part)))
