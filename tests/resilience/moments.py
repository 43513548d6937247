"""Letting others begin, while virtual time stands still."""

from __future__ import annotations

import anyio.lowlevel


async def a_moment() -> None:
    """Let the tasks that were started run until each waits for something."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
