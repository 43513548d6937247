"""Where those wait who ask for operations, and how the writer's thread tells them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import attrs
from anyio.lowlevel import RunVar, current_token

if TYPE_CHECKING:
    from genai_pipeline.journals._operation import Operation

__all__ = ["Desk", "Desks"]

_MOST_LOOPS = 100


@attrs.define(eq=False)
class Desk:
    """The tasks of one event loop that wait for operations."""

    loop: Any
    _soon: Callable[..., object]
    _waiter: Callable[[], Any]

    @classmethod
    def here(cls) -> Desk:
        """Make one for the event loop that is running."""
        loop: Any = current_token().native_token
        # What asyncio and trio call the same; anyio offers it only with waiting for the outcome.
        soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
        # Several times as quick as an event, and each call waits four times.
        return cls(loop, soon, getattr(loop, "create_future", anyio.Event))

    async def wait(self, operation: Operation) -> None:
        """Wait until *operation*, which was given to the writer just now, is done."""
        if not operation.told:
            waiter = operation.waiter = self._waiter()
            await (waiter.wait() if isinstance(waiter, anyio.Event) else waiter)

    def ring(self, operations: Iterable[Operation]) -> None:
        """Wake those who wait for *operations*; from any thread."""
        with suppress(RuntimeError):  # the loop is gone, and nobody waits
            self._soon(_wake, operations)


def _wake(operations: Iterable[Operation]) -> None:
    for operation in operations:
        operation.told = True
        waiter = operation.waiter
        if isinstance(waiter, anyio.Event):
            waiter.set()
        elif waiter is not None and not waiter.done():  # else nobody waits any more
            waiter.set_result(None)


@attrs.define(eq=False)
class Desks:
    """The desks of a journal, one for each event loop that uses it."""

    _of: dict[int, Desk] = attrs.field(factory=dict)
    _other: RunVar[Desk] = attrs.field(factory=lambda: RunVar("genai_pipeline_journal"))

    def here(self) -> Desk:
        """Answer the one of the event loop that is running."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        return self._of_other_loop() if task is None else self._of_loop(task.get_loop())

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> Desk:
        desk = self._of.get(id(loop))
        if desk is None or desk.loop is not loop:
            if len(self._of) >= _MOST_LOOPS:
                self._of.clear()
            desk = self._of[id(loop)] = Desk.here()
        return desk

    def _of_other_loop(self) -> Desk:
        try:
            return self._other.get()
        except LookupError:
            desk = Desk.here()
            self._other.set(desk)
            return desk
