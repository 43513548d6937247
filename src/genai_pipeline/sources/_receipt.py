"""`Receipt`: how a record that was pushed ends."""

from __future__ import annotations

import anyio

__all__ = ["Receipt"]


class Receipt:
    """What `Push.put` answers: the key of the record, and how it ends."""

    __slots__ = ("_done", "_error", "_settled", "key")

    def __init__(self, key: str) -> None:
        self.key = key
        self._done: anyio.Event | None = None
        self._settled = False
        self._error: Exception | None = None

    async def settled(self) -> None:
        """
        Wait until the record reached its end: written, filtered or among the dead letters.

        Raises the error with which it was handed back, if it was: it is not done, put it again
        later. `Stopped` means that the pipeline ended first.
        """
        if not self._settled:
            if self._done is None:
                self._done = anyio.Event()
            await self._done.wait()
        if self._error is not None:
            raise self._error

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the end."""
        return self._done is not None

    async def settle(self, error: Exception | None) -> None:
        """Note the end, for the pipeline that reads the source."""
        self.end(error)

    def end(self, error: Exception | None) -> None:
        """Note the end, and wake who waits for it."""
        self._settled, self._error = True, error
        if self._done is not None:
            self._done.set()
