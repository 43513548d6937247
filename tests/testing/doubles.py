"""The smallest source and sinks there can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import genai_pipeline as gp


class Listed:
    """Delivers values, and keeps how each delivery was settled."""

    def __init__(self, *values: Any) -> None:
        self.values = values
        self.settled: dict[str, list[Exception | None]] = {}
        self._next = 0

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
        while self._next < len(self.values):
            number = self._next
            self._next += 1
            yield self._delivery(str(number), self.values[number])

    def _delivery(self, key: str, value: Any) -> gp.Delivery[Any]:
        async def settle(error: Exception | None) -> None:
            self.settled.setdefault(key, []).append(error)

        return gp.Delivery(gp.Record(value, key), settle)


class Written:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    async def __call__(self, record: gp.Record[Any]) -> None:
        self.values.append(record.value)


class Buried:
    """Keeps dead letters."""

    def __init__(self) -> None:
        self.letters: list[gp.DeadLetter] = []

    async def __call__(self, record: gp.Record[gp.DeadLetter]) -> None:
        self.letters.append(record.value)
