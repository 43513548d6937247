"""Between the one who reads and those who carry: a bounded queue that wakes as few as it can."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import anyio

__all__ = ["Handoff"]

T = TypeVar("T")


class Handoff(Generic[T]):
    """
    Hands items from one reader to at most *capacity* workers, begun when there is work.

    Items waiting and items being carried are *capacity* together, so the reader asks its source
    for no more than there is room for. Waking is chained: the reader wakes one worker, a
    worker that leaves items behind wakes the next; so a worker that never waits takes all there
    is without a switch of tasks.
    """

    def __init__(self, capacity: int, begin_worker: Callable[[], None]) -> None:
        self.busy = 0
        self.closed = False
        self._capacity = capacity
        self._begin_worker = begin_worker
        self._workers = 0
        self._items: deque[T] = deque()
        self._parked: list[anyio.Event] = []
        self._waking = False
        self._room: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is carried."""
        return not self.busy and not self._items

    def put(self, item: T) -> bool:
        """Give *item* to whichever worker is free next; answer whether there is room for more."""
        items = self._items
        items.append(item)
        if not self._waking:
            self._wake()
        return self.busy + len(items) < self._capacity

    async def wait_for_room(self) -> None:
        """Wait until a worker has found nothing left to take."""
        while self.busy + len(self._items) >= self._capacity:
            room = self._room = anyio.Event()
            await room.wait()

    async def wait_until_idle(self) -> None:
        """Wait until nothing waits and nothing is carried; for the reader, as `wait_for_room`."""
        while not self.idle:
            room = self._room = anyio.Event()
            await room.wait()

    async def wait_for_item(self) -> bool:
        """Wait until there may be an item to `take`; false at the end."""
        while not self._items:
            if self.closed:
                return False
            if self._room is not None:
                self._room.set()
                self._room = None
            await self._park()
        return True

    def take(self) -> T | None:
        """Answer the next item, ``busy`` until that is lowered; `None` when there is none."""
        if not self._items:
            return None
        self.busy += 1
        item = self._items.popleft()
        if self._items and not self._waking:
            self._wake()
        return item

    def begun(self) -> None:
        """Note that the worker that was asked for runs."""
        self._waking = False

    def close(self) -> None:
        """Let workers end when nothing is left."""
        self.closed = True
        for event in self._parked:
            event.set()

    def drain(self) -> Iterator[T]:
        """Take out whatever waits."""
        while self._items:
            yield self._items.popleft()

    def _wake(self) -> None:
        if self._parked:
            self._waking = True
            self._parked.pop().set()
        elif self._workers < self._capacity:
            self._waking = True
            self._workers += 1
            self._begin_worker()

    async def _park(self) -> None:
        event = anyio.Event()
        self._parked.append(event)
        try:
            await event.wait()
        finally:
            if event in self._parked:
                self._parked.remove(event)
            else:
                self._waking = False
