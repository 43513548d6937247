"""Calls that wait for room in a budget: first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import anyio

__all__ = ["BudgetLines"]


class BudgetLines:
    """
    A line for each budget that was short; one call of it at a time looks whether there is room.

    Each call that ends lets the first of its budgets' lines look, and each that finds room lets
    the next one: so for every call that ends, only one looks in vain.
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[anyio.Event]] = {}
        self._missed: set[str] = set()
        self._looking = 0
        """Those whose turn it is, and who do not know yet."""

    def is_hopeless(self, budget: str) -> bool:
        """Whether nobody is about to look, and there was no new room for *budget*."""
        return not self._looking and budget not in self._missed

    def freed(self, budgets: Iterable[str]) -> None:
        """Note that there may be more room in *budgets*."""
        for budget in budgets:
            if budget in self._lines:
                self.next(budget)
            else:
                # Somebody may be about to wait who looked before.
                self._missed.add(budget)

    def next(self, budget: str) -> None:
        """Let the first who waits for *budget* look."""
        line = self._lines.get(budget)
        if line is not None:
            self._looking += 1
            line.popleft().set()
            if not line:
                del self._lines[budget]

    def next_of_each(self) -> None:
        """Let the first of every line look."""
        for budget in tuple(self._lines):
            self.next(budget)

    def close(self) -> None:
        """Let everybody look, since the run stops."""
        for line in self._lines.values():
            for event in line:
                self._looking += 1
                event.set()
        self._lines.clear()

    async def wait(self, budget: str, *, again: bool) -> None:
        """Wait for one's turn to look; *again* before all others, who came later."""
        if budget in self._missed:
            self._missed.remove(budget)
            return
        event = anyio.Event()
        line = self._lines.setdefault(budget, deque())
        if again:
            line.appendleft(event)
        else:
            line.append(event)
        try:
            await event.wait()
        except BaseException:
            if event.is_set():
                self.next(budget)
            else:
                self._leave(budget, event)
            raise
        finally:
            self._looking -= event.is_set()

    def _leave(self, budget: str, event: anyio.Event) -> None:
        line = self._lines[budget]
        line.remove(event)
        if not line:
            del self._lines[budget]
