"""What is asked of a journal file, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal, TypeAlias

import attrs
from anyio import Event
from anyio.lowlevel import current_token

from genai_pipeline.journals._tables import Tables

__all__ = ["Bulk", "Desk", "Kind", "Operation"]

Kind: TypeAlias = Literal["read", "write", "intent", "alone"]
"""
``intent``: something new is begun, which is refused while the disk is full. ``alone``: what
cannot be part of a transaction, and changes nothing that is known.
"""

Bulk: TypeAlias = Callable[[Tables, Sequence[Any]], Sequence[Any]]
"""
Does the same for each of several givens; answers what came of each: a result, or the error of this
one alone, which has written nothing.
"""


@attrs.define(eq=False)
class Operation:
    """Something to be done in one transaction with others; it may be done again if that fails."""

    act: Callable[[Tables], Any] | None
    """What to do; `None` where it is *bulk* of *given*, which may be done for many at once."""

    kind: Kind = "write"
    tally: str | None = None
    """What to count it as in the status."""

    size: int = 0
    """Bytes of what it writes, if they are many."""

    desk: Desk | None = None
    """Told when it is done."""

    bulk: Bulk | None = None
    given: Any = None
    event: Event | None = None
    result: Any = None
    error: BaseException | None = None
    done: bool = False

    def do(self, tables: Tables) -> Any:
        """Do it, alone."""
        if self.bulk is None:
            assert self.act is not None
            return self.act(tables)
        (result,) = self.bulk(tables, (self.given,))
        if isinstance(result, BaseException):
            raise result
        return result


@attrs.define(eq=False)
class Desk:
    """The event loop that waits for operations."""

    _soon: Callable[..., object]

    @classmethod
    def here(cls) -> Desk:
        """Make one for the event loop that is running."""
        loop: Any = current_token().native_token
        # What asyncio and trio call the same; anyio offers it only with waiting for the outcome.
        return cls(getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon)

    def ring(self, operations: Iterable[Operation]) -> None:
        """Wake those who wait for *operations*; from any thread."""
        with suppress(RuntimeError):  # the loop is gone, and nobody waits
            self._soon(_wake, operations)


def _wake(operations: Iterable[Operation]) -> None:
    for operation in operations:
        assert operation.event is not None
        operation.event.set()
