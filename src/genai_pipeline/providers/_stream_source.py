"""`StreamSource`: where the bytes of a streamed answer come from, however they travel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from genai_pipeline._raw_answer import RawAnswer

__all__ = ["StreamSource"]


class StreamSource(Protocol):
    """
    One request whose answer is read piece by piece.

    `open` it, then `read` it piece by piece or all at once; `aclose` it, whatever happens. Each
    raises the errors of `genai_pipeline.errors`, and holds no foreign one as its context. Only the
    time that passes in them counts for the limits of time.
    """

    status: int
    """The status of the answer, once it is open."""

    headers: Mapping[str, str]
    """Those that are ever read, in lower case and without secrets, once it is open."""

    async def open(self, body: bytes, /) -> None:
        """Send *body*, and wait for the head of the answer."""
        ...

    async def read(self, *, patient: bool) -> bytes:
        """
        Wait for the next piece; none is left when it is empty.

        With *patient* only the limit for all counts, for a model that thinks before it speaks.
        """
        ...

    async def read_all(self) -> RawAnswer:
        """Read the answer to its end, and answer it without secrets."""
        ...

    def hide_in(self, data: bytes, /) -> bytes:
        """Answer *data* with every secret blotted out."""
        ...

    async def drain(self) -> None:
        """Go on to an end that should have come, for a moment, so that the connection is kept."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, closed unless all was read; bounded, and never raises."""
        ...
