"""What depends on which of Anthropic's models is asked, as far as its name tells."""

from __future__ import annotations

import re

__all__ = ["has_fixed_sampling", "thinks_adaptively"]

_VERSION = re.compile(r"claude-(?:[a-z]+-)?([0-9]{1,2})(?![0-9])(?:-([0-9]{1,2})(?![0-9]))?")


def _version(model: str) -> tuple[int, int] | None:
    """Answer ``(4, 7)`` for ``claude-opus-4-7``; `None` for a name that tells no version."""
    found = _VERSION.search(model.lower())
    return None if found is None else (int(found[1]), int(found[2] or 0))


def has_fixed_sampling(model: str) -> bool:
    """Tell whether *model* takes no temperature but the default: those from 4.7 on."""
    version = _version(model)
    return version is not None and version >= (4, 7)


def thinks_adaptively(model: str) -> bool:
    """Tell whether *model* may decide how much to think: those from 4.6 on, and unknown ones."""
    version = _version(model)
    return version is None or version >= (4, 6)
