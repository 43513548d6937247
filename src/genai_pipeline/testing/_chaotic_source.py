"""`ChaoticSource`: a source over a bad transport."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Generic, TypeVar

import anyio

from genai_pipeline._closing import close_deliveries
from genai_pipeline._lifespan import Composite
from genai_pipeline.errors import Stopped, Transient
from genai_pipeline.records import Delivery
from genai_pipeline.testing._faults import check_rates

__all__ = ["ChaoticSource"]

A = TypeVar("A")

_CLOSE_SECONDS = 10.0


class ChaoticSource(Composite, Generic[A]):
    """
    Delivers what *source* does: some of it twice, out of order, or after a failure to read.

    Made by `Chaos.source`. Every delivery of *source* is handed on once, with its own
    ``settle``; a duplicate is a delivery more, of the same record, and nobody hears how it ended.
    A swap holds one delivery back until the next one is read or the source ends, and hands it
    back to its source when the reader goes away meanwhile. A failure raises before anything is
    read, so nothing is lost; iterating anew goes on with the next number.
    """

    def __init__(
        self,
        source: AsyncIterable[Delivery[A]],
        *,
        seed: int,
        duplicate: float,
        swap: float,
        fail: float,
        injected: Counter[str],
    ) -> None:
        check_rates({"duplicate": duplicate, "swap": swap, "fail": fail}, "Chaos.source")
        self._source = source
        self._seed = seed
        self._duplicate = duplicate
        self._swap = swap
        self._fail = fail
        self._injected = injected
        self._reads = 0

    def parts(self) -> tuple[object, ...]:
        """Answer the source, which is entered and left with this."""
        return (self._source,)

    async def __aiter__(self) -> AsyncIterator[Delivery[A]]:
        """Begin to read the source, which must be one that can be read anew after a failure."""
        deliveries = aiter(self._source)
        held: Delivery[A] | None = None
        try:
            while True:
                chance = self._chance()
                if held is None:
                    self._read_or_fail(chance)
                try:
                    delivery = await anext(deliveries)
                except StopAsyncIteration:
                    break
                if held is None and self._happens("swap", self._swap, chance):
                    held = delivery
                    continue
                yield delivery
                if self._happens("duplicate", self._duplicate, chance):
                    yield Delivery(delivery.record, error=delivery.error)
                if held is not None:
                    given, held = held, None
                    yield given
            if held is not None:
                given, held = held, None
                yield given
        finally:
            await _close(deliveries, held)

    def _read_or_fail(self, chance: random.Random) -> None:
        if self._happens("fail", self._fail, chance):
            raise Transient(f"chaos: read {self._reads - 1} of seed {self._seed} failed")

    def _happens(self, fault: str, rate: float, chance: random.Random) -> bool:
        happens = chance.random() < rate
        self._injected[f"source_{fault}"] += happens
        return happens

    def _chance(self) -> random.Random:
        number = self._reads
        self._reads += 1
        return random.Random(f"{self._seed}/source/{number}")  # noqa: S311 - no secret


async def _close(deliveries: AsyncIterator[Any], held: Delivery[Any] | None) -> None:
    """Hand back what was held when the reader went away, and end the source's iterator."""
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        if held is not None:
            await held.settle(Stopped("the reader went away before the record was delivered"))
        await close_deliveries(deliveries)
