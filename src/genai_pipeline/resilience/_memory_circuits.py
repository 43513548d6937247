"""`MemoryCircuits`: circuits shared within one process."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._shared import SharedCircuit, SharedState
from genai_pipeline.clock import Clock, SystemClock

__all__ = ["MemoryCircuits"]


@attrs.define(kw_only=True, eq=False)
class MemoryCircuits:
    """Keeps circuits in this process, for breakers that guard the same thing, and for tests."""

    max_entries: int = attrs.field(default=10_000, validator=_options.at_least(1))
    """The most circuits it keeps; beyond that, it forgets the one changed longest ago."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)
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
