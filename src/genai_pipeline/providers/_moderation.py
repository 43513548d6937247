"""`Moderation`: what was found in a text or a picture, read out of OpenAI's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Message
from genai_pipeline.parts import Image, Part, Text
from genai_pipeline.providers._chat_messages import image_url
from genai_pipeline.providers._document import as_dict, as_list

__all__ = ["Moderation", "moderation_input", "moderations_in"]


@attrs.frozen(kw_only=True)
class Moderation:
    """What a moderation model found in one input."""

    flagged: bool
    """Whether the model thinks it harmful in any way."""

    categories: tuple[str, ...] = ()
    """In what ways: ``hate``, ``self-harm/intent`` …, as the API names them."""

    scores: Mapping[str, float] = attrs.field(factory=dict)
    """How sure it is of each category, 0 to 1, those that are not flagged among them."""

    input_types: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Of which inputs (``text``, ``image``) each score is, where the model tells."""

    model: str = ""
    """The model that really served the call, as the provider named it."""

    request_id: str | None = None
    """The provider's own name for the call, to quote to its support."""


def moderation_input(content: str | Message) -> str | list[dict[str, Any]]:
    """
    Answer the form of *content*.

    Raises `ConfigurationError` for parts that are neither text nor picture.
    """
    if isinstance(content, str):
        return content
    if isinstance(content.content, str):
        return content.content
    return [_part(part) for part in content.parts]


def moderations_in(
    document: Mapping[str, Any], *, model: str, request_id: str | None
) -> list[Moderation] | None:
    """Answer what *document* found in each input; `None` if it is no such document."""
    results = document.get("results")
    if not isinstance(results, list):
        return None
    found = []
    for result in map(as_dict, results):
        if not isinstance(result.get("flagged"), bool):
            return None
        found.append(_moderation(result, model, request_id))
    return found


def _moderation(result: dict[str, Any], model: str, request_id: str | None) -> Moderation:
    scores = as_dict(result.get("category_scores"))
    applied = as_dict(result.get("category_applied_input_types"))
    return Moderation(
        flagged=result["flagged"],
        categories=tuple(
            name for name, flagged in as_dict(result.get("categories")).items() if flagged is True
        ),
        scores={name: float(score) for name, score in scores.items() if _is_score(score)},
        input_types={
            name: tuple(each for each in as_list(types) if isinstance(each, str))
            for name, types in applied.items()
        },
        model=model,
        request_id=request_id,
    )


def _is_score(score: object) -> bool:
    return isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 1


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": image_url(part)}}
    raise ConfigurationError(
        f"OpenAIModerations: {type(part).__name__} cannot be moderated; give texts and images"
    )
