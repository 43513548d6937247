"""How models are called: by their makers, with a date, and by those who host them."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["spellings"]

# arn:aws:bedrock:us-east-1::foundation-model/…, projects/…/publishers/google/models/…, models/…
_PATH = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?:foundation-model|inference-profile)/"
    r"|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/"
    r"|models/"
)
_REGION = re.compile(r"(?:us|us-gov|eu|apac|jp|au|ca|sa|me|global)\.(?=[a-z0-9]+\.)")
_MAKER = re.compile(r"(?:amazon|anthropic|cohere|google|openai)[./]")
_VERSION = re.compile(
    r"(?:-20[0-9]{2}-[01][0-9]-[0-3][0-9]"  # gpt-4o-2024-08-06
    r"|[-@]20[0-9]{2}[01][0-9][0-3][0-9]"  # claude-haiku-4-5-20251001, …@20251001
    r"|@default"  # claude-opus-4-6@default
    r"|-00[0-9]"  # gemini-2.5-flash-001
    r"|:[0-9]{1,4}k"  # …-v1:0:200k
    r"|-v[0-9]{1,2}(?::[0-9]{1,2})?)\Z"  # …-v1:0
)
_MOST_VERSIONS = 3


def spellings(name: str) -> Iterator[str]:
    """
    Yield *name* and what it is a spelling of, the nearest first.

    Taken off are, in turn: the path of an ARN or of Vertex AI; the region of an inference profile
    (``us.``); the maker (``anthropic.``, ``openai/``); and up to three versions at the end: a
    date, ``-001``, ``-v1:0``. Nothing else is, so ``gpt-5-codex`` is no ``gpt-5``.
    """
    yield name
    for prefix in (_PATH, _REGION, _MAKER):
        found = prefix.match(name)
        if found is not None and found.end() < len(name):
            name = name[found.end() :]
            yield name
    for _ in range(_MOST_VERSIONS):
        found = _VERSION.search(name)
        if found is None or not found.start():
            return
        name = name[: found.start()]
        yield name
