"""The store in memory."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings

from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.stores import Memory
from genai_pipeline.testing import FakeClock, StoreContract
from genai_pipeline.types import Store

pytestmark = pytest.mark.anyio


class TestMemoryContract(StoreContract):
    """Memory keeps what every store promises."""

    def make(self, clock: Clock) -> Store[str]:
        """Make a store with room for all that the contract puts."""
        return Memory(clock=clock)


async def test_longest_unused_entry_goes_first() -> None:
    """Beyond max_entries, the entry goes that was neither put nor got for the longest time."""
    store: Memory[int] = Memory(max_entries=2)
    await store.put("a", 1)
    await store.put("b", 2)
    assert await store.get("a") == 1
    await store.put("c", 3)
    assert [await store.get(key) for key in "abc"] == [1, None, 3]


async def test_never_holds_more_than_it_may() -> None:
    """However many keys are put, the store stays within max_entries."""
    store: Memory[int] = Memory(max_entries=10)
    for number in range(1000):
        await store.put(str(number), number)
    assert len(store) == 10


async def test_expired_entry_makes_room() -> None:
    """An entry that is met after its time is forgotten, not just hidden."""
    clock = FakeClock()
    store: Memory[int] = Memory(clock=clock)
    await store.put("a", 1, ttl=5)
    clock.advance(5)
    assert await store.get("a") is None
    assert len(store) == 0


def test_room_for_nothing_is_refused() -> None:
    """A bound below one is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match="max_entries=0"):
        Memory(max_entries=0)


class _Stale(Memory[str]):
    """Forgets that a put without a lifetime ends the old one."""

    async def put(self, key: str, value: str, /, *, ttl: float | None = None) -> None:
        old = self._entries.get(key)
        await super().put(key, value, ttl=ttl)
        if old is not None and ttl is None:
            self._entries[key] = (value, old[1])


class _Undead(Memory[str]):
    """Deletes nothing."""

    async def delete(self, key: str, /) -> None:
        pass


class _Late(Memory[str]):
    """Keeps everything a second too long."""

    async def put(self, key: str, value: str, /, *, ttl: float | None = None) -> None:
        await super().put(key, value, ttl=None if ttl is None else ttl + 1)


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (_Stale, "test_later_put_replaces_value_and_lifetime"),
        (_Undead, "test_agrees_with_a_dict"),
        (_Late, "test_agrees_with_a_dict"),
    ],
)
def test_contract_catches_a_broken_store(
    broken: type[Memory[str]], law: str, anyio_backend_name: str
) -> None:
    """A store that does not agree with a dict fails the contract."""

    class Broken(StoreContract):
        trials = settings(derandomize=True, phases=[Phase.generate], deadline=None)

        def make(self, clock: Clock) -> Store[str]:
            return broken(clock=clock)

    with pytest.raises(AssertionError):
        getattr(Broken(), law)(anyio_backend_name)
