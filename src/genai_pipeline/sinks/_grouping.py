"""Group commit: what concurrent callers give is written together, in a worker thread."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Generic, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from genai_pipeline.clock import Clock
from genai_pipeline.errors import StorageFailed, Transient

__all__ = ["Grouping"]

T = TypeVar("T")


class _Group(Generic[T]):
    """The calls that are written together; the first caller leads."""

    __slots__ = ("done", "error", "items")

    def __init__(self) -> None:
        self.items: list[T | None] = []
        self.done = anyio.Event()
        self.error: Exception | None = None


@attrs.define(kw_only=True, eq=False)
class Grouping(Generic[T]):
    """
    Hands items to *commit* in groups: while one group is written, the next one gathers.

    No timer and no task of its own. A call returns when its item is committed, and raises what
    its group's commit raised. A call that is cancelled before its group's turn is withdrawn;
    the one that leads its group finishes first.
    """

    commit: Callable[[list[T]], None]
    clock: Clock
    timeout: float
    place: str
    _gathering: _Group[T] | None = None
    _writing: _Group[T] | None = None
    _limiter: anyio.CapacityLimiter = attrs.field(
        init=False, factory=lambda: anyio.CapacityLimiter(1)
    )

    async def __call__(self, item: T) -> None:
        """Return when *item* is committed."""
        group = self._gathering
        if group is None:
            group = self._gathering = _Group()
            group.items.append(item)
            await self._lead(group)
        else:
            position = len(group.items)
            group.items.append(item)
            try:
                await group.done.wait()
            except BaseException:
                group.items[position] = None
                raise
        if group.error is not None:
            raise _own(group.error)

    async def idle(self) -> None:
        """Return when nothing is being written."""
        while (group := self._gathering or self._writing) is not None:
            await group.done.wait()

    async def _lead(self, group: _Group[T]) -> None:
        group.error = Transient("the call that led this group was cancelled; try again")
        try:
            with self.clock.cancel_at(self.clock.now() + self.timeout) as scope:
                scope.shield = True
                await anyio.lowlevel.checkpoint()  # whoever is ready now joins
                while self._writing is not None:
                    await self._writing.done.wait()
                self._gathering, self._writing = None, group
                group.error = await anyio.to_thread.run_sync(
                    self._commit, group, abandon_on_cancel=True, limiter=self._limiter
                )
            if scope.cancelled_caught:
                group.error = StorageFailed(
                    f"{self.place}: no answer for {self.timeout:g} s; the disk hangs, or "
                    "timeout= is too short for it"
                )
        finally:
            if self._gathering is group:
                self._gathering = None
            if self._writing is group:
                self._writing = None
            group.done.set()

    def _commit(self, group: _Group[T]) -> Exception | None:
        items = [item for item in group.items if item is not None]
        try:
            if items:
                self.commit(items)
        except Exception as error:  # noqa: BLE001 - it is raised to every caller of the group
            return error
        return None


def _own(error: Exception) -> Exception:
    """Answer an error for one caller alone, so that tracebacks do not grow into each other."""
    if not isinstance(error, StorageFailed | Transient):
        return error
    own = copy(error)
    own.__cause__ = error
    return own
