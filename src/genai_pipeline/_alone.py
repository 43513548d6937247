"""Letting one record run while no other does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

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

    @asynccontextmanager
    async def beside_others(self, ordinal: int) -> AsyncGenerator[None, None]:
        """Run once nobody is alone."""
        await self.begin(ordinal)
        try:
            yield
        finally:
            self.end()

    def begin_at_once(self, ordinal: int) -> bool:
        """Begin to run beside others, until `end`, if that needs no waiting; tell whether."""
        if self._alone or (self._wanted and not self._is_awaited(ordinal)):
            return False
        self._running += 1
        self._highest = max(self._highest, ordinal)
        return True

    async def begin(self, ordinal: int) -> None:
        """Begin to run beside others, until `end`, once nobody is alone."""
        while not self.begin_at_once(ordinal):
            await self._change()

    def end(self) -> None:
        """End what has begun beside others."""
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
