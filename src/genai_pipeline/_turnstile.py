"""Letting records through in the order in which they were read."""

from __future__ import annotations

import anyio

__all__ = ["Turnstile"]


class Turnstile:
    """Numbers pass in order: each waits until all before it have passed."""

    def __init__(self) -> None:
        self._next = 0
        self._early: set[int] = set()
        self._waiting: dict[int, anyio.Event] = {}

    async def wait(self, number: int) -> None:
        """Wait until every number below *number* has passed."""
        while self._next < number:
            event = self._waiting.setdefault(number, anyio.Event())
            try:
                await event.wait()
            finally:
                self._waiting.pop(number, None)

    def passed(self, number: int) -> None:
        """Note that *number* is through; a second time changes nothing."""
        if number < self._next:
            return
        self._early.add(number)
        while self._next in self._early:
            self._early.remove(self._next)
            self._next += 1
        if self._next in self._waiting:
            self._waiting[self._next].set()
