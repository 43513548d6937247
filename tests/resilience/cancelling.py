"""Cancelling a call at each of its waits in turn: what every middleware must bear."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

Call = Callable[[], Awaitable[object]]
Scenario = Callable[[], AbstractAsyncContextManager[Call]]


async def cancel_at_every_wait(scenario: Scenario, *, may_finish: bool = False) -> int:
    """
    Play *scenario* anew for each wait of its call, cancelling the call at that wait.

    The scenario is an asynchronous context manager, best a function under
    ``asynccontextmanager``: it sets everything up, yields the call to be cancelled, and after the
    ``yield`` asserts that nothing was lost, kept or counted. The last play is not cancelled.
    Each cancellation must reach its own scope, unless the call *may finish* nevertheless.
    Answers at how many waits the call was cancelled; assert that it is what you expect.

    A wait is a moment at which the task that calls yields to the event loop; waits of tasks that
    the call starts are not counted, but are cancelled with it.
    """
    at = 0
    while True:
        at += 1
        async with scenario() as call:
            with anyio.CancelScope() as scope:
                await _CancelledAt(call(), at, scope)
            if scope.cancel_called and not may_finish:
                assert scope.cancelled_caught, f"the cancellation at wait {at} got lost"
        if not scope.cancel_called:
            return at - 1


class _CancelledAt:
    """Awaits for another, and cancels the scope when that waits for the *at*-th time."""

    def __init__(self, awaited: Awaitable[object], at: int, scope: anyio.CancelScope) -> None:
        self._awaited = awaited
        self._left = at
        self._scope = scope

    async def _run(self) -> object:
        return await self._awaited

    def __await__(self) -> Generator[Any, Any, object]:
        running = self._run()
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                waits_for = running.send(answer) if error is None else running.throw(error)
            except StopIteration as end:
                return end.value
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()
            try:
                answer, error = (yield waits_for), None
            except BaseException as raised:  # noqa: BLE001 - goes in, to where the call waits
                error = raised
