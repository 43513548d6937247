"""Time as a dependency: what policies and the runner read, and wait on."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import anyio

__all__ = ["Clock", "SystemClock"]


@runtime_checkable
class Clock(Protocol):
    """
    Tells time and waits.

    Everything in this library that waits takes one as ``clock=``. Use `SystemClock` in
    production and `genai_pipeline.testing.FakeClock` in tests. One that also has
    ``postpone(scope, deadline)``, which moves what `cancel_at` began, lets a `Timeout` not count
    what an attempt waits for room in a budget.
    """

    def now(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC, for people and files; may jump."""
        ...

    async def sleep(self, seconds: float, /) -> None:
        """Wait; with zero or less, let others run once."""
        ...

    def cancel_at(self, deadline: float, /) -> AbstractContextManager[anyio.CancelScope]:
        """
        Enter a cancel scope that this clock cancels when `now` reaches *deadline*.

        ``math.inf`` never does. The scope's ``cancelled_caught`` tells whether it did.
        """
        ...


class SystemClock:
    """The real time, on whichever event loop runs."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    async def sleep(self, seconds: float, /) -> None:
        """Wait; with zero or less, let others run once."""
        await anyio.sleep(max(0.0, seconds))

    def cancel_at(self, deadline: float, /) -> AbstractContextManager[anyio.CancelScope]:
        """Enter a cancel scope that is cancelled when `now` reaches *deadline*."""
        return anyio.CancelScope(deadline=anyio.current_time() + (deadline - time.monotonic()))

    def postpone(self, scope: anyio.CancelScope, deadline: float, /) -> None:
        """Let a scope that `cancel_at` answered be cancelled when `now` reaches *deadline*."""
        scope.deadline = anyio.current_time() + (deadline - time.monotonic())

    def __repr__(self) -> str:
        return "SystemClock()"
