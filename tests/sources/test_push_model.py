"""`Push` against a model: whatever happens in whatever order, each put has the end it should."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import anyio.abc
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline.errors import Stopped
from genai_pipeline.records import Delivery
from genai_pipeline.sources import Push

_OPERATIONS = st.one_of(
    st.just(("put", 0)),
    st.just(("put", 0)),
    st.just(("read", 0)),
    st.just(("leave", 0)),
    st.just(("close", 0)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
)


class _World:
    """A source, its senders and its reader, beside the plain lists that say what must be."""

    def __init__(self, capacity: int, tasks: anyio.abc.TaskGroup) -> None:
        self.push: Push[int] = Push(capacity=capacity)
        self.tasks = tasks
        self.scopes: list[anyio.CancelScope] = []
        self.ends: dict[int, str] = {}
        self.expected: dict[int, str] = {}
        self.waiting: list[int] = []
        self.unheard: set[int] = set()
        self.reader: AsyncGenerator[Delivery[int], None] | None = None
        self.refusing = self.closed = False

    async def _send(self, number: int, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await self.push.submit(number, key=number)
                self.ends[number] = "done"
            except Stopped:
                self.ends[number] = "stopped"
        if scope.cancelled_caught:
            self.ends[number] = "cancelled"

    def put(self, _: int) -> None:
        """Send one more; it waits, unless nothing is accepted any more."""
        number = len(self.scopes)
        self.scopes.append(anyio.CancelScope())
        if self.refusing or self.closed:
            self.expected[number] = "stopped"
        else:
            self.waiting.append(number)
        self.tasks.start_soon(self._send, number, self.scopes[number])

    def cancel(self, number: int) -> None:
        """Cancel a sender; what is queued already stays, and nobody hears of its end."""
        if number not in self.waiting or number in self.unheard:
            return
        self.expected[number] = "cancelled"
        if self.waiting.index(number) < self.push.capacity:
            self.unheard.add(number)
        else:
            self.waiting.remove(number)
        self.scopes[number].cancel()

    async def read(self, _: int) -> None:
        """Read one and settle it, if one is there."""
        if not self.waiting:
            return
        if self.reader is None:
            self.reader, self.refusing = aiter(self.push), False
        delivery = await anext(self.reader)
        number = self.waiting.pop(0)
        assert delivery.record.value == number
        self.expected.setdefault(number, "done")
        await delivery.settle(None)

    async def leave(self, _: int) -> None:
        """Close the reading; everybody who waits is handed back."""
        if self.reader is None:
            return
        await self.reader.aclose()
        self.reader, self.refusing = None, True
        self._stop(self.waiting)
        self.waiting = []

    def close(self, _: int) -> None:
        """Close the source; who waits for room is turned away."""
        self.push.close()
        self.closed = True
        self._stop(self.waiting[self.push.capacity :])
        self.waiting = self.waiting[: self.push.capacity]

    def _stop(self, numbers: list[int]) -> None:
        for number in numbers:
            self.expected.setdefault(number, "stopped")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=30, deadline=None)
@given(capacity=st.integers(1, 3), operations=st.lists(_OPERATIONS, max_size=25))
def test_every_put_ends_as_the_model_says(
    backend: str, capacity: int, operations: list[tuple[str, int]]
) -> None:
    """Records are read in the order of their puts, and each sender hears the right end."""

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            world = _World(capacity, tasks)
            for operation, number in operations:
                done = getattr(world, operation)(number)
                if done is not None:
                    await done
                await wait_all_tasks_blocked()
                assert world.ends == world.expected
            while world.waiting:
                await world.read(0)
            await world.leave(0)
            await wait_all_tasks_blocked()
            assert world.ends == world.expected
            assert len(world.ends) == len(world.scopes)

    anyio.run(main, backend=backend)
