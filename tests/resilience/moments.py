"""Letting others begin, while virtual time stands still."""

from __future__ import annotations

from typing import TypeVar

import anyio.lowlevel

import genai_pipeline as gp

I = TypeVar("I")
O = TypeVar("O")


async def run(handler: gp.Handler[I, O], value: I) -> O:
    """Call *handler*, as a task group may."""
    return await handler(value)


async def a_moment() -> None:
    """Let the tasks that were started run until each waits for something."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()
