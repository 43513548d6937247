"""Virtual time, the same on asyncio and trio."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from genai_pipeline._options import check

__all__ = ["FakeClock"]

_QUIET_ROUNDS = 3


class FakeClock:
    """
    A clock that stands still until it is told to go on, or until everybody waits for it.

    Give it to what you test as ``clock=``. Alone, it moves by `advance`. Inside ``async with
    FakeClock() as clock:`` it jumps by itself to the next thing somebody sleeps for, whenever
    every task of the event loop is blocked: an hour of backoff takes a millisecond.

    A task that waits for a thread, a process or a socket is blocked too. Where the code under
    test does that, give a *cushion*: the real seconds of stillness to wait before each jump.
    """

    def __init__(
        self, *, start: float = 0.0, wall: float = 1_800_000_000.0, cushion: float = 0.0
    ) -> None:
        check(cushion >= 0, self, "cushion", cushion, "seconds, 0 or more")
        self._now = start
        self._wall = wall - start
        self._cushion = cushion
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._dropped: set[int] = set()
        self._alarms: dict[anyio.CancelScope, int] = {}
        self._numbers = itertools.count()
        self._stack = AsyncExitStack()
        self._new_timer: anyio.Event | None = None

    def now(self) -> float:
        """Virtual seconds; only differences mean something."""
        return self._now

    def wall(self) -> float:
        """Virtual seconds since 1970-01-01 UTC, in step with `now`, but for `jump_wall`."""
        return self._now + self._wall

    async def sleep(self, seconds: float, /) -> None:
        """Wait until the clock has gone on by *seconds*; with zero or less, let others run."""
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        number = self._add(self._now + seconds, woken.set)
        try:
            await woken.wait()
        finally:
            self._dropped.add(number)

    @contextmanager
    def cancel_at(self, deadline: float, /) -> Iterator[anyio.CancelScope]:
        """Enter a cancel scope that is cancelled when `now` reaches *deadline*."""
        with anyio.CancelScope() as scope:
            self._set_alarm(scope, deadline)
            try:
                yield scope
            finally:
                self._drop_alarm(scope)

    def postpone(self, scope: anyio.CancelScope, deadline: float, /) -> None:
        """Let a scope that `cancel_at` entered be cancelled when `now` reaches *deadline*."""
        self._drop_alarm(scope)
        self._set_alarm(scope, deadline)

    def _set_alarm(self, scope: anyio.CancelScope, deadline: float) -> None:
        if deadline <= self._now:
            scope.cancel()
        if not math.isinf(deadline):
            self._alarms[scope] = self._add(deadline, scope.cancel)

    def _drop_alarm(self, scope: anyio.CancelScope) -> None:
        number = self._alarms.pop(scope, None)
        if number is not None:
            self._dropped.add(number)

    def advance(self, seconds: float) -> None:
        """Go on by *seconds*, waking whoever is due on the way, in the order of their times."""
        check(seconds >= 0, self, "seconds", seconds, "seconds, 0 or more")
        end = self._now + seconds
        while (due := self._next()) is not None and due <= end:
            self._fire(due)
        self._now = end

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forth or (negative) back, as an operator or NTP would."""
        self._wall += seconds

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(group.cancel_scope.cancel)
        group.start_soon(self._jump)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # The task group wraps what the body raised; the body's own error goes on unwrapped.
            if error is not None and len(group.exceptions) == 1 and group.exceptions[0] is error:
                return
            raise

    async def _jump(self) -> None:
        while True:
            await _everyone_blocked(self._cushion)
            due = self._next()
            if due is not None:
                self._fire(max(due, self._now))
            else:
                added = self._new_timer = anyio.Event()
                await added.wait()

    def _add(self, deadline: float, wake: Callable[[], None]) -> int:
        number = next(self._numbers)
        heapq.heappush(self._timers, (deadline, number, wake))
        if self._new_timer is not None:
            self._new_timer.set()
        return number

    def _next(self) -> float | None:
        while self._timers and self._timers[0][1] in self._dropped:
            self._dropped.discard(heapq.heappop(self._timers)[1])
        return self._timers[0][0] if self._timers else None

    def _fire(self, due: float) -> None:
        self._now = due
        while (first := self._next()) is not None and first <= due:
            _, _, wake = heapq.heappop(self._timers)
            wake()

    def __repr__(self) -> str:
        return f"FakeClock(now={self._now})"


async def _everyone_blocked(cushion: float) -> None:
    """Return when every other task of this event loop waits for something, for a while."""
    try:
        this = asyncio.current_task()
    except RuntimeError:  # trio's own way is exact, and not to be had on asyncio
        await anyio.wait_all_tasks_blocked()
        if cushion:
            import trio.testing  # noqa: PLC0415 - only there when trio runs

            await trio.testing.wait_all_tasks_blocked(cushion)
        return
    quiet = 0
    while quiet < _QUIET_ROUNDS:
        await anyio.lowlevel.checkpoint()
        quiet = quiet + 1 if _all_blocked(this) else 0
        if cushion and quiet == _QUIET_ROUNDS - 1:
            await anyio.sleep(cushion)


def _all_blocked(this: asyncio.Task[object] | None) -> bool:
    for task in asyncio.all_tasks():
        # asyncio tells in no public way what a task waits for; anyio reads the same field.
        waiter = getattr(task, "_fut_waiter", None)
        if task is not this and (waiter is None or waiter.done()):
            return False
    return True
