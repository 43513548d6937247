"""Reading an answer piece by piece, and leaving it without harm to its connection's pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import anyio

from genai_pipeline.providers._http._body import TooLarge

__all__ = ["Reading"]

_CLOSE_SECONDS = 2.0
_LONGEST_LENGTH = 18


class Reading:
    """
    An answer whose head has arrived.

    *advance* waits for the next piece of the body, and gives none at its end. *close* gives
    the connection back, closed unless the body was read to its end; with *frees_itself* that
    happens unasked when it was. *release* is called last.
    """

    __slots__ = (
        "_advance",
        "_close",
        "_frees_itself",
        "_release",
        "body",
        "declared",
        "headers",
        "received",
        "status",
        "whole",
    )

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        advance: Callable[[], Awaitable[bytes]],
        close: Callable[[], Awaitable[None]],
        release: Callable[[], None] | None = None,
        frees_itself: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        length = headers.get("content-length", "")
        known = length.isdecimal() and len(length) <= _LONGEST_LENGTH
        self.declared = int(length) if known else -1
        self.body = bytearray()
        self.received = 0
        self.whole = False
        self._advance = advance
        self._close = close
        self._release = release
        self._frees_itself = frees_itself

    async def advance(self, limit: int) -> None:
        """Wait for the next piece; raise `TooLarge` when the body exceeds *limit*."""
        if self.declared > limit:
            raise TooLarge
        while not self.whole:
            piece = await self._advance()
            if not piece:
                self.whole = True
                return
            self.body += piece
            self.received += len(piece)
            if self.received > limit:
                raise TooLarge
            if self.received != self.declared:
                return
            # All has arrived: going on to the end waits for nothing and frees the connection.
            self.whole = self._frees_itself

    def take(self) -> bytes:
        """Answer what has arrived since the last time."""
        taken = bytes(self.body)
        self.body.clear()
        return taken

    @property
    def is_over(self) -> bool:
        """Whether the connection was given back by itself, so that `aclose` has nothing to do."""
        return self.whole and self._frees_itself

    async def aclose(self) -> None:
        """Give the connection back; bounded, and never raises."""
        if self.is_over:
            return
        deadline = anyio.current_time() + _CLOSE_SECONDS
        try:
            with suppress(Exception), anyio.CancelScope(shield=True, deadline=deadline):
                await self._close()
        finally:
            if self._release is not None:
                self._release()
