"""Where those wait who ask for operations, and how the writer's thread tells them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable
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

    def wait(self, operation: Operation) -> Awaitable[object]:
        """Answer what to wait for until *operation*, which is not told, is done."""
        event = operation.waiter = anyio.Event()
        return event.wait()

    def ring(self, operations: Iterable[Operation]) -> None:
        """Wake those who wait for *operations*; from any thread."""
        with suppress(RuntimeError):  # the loop is gone, and nobody waits
            self._soon(self._wake, operations)

    def _wake(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            operation.told = True
            if operation.waiter is not None:
                operation.waiter.set()


@attrs.define(eq=False)
class _AsyncioDesk(Desk):
    """Those of a loop of asyncio: a future is several times as quick as an event."""

    def wait(self, operation: Operation) -> Awaitable[object]:
        """Answer what to wait for until *operation*, which is not told, is done."""
        future: asyncio.Future[None] = self.loop.create_future()
        operation.waiter = future
        return future

    def _wake(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            operation.told = True
            waiter = operation.waiter
            if waiter is not None and not waiter.done():  # else nobody waits any more
                waiter.set_result(None)


@attrs.define(eq=False)
class Desks:
    """The desks of a journal, one for each event loop that uses it."""

    _of: dict[int, Desk] = attrs.field(factory=dict)
    _other: RunVar[Desk] = attrs.field(factory=lambda: RunVar("genai_pipeline_journal"))

    def here(self) -> Desk:
        """Answer the one of the event loop that is running."""
        loop = _loop_of_asyncio()
        return self._of_other_loop() if loop is None else self._of_loop(loop)

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> Desk:
        desk = self._of.get(id(loop))
        if desk is None or desk.loop is not loop:
            if len(self._of) >= _MOST_LOOPS:
                self._of.clear()
            desk = self._of[id(loop)] = _AsyncioDesk(loop, loop.call_soon_threadsafe)
        return desk

    def _of_other_loop(self) -> Desk:
        try:
            return self._other.get()
        except LookupError:
            token: Any = current_token().native_token
            # anyio offers this only together with waiting for the outcome.
            desk = Desk(token, token.run_sync_soon)
            self._other.set(desk)
            return desk


def _loop_of_asyncio() -> asyncio.AbstractEventLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    # A loop of asyncio may be the host of one of trio, whose tasks are none of its own.
    return loop if "trio" not in sys.modules or asyncio.current_task() is not None else None
