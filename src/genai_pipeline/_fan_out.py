"""Doing the same for several values side by side, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

__all__ = ["FAN_OUT", "for_each"]

A = TypeVar("A")

FAN_OUT = 16
"""How many pieces of one record are under way, unless told otherwise."""


async def for_each(
    values: Sequence[A], work: Callable[[A], Awaitable[None]], *, at_once: int
) -> None:
    """
    Await ``work(value)`` for each of *values*, *at_once* at a time.

    After a failure no other begins; those under way end, since they may be paid for. Then the
    first failure is raised, as it is.
    """
    waiting = iter(values)
    failures: list[Exception] = []

    async def carry() -> None:
        for value in waiting:
            try:
                await work(value)
            except Exception as error:  # noqa: BLE001 - raised below, outside the group
                failures.append(error)
            if failures:
                return

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(values))):
            group.start_soon(carry)
    if failures:
        raise failures[0]
