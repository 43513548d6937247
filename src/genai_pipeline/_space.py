"""Waiting for space where the disk of a sink is full, with what was paid for in hand."""

from __future__ import annotations

import errno
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import anyio
import attrs

from genai_pipeline._run_journal import RunJournal
from genai_pipeline.clock import Clock
from genai_pipeline.errors import Rejected, StorageFull
from genai_pipeline.events import DiskFilled, DiskFreed, emit
from genai_pipeline.walk import Walk

__all__ = ["Space", "is_full"]

_FIRST, _MOST = 1.0, 30.0
_SPREAD = 8


def is_full(error: BaseException) -> bool:
    """Tell whether *error* says that a disk or a quota is full, and nothing worse."""
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return full or isinstance(error, StorageFull)


class _NoSpace(Rejected):
    """Tells the run how long to wait before a write is tried again."""

    waits_for: ClassVar[Any] = "space"


@attrs.define(kw_only=True, eq=False)
class Space:
    """
    Lets records wait where they found a disk full, and no other be begun meanwhile.

    Each tries again after 1 s, 2 s, 4 s and so on up to 30 s, and at once when another one
    could be written.
    """

    clock: Clock
    park: Callable[[Rejected, str, Walk], Awaitable[None]]
    """Waits as the run does for all that is rejected, and raises when it stops."""

    journal: RunJournal | None
    """Tells others what the run waits for."""

    place: str = attrs.field(default="", init=False)
    """What could not be written, while records wait for space."""

    _since: float = attrs.field(default=0.0, init=False)
    _freed: float = attrs.field(default=-math.inf, init=False)
    _waiting: int = attrs.field(default=0, init=False)
    _asleep: set[anyio.CancelScope] = attrs.field(factory=set, init=False)
    _open: anyio.Event = attrs.field(factory=anyio.Event, init=False)
    _numbers: itertools.count[int] = attrs.field(factory=itertools.count, init=False)

    @property
    def lacking(self) -> bool:
        """Whether records wait for space, so that none is to be begun."""
        return self._waiting > 0 and not self._open.is_set()

    def lacked_since(self, moment: float) -> bool:
        """Tell whether there was a time without space after *moment*."""
        return self._waiting > 0 or self._freed >= moment

    async def wait(self) -> None:
        """Wait until records may be begun."""
        await self._open.wait()

    def give_up(self) -> None:
        """Let go whoever waits to begin records, since the run stops."""
        self._open.set()

    async def write(
        self, write: Callable[[], Awaitable[object]], walk: Walk, error: Exception
    ) -> None:
        """
        Do *write* as soon as there is space, which raised *error* since there was none.

        Raises what else it raises, and `Stopped` when the run stops meanwhile. What a record may
        take is not limited any more from here on, since the disk is no fault of its own.
        """
        walk.deadline = walk.run.deadline
        self._waiting += 1
        freed = False
        try:
            if self._waiting == 1:
                await self._begin(error)
            await self._try_until_written(write, walk, error)
            freed = True
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._open.set()
                self._freed = self.clock.now()
                if freed:
                    emit(DiskFreed(path=self.place, seconds=self.clock.now() - self._since))
        if not self._waiting:
            await self._tell(None)

    async def _begin(self, error: Exception) -> None:
        path = getattr(error, "path", "") or getattr(error, "filename", None) or "the sink"
        self.place, self._since = str(path), self.clock.now()
        self._open = anyio.Event()
        emit(DiskFilled(path=self.place, error=error))
        await self._tell(f"space for {self.place}")

    async def _tell(self, waits_for: str | None) -> None:
        if self.journal is not None:
            await self.journal.tell("space", waits_for)

    async def _try_until_written(
        self, write: Callable[[], Awaitable[object]], walk: Walk, error: Exception
    ) -> None:
        seconds = _FIRST
        while True:
            await self._sleep(seconds, walk, error)
            try:
                await write()
            except Exception as again:
                if not is_full(again):
                    raise
                error, seconds = again, min(2 * seconds, _MOST)
            else:
                self._wake()
                return

    async def _sleep(self, seconds: float, walk: Walk, error: Exception) -> None:
        # What is tried at one moment is written as one group, for which there may be no room
        # where there is some for less.
        spread = 1 + next(self._numbers) % _SPREAD / _SPREAD
        rejection = _NoSpace(str(error), retry_after=seconds * spread)
        rejection.__cause__ = error
        with anyio.CancelScope() as scope:
            self._asleep.add(scope)
            try:
                await self.park(rejection, "sink", walk)
            finally:
                self._asleep.discard(scope)

    def _wake(self) -> None:
        for scope in self._asleep:
            scope.cancel()
