"""Reading a whole source, for the tests here."""

from __future__ import annotations

from typing import Any

from genai_pipeline.errors import DataError
from genai_pipeline.records import Delivery
from genai_pipeline.types import Source

__all__ = ["errors", "keys", "read", "values"]


async def read(source: Source[Any]) -> list[Delivery[Any]]:
    """Answer everything that *source* delivers, settled."""
    deliveries = []
    async for delivery in source:
        await delivery.settle(None)
        deliveries.append(delivery)
    return deliveries


def values(deliveries: list[Delivery[Any]]) -> list[Any]:
    """Answer the values of what carries no error."""
    return [each.record.value for each in deliveries if each.error is None]


def keys(deliveries: list[Delivery[Any]]) -> list[str]:
    """Answer all keys."""
    return [each.record.key for each in deliveries]


def errors(deliveries: list[Delivery[Any]]) -> list[DataError]:
    """Answer the errors, each of which says the same as its record does."""
    found = [each for each in deliveries if each.error is not None]
    for each in found:
        assert isinstance(each.error, DataError)
        assert each.error.origin == each.record.attributes["origin"]
        assert each.error.payload == each.record.value
    return [each.error for each in found if isinstance(each.error, DataError)]
