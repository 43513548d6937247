"""What is asked of a journal file, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline.journals._desk import Desk
from genai_pipeline.journals._tables import Tables

__all__ = ["Bulk", "Kind", "Operation"]

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
    result: Any = None
    error: BaseException | None = None
    waiter: Any = None
    """What the desk wakes."""

    told: bool = False
    """Whether the desk knows that it is done."""

    def do(self, tables: Tables) -> Any:
        """Do it, alone."""
        if self.bulk is None:
            assert self.act is not None
            return self.act(tables)
        (result,) = self.bulk(tables, (self.given,))
        if isinstance(result, BaseException):
            raise result
        return result

    def outcome(self) -> Any:
        """Answer what came of it, or raise that."""
        if self.error is not None:
            raise self.error
        return self.result
