"""Seeing that records die alike, however many went well before."""

from __future__ import annotations

from collections import defaultdict, deque

__all__ = ["LATEST", "FailuresAlike"]

LATEST = 100
"""So many of the latest records that ended are looked at."""


class FailuresAlike:
    """Counts failures of one kind among the latest records that ended."""

    def __init__(self) -> None:
        self._ends: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=LATEST))

    def count(self, kind: str, ended: int) -> int:
        """Note a failure of *kind*, of the *ended*-th record; answer how many are recent."""
        ends = self._ends[kind]
        ends.append(ended)
        while ends[0] <= ended - LATEST:
            ends.popleft()
        return len(ends)
