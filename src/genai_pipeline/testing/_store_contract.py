"""`StoreContract`: what every store promises, as tests."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, ClassVar, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio.from_thread import BlockingPortal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.testing._clock import FakeClock
from genai_pipeline.types import Store

__all__ = ["StoreContract"]

_KEYS = st.sampled_from(["a", "b", "c"])
_ODD_KEYS = ["", " ", "a", "A", "a/b", "../a", "a\0b", "a\n", "clé", "cle\u0301", "%s", "x" * 300]
_SECONDS = st.integers(1, 3)  # few, so that times meet lifetimes


class StoreContract:
    """
    Tests that a store must pass; subclass it and override `make`.

    ::

        class TestMyStore(StoreContract):
            def make(self, clock):
                return MyStore(clock=clock)

    The heart is a state machine: any sequence of put, get, delete and passing time, in which the
    store agrees with a `dict`. A store that is an asynchronous context manager is entered.
    """

    trials: ClassVar[settings] = settings(max_examples=30, stateful_step_count=25, deadline=None)
    """How many sequences to try on each event loop, and how long ones."""

    def make(self, clock: Clock) -> Store[Any]:
        """Answer a new and empty store that tells time by *clock*; called many times."""
        raise NotImplementedError

    def value(self, text: str) -> Any:
        """Answer a value to put, different for each *text*; override it if text is none."""
        return text

    def test_agrees_with_a_dict(self, anyio_backend_name: str) -> None:
        """Any sequence of operations gives what a dict with expiry would give."""

        class Machine(_Machine):
            contract = self

        with anyio.from_thread.start_blocking_portal(anyio_backend_name) as portal:
            Machine.portal = portal
            self._try(Machine)

    def _try(self, machine: type[_Machine]) -> None:
        run_state_machine_as_test(machine, settings=self.trials)  # type: ignore[no-untyped-call,unused-ignore]

    def test_later_put_replaces_value_and_lifetime(self, anyio_backend_name: str) -> None:
        """The last put decides on the value and on its lifetime, whatever was there before."""

        async def check() -> None:
            clock, new = FakeClock(), self.value("new")
            store: Any = self.make(clock)
            async with _Entered(store):
                for key, first, second in (("a", 5, None), ("b", None, 5), ("c", 5, 15)):
                    await store.put(key, self.value("old"), ttl=first)
                    await store.put(key, new, ttl=second)
                clock.advance(10)
                assert [await store.get(key) for key in "abc"] == [new, None, new]
                clock.advance(10)
                assert [await store.get(key) for key in "abc"] == [new, None, None]

        anyio.run(check, backend=anyio_backend_name)

    def test_any_text_is_a_key(self, anyio_backend_name: str) -> None:
        """Keys that look like paths, are empty, long or hold odd characters are all different."""

        async def check() -> None:
            store: Any = self.make(FakeClock())
            async with _Entered(store):
                for number, key in enumerate(_ODD_KEYS):
                    await store.put(key, self.value(f"{number}"))
                for number, key in enumerate(_ODD_KEYS):
                    assert await store.get(key) == self.value(f"{number}"), key

        anyio.run(check, backend=anyio_backend_name)

    def test_lifetime_is_a_number_above_zero(self, anyio_backend_name: str) -> None:
        """A ttl that is zero, negative or not a number is a ConfigurationError."""

        async def check() -> None:
            store: Any = self.make(FakeClock())
            async with _Entered(store):
                for ttl in (0, -1.0, math.nan):
                    with pytest.raises(ConfigurationError, match="ttl"):
                        await store.put("key", self.value("text"), ttl=ttl)
                assert await store.get("key") is None

        anyio.run(check, backend=anyio_backend_name)

    def test_concurrent_calls_do_not_disturb_each_other(self, anyio_backend_name: str) -> None:
        """Many tasks, each with a key of its own, all find their own last value."""

        async def check() -> None:
            store: Any = self.make(FakeClock())

            async def work(name: str) -> None:
                for turn in range(10):
                    await store.put(name, self.value(f"{name} {turn}"))
                    assert await store.get(name) == self.value(f"{name} {turn}")
                    await anyio.lowlevel.checkpoint()

            async with _Entered(store), anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(work, f"task {number}")

        anyio.run(check, backend=anyio_backend_name)


class _Entered:
    """Enters a store that has a life cycle."""

    def __init__(self, store: Any) -> None:
        self._manager = store if hasattr(type(store), "__aenter__") else None

    async def __aenter__(self) -> None:
        if self._manager is not None:
            await self._manager.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        if self._manager is not None:
            await self._manager.__aexit__(*raised)


class _Machine(RuleBasedStateMachine):
    """A store beside a dict, one event loop for all steps."""

    portal: ClassVar[BlockingPortal]
    contract: ClassVar[StoreContract]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.model: dict[str, tuple[object, float]] = {}
        self._stack = ExitStack()
        self.store = self.contract.make(self.clock)
        self._stack.enter_context(
            self.portal.wrap_async_context_manager(cast("Any", _Entered(self.store)))
        )

    def teardown(self) -> None:
        self._stack.close()

    def _call(self, function: Callable[..., Awaitable[Any]], *args: object) -> Any:
        return self.portal.call(function, *args)

    def _expected(self, key: str) -> object:
        value, expiry = self.model.get(key, (None, math.inf))
        return value if self.clock.now() < expiry else None

    @rule(key=_KEYS, text=st.text(), ttl=st.none() | _SECONDS)
    def put(self, key: str, text: str, ttl: int | None) -> None:
        self._put(key, text, ttl)

    @rule(key=_KEYS, text=st.text(), ttl=_SECONDS, seconds=_SECONDS)
    def put_and_wait(self, key: str, text: str, ttl: int, seconds: int) -> None:
        self._put(key, text, ttl)
        self.clock.advance(seconds)

    def _put(self, key: str, text: str, ttl: int | None) -> None:
        value = self.contract.value(text)

        async def put() -> None:
            await self.store.put(key, value, ttl=ttl)

        self._call(put)
        self.model[key] = (value, math.inf if ttl is None else self.clock.now() + ttl)

    @rule(key=_KEYS)
    def get(self, key: str) -> None:
        assert self._call(self.store.get, key) == self._expected(key)

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        self._call(self.store.delete, key)
        self.model.pop(key, None)

    @rule(seconds=_SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def agrees(self) -> None:
        async def look() -> dict[str, object]:
            return {key: await self.store.get(key) for key in self.model}

        assert self._call(look) == {key: self._expected(key) for key in self.model}
