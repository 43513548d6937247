"""The words of state shared between processes: what they tell each other, and where."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import attrs

__all__ = ["SharedCircuit", "SharedCircuits", "SharedState"]

SharedState: TypeAlias = Literal["closed", "open"]


@attrs.frozen(kw_only=True)
class SharedCircuit:
    """A circuit as all processes know it. Half-open is each process's own affair."""

    generation: int
    """Grows with each change, and never comes again; above 0."""

    state: SharedState
    seconds: float = 0.0
    """How long it is still open; below zero when that time has passed."""

    openings: int = 0
    """How often it opened since it was last closed."""


class SharedCircuits(Protocol):
    """
    Keeps circuits by name, for all processes, on a clock of its own.

    It may be an asynchronous context manager; then the breaker's life cycle includes its. Both
    methods may raise any `Exception` when it cannot be reached: the breaker goes on alone.
    """

    async def read(self, name: str, /) -> SharedCircuit | None:
        """Answer the circuit *name*, `None` when nobody has changed it yet, or it was lost."""
        ...

    async def change(
        self, name: str, expected: int, state: SharedState, seconds: float, openings: int, /
    ) -> tuple[bool, SharedCircuit]:
        """
        Change the circuit *name* if its generation is *expected*.

        In one indivisible step, and in any case if it is unknown here. Answers whether it did,
        and the circuit as it now is: with a later generation, or as others changed it.
        """
        ...
