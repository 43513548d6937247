"""Slots for calls, handed on in the order of asking, whoever holds them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import anyio

from genai_pipeline.clock import Clock

__all__ = ["Slots"]


class _Waiter:
    __slots__ = ("admitted", "event")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.admitted = False


class Slots:
    """
    At most *limit* holders at a time; who waits longest is next.

    A slot belongs to no task, so it can be given back by another than took it. A slot that is
    given back passes to the first in line at once, and nobody who comes later gets in between.
    """

    __slots__ = ("_waiters", "in_use", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_use = 0
        self._waiters: deque[_Waiter] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def take_free(self) -> bool:
        """Take a slot if one is free and nobody waits; tell whether it did."""
        if self.in_use < self.limit and not self._waiters:
            self.in_use += 1
            return True
        return False

    async def take(
        self, clock: Clock, until: float = math.inf, watch: Callable[[], float] = lambda: math.inf
    ) -> bool:
        """
        Wait in line for a slot and take it; answer `False` if there was none *until* then.

        *watch* is called when the waiting begins, and whenever the time comes that it answered.
        When this is cancelled, it holds no slot and is in nobody's way.
        """
        waiter = _Waiter()
        self._waiters.append(waiter)
        try:
            while not waiter.admitted:
                await _wait(waiter.event, clock, min(until, watch()))
                if clock.now() >= until:
                    break
        except BaseException:
            self._leave(waiter)
            raise
        if not waiter.admitted:
            self._waiters.remove(waiter)
        return waiter.admitted

    def give(self) -> None:
        """Give a slot back."""
        self.in_use -= 1
        self._admit()

    def resize(self, limit: int) -> None:
        """Change the limit; whoever holds a slot beyond it keeps it."""
        self.limit = limit
        self._admit()

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.admitted:  # at the same moment, so it goes to the next
            self.give()
        else:
            self._waiters.remove(waiter)

    def _admit(self) -> None:
        while self._waiters and self.in_use < self.limit:
            waiter = self._waiters.popleft()
            self.in_use += 1
            waiter.admitted = True
            waiter.event.set()


async def _wait(event: anyio.Event, clock: Clock, until: float) -> None:
    if until == math.inf:
        await event.wait()
    else:
        with clock.cancel_at(until):
            await event.wait()
