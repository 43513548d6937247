"""What circuits of several processes tell each other, and where."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import attrs

from genai_pipeline._options import at_least
from genai_pipeline.clock import Clock, SystemClock

__all__ = ["MemoryCircuits", "SharedCircuit", "SharedCircuits", "SharedState"]

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


@attrs.define(kw_only=True, eq=False)
class MemoryCircuits:
    """Keeps circuits in this process, for breakers that guard the same thing, and for tests."""

    max_entries: int = attrs.field(default=10_000, validator=at_least(1))
    """The most circuits it keeps; beyond that, it forgets the one changed longest ago."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False)
    _circuits: dict[str, tuple[SharedCircuit, float]] = attrs.field(
        factory=dict, init=False, repr=False
    )
    _changes: int = attrs.field(default=0, init=False, repr=False)

    async def read(self, name: str, /) -> SharedCircuit | None:
        """Answer the circuit *name*, `None` when nobody has changed it yet."""
        if name not in self._circuits:
            return None
        circuit, until = self._circuits[name]
        return attrs.evolve(circuit, seconds=until - self.clock.now())

    async def change(
        self, name: str, expected: int, state: SharedState, seconds: float, openings: int, /
    ) -> tuple[bool, SharedCircuit]:
        """Change the circuit *name* if its generation is *expected*."""
        current = await self.read(name)
        if current is not None and current.generation != expected:
            return False, current
        self._changes += 1
        new = SharedCircuit(
            generation=self._changes, state=state, seconds=seconds, openings=openings
        )
        self._circuits.pop(name, None)
        self._circuits[name] = (new, self.clock.now() + seconds)
        if len(self._circuits) > self.max_entries:
            del self._circuits[next(iter(self._circuits))]
        return True, new
