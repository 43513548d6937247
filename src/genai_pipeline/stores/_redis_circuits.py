"""`RedisCircuits`: circuits that processes share through Redis."""

from __future__ import annotations

from typing import Any

import attrs

from genai_pipeline._shared import SharedCircuit, SharedState
from genai_pipeline.stores._redis import RedisScripts

__all__ = ["RedisCircuits"]

_KEPT_SECONDS = 24 * 3600

_LOOK = """
local circuit = redis.call('HMGET', KEYS[1], 'generation', 'state', 'until', 'openings')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function seen(won)
    return {won, tonumber(circuit[1]), circuit[2], circuit[3] - now, tonumber(circuit[4])}
end
"""

_READ = (
    _LOOK
    + """
if not circuit[1] then return false end
return seen(0)
"""
)

_CHANGE = (
    _LOOK
    + """
if circuit[1] and circuit[1] ~= ARGV[1] then return seen(0) end
-- By the clock, lest a generation come again when the server lost its data.
circuit = {math.max(ARGV[1] + 1, now), ARGV[2], now + ARGV[3], ARGV[4]}
redis.call('HSET', KEYS[1], 'generation', string.format('%.0f', circuit[1]),
    'state', circuit[2], 'until', string.format('%.0f', circuit[3]), 'openings', circuit[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3] + ARGV[5])
return seen(1)
"""
)


@attrs.define(kw_only=True, eq=False)
class RedisCircuits(RedisScripts):
    """
    Keeps circuits for all processes, on one Redis or Valkey server and its clock.

    Give it to ``CircuitBreaker(shared=...)``; several breakers may share it. A circuit that
    nobody changes for a day is forgotten, which is harmless. When the server loses its data, what
    is open somewhere is told anew.
    """

    prefix: str = "genai_pipeline:circuit:"
    """What the keys begin with; one key for each circuit."""

    async def read(self, name: str, /) -> SharedCircuit | None:
        """Answer the circuit *name*, `None` when nobody has changed it yet, or it was lost."""
        seen = await self.run(_READ, [self.prefix + name])
        return None if seen is None else _circuit(seen)

    async def change(
        self, name: str, expected: int, state: SharedState, seconds: float, openings: int, /
    ) -> tuple[bool, SharedCircuit]:
        """Change the circuit *name* if its generation is *expected*."""
        milliseconds = (round(seconds * 1000), _KEPT_SECONDS * 1000)
        arguments = (expected, state, milliseconds[0], openings, milliseconds[1])
        seen = await self.run(_CHANGE, [self.prefix + name], *arguments)
        return bool(seen[0]), _circuit(seen)


def _circuit(seen: list[Any]) -> SharedCircuit:
    _, generation, state, milliseconds, openings = seen
    return SharedCircuit(
        generation=generation,
        state="open" if state == b"open" else "closed",
        seconds=milliseconds / 1000,
        openings=openings,
    )
