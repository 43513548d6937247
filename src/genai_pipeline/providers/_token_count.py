"""Asking a server how many tokens a request has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.providers._caller import Caller

__all__ = ["count_in", "fetch_count"]


async def fetch_count(
    caller: Caller, path: str, document: Mapping[str, Any], *, field: str, absent: int = -1
) -> int:
    """
    Answer the count in the *field* of what the server answers to *document*.

    A field that is absent means so many. Raises `InvalidAnswer` where that is no count.
    """
    answer, _ = await caller.fetch(path, document)
    return count_in(answer, caller.who, field=field, absent=absent)


def count_in(answer: object, who: str, *, field: str, absent: int = -1) -> int:
    """Read the count in the *field* of an *answer*, as `fetch_count` does."""
    count = answer.get(field, absent) if isinstance(answer, dict) else None
    if type(count) is not int or count < 0:
        raise InvalidAnswer(f"{who}: the answer holds no count of tokens ({field})")
    return count
