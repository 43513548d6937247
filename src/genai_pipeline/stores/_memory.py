"""`Memory`: values in this process."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Generic, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.clock import Clock, SystemClock

__all__ = ["Memory"]

V = TypeVar("V")


@attrs.define(kw_only=True, eq=False)
class Memory(Generic[V]):
    """
    Keeps values in memory, at most *max_entries*; beyond that, the longest unused one goes.

    Gone with the process, and not shared with others. A value is the very object that was put,
    so do not change it afterwards. For one event loop; not for several threads.
    """

    max_entries: int = attrs.field(default=10_000, validator=_options.at_least(1))
    """The most entries it keeps; an expired one counts until it is met."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False)

    _entries: OrderedDict[str, tuple[V, float]] = attrs.field(
        factory=OrderedDict, init=False, repr=False
    )

    async def get(self, key: str, /) -> V | None:
        """Answer the value of *key*, or `None` when there is none or it has expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, expiry = entry
        if self.clock.now() >= expiry:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: V, /, *, ttl: float | None = None) -> None:
        """
        Keep *value* under *key*, replacing any other, for *ttl* seconds (`None`: no end).

        Raises `ConfigurationError` unless *ttl* is above zero.
        """
        check(ttl is None or ttl > 0, self, "ttl", ttl, "seconds above 0, or None")
        self._entries[key] = (value, math.inf if ttl is None else self.clock.now() + ttl)
        self._entries.move_to_end(key)
        if len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)

    async def delete(self, key: str, /) -> None:
        """Forget *key*; unknown keys are no error."""
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
