"""Connections in several small pools, with one queue in front of them all."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import attrs
import httpx

__all__ = ["Pool", "Pools"]

_GROW_AT = 8


@attrs.define(eq=False)
class Pool:
    """A transport and how many exchanges it carries now."""

    transport: httpx.AsyncBaseTransport
    in_flight: int = 0


class Pools:
    """
    Hands out places in *count* pools of *size* connections, *total* at a time in all.

    A request never queues inside a pool: httpx's own loses the connection of a request that is
    cancelled there, and looks at each of its connections for each request, so it must be small.
    """

    def __init__(
        self,
        make: Callable[[], httpx.AsyncBaseTransport],
        *,
        total: int,
        size: int,
    ) -> None:
        self._make = make
        self._count = -(-total // size)
        self._places = anyio.Semaphore(total, fast_acquire=True)
        self._pools: list[Pool] = []
        self._retired: list[Pool] = []

    async def take(self) -> Pool:
        """Wait for a free place; answer the pool that carries least."""
        await self._places.acquire()
        try:
            pool = self._least_loaded()
        except BaseException:
            self._places.release()
            raise
        pool.in_flight += 1
        return pool

    def give_back(self, pool: Pool) -> None:
        """Free the place that `take` gave in *pool*."""
        pool.in_flight -= 1
        self._places.release()

    def retire(self, pool: Pool) -> None:
        """
        Use *pool* no more, and a new one in its stead.

        For a pool that says it is full though we know that it is not. It is closed at the end:
        others may still be reading from it.
        """
        if pool in self._pools:
            self._pools.remove(pool)
            self._retired.append(pool)

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools, self._retired = self._pools + self._retired, [], []
        for pool in pools:
            await pool.transport.aclose()

    def _least_loaded(self) -> Pool:
        least = min(self._pools, key=_load, default=None)
        if least is None or (least.in_flight >= _GROW_AT and len(self._pools) < self._count):
            least = Pool(self._make())
            self._pools.append(least)
        return least


def _load(pool: Pool) -> int:
    return pool.in_flight
