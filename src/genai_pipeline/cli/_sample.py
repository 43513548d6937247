"""The first records of a source, and a source whose records all go back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from typing import Any

import attrs

from genai_pipeline._closing import close_deliveries
from genai_pipeline._lifespan import Composite
from genai_pipeline.errors import Stopped
from genai_pipeline.records import Delivery

__all__ = ["HandedBack", "Narrowed", "Sample"]


@attrs.frozen(eq=False, slots=False)
class Narrowed(Composite):
    """A source made of another."""

    source: Any

    def parts(self) -> Iterable[object]:
        """Answer the source: what is entered and left with this."""
        return (self.source,)


@attrs.frozen(eq=False, slots=False)
class Sample(Narrowed):
    """Reads only the first *most* records of *source*, and asks it for no more."""

    most: int

    async def __aiter__(self) -> AsyncGenerator[Delivery[Any], None]:
        """Begin a fresh reading."""
        left = self.most
        deliveries = aiter(self.source)
        try:
            async for delivery in deliveries:
                left -= 1
                yield delivery
                if left == 0:
                    return
        finally:
            await close_deliveries(deliveries)


@attrs.frozen(eq=False, slots=False)
class HandedBack(Narrowed):
    """Reads *source* and hands every record back to it, however it ends."""

    async def __aiter__(self) -> AsyncGenerator[Delivery[Any], None]:
        """Begin a fresh reading."""
        deliveries = aiter(self.source)
        try:
            async for delivery in deliveries:
                yield attrs.evolve(delivery, settle=_Refusal(delivery))
        finally:
            await close_deliveries(deliveries)


@attrs.frozen
class _Refusal:
    """Settles a delivery as handed back, whatever became of it."""

    delivery: Delivery[Any]

    async def __call__(self, error: Exception | None) -> None:
        await self.delivery.settle(error or Stopped("a dry run finishes no record"))
