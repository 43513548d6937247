"""`RawAnswer`: what comes of a paid call, as a provider hands it on and a journal keeps it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["RawAnswer"]


@attrs.frozen(kw_only=True)
class RawAnswer:
    """What a provider sent, before anybody read it."""

    body: bytes = attrs.field(repr=False)
    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Those that matter for reading the body, by name in lower case; never a credential."""

    replayed: bool = False
    """Whether it came out of a journal, and cost nothing now."""
