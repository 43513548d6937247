"""`StreamTimeout`: limits for an answer that comes piece by piece."""

from __future__ import annotations

import attrs

from genai_pipeline._options import positive

__all__ = ["StreamTimeout"]


@attrs.frozen(kw_only=True)
class StreamTimeout:
    """
    How long a stream may take: to its first chunk, between two, and in all.

    Counts only while the provider is waited for. The time that a consumer takes over a chunk, and
    what a call waited in line before it was made, use none of it up. Too late a first chunk is an
    `AttemptTimeout`; after it, a `StreamInterrupted` because of one. The caller's own deadline
    holds as well, with `DeadlineExceeded`.

    Given to `resilient_stream` as ``timeout=``.
    """

    first_chunk: float = attrs.field(default=120.0, validator=positive)
    """Seconds to the first chunk, in each attempt. A model may think before it says anything."""

    between_chunks: float = attrs.field(default=60.0, validator=positive)
    """Seconds from one chunk to the next."""

    total: float = attrs.field(default=600.0, validator=positive)
    """Seconds for the whole answer."""
