"""Ending the reading of a source before its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

__all__ = ["close_deliveries"]


async def close_deliveries(deliveries: AsyncIterator[Any]) -> None:
    """Close *deliveries*, where such an iterator can be closed: a generator can, a class may."""
    close = getattr(deliveries, "aclose", None)
    if close is not None:
        await close()
