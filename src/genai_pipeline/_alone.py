"""Letting one record run while no other does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType

import anyio

__all__ = ["Alone"]


class Alone:
    """
    Most run side by side; one that asks to be alone waits for them, and they for it.

    Where records are written in order, those under way may wait for earlier ones; so while
    somebody wants to be alone, only what is later than everything under way has to wait.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._running = 0
        self._highest = -1
        self._wanted = 0
        self._alone = False
        self._changed: anyio.Event | None = None

    def beside_others(self, ordinal: int) -> AbstractAsyncContextManager[None]:
        """Run once nobody is alone."""
        return _Beside(self, ordinal)

    async def _begin(self, ordinal: int) -> None:
        while self._alone or (self._wanted and not self._is_awaited(ordinal)):
            await self._change()
        self._running += 1
        self._highest = max(self._highest, ordinal)

    def _end(self) -> None:
        self._running -= 1
        self._tell()

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[None, None]:
        """Run once nobody else does."""
        self._wanted += 1
        try:
            while self._alone or self._running:
                await self._change()
            self._alone = True
            try:
                yield
            finally:
                self._alone = False
        finally:
            self._wanted -= 1
            self._tell()

    def _is_awaited(self, ordinal: int) -> bool:
        return self._ordered and self._running > 0 and ordinal < self._highest

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()


class _Beside(AbstractAsyncContextManager[None]):
    # Every record passes here: a generator would cost several times as much.

    __slots__ = ("_alone", "_ordinal")

    def __init__(self, alone: Alone, ordinal: int) -> None:
        self._alone = alone
        self._ordinal = ordinal

    async def __aenter__(self) -> None:
        await self._alone._begin(self._ordinal)  # noqa: SLF001 - a part of it

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._alone._end()  # noqa: SLF001 - a part of it
