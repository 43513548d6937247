"""A key that a function answers, kept until it expires or is refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from genai_pipeline import _options
from genai_pipeline._key_sources import Key
from genai_pipeline._options import apply, check, is_number, seconds
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    PipelineError,
    classify,
)

__all__ = ["Answered", "KeyFunction"]

Answered: TypeAlias = str | tuple[str, float]

_PATIENCE = 5.0
"""Seconds before the function is asked again about a key, when asking did not help."""

_PAIR = 2


class _Lease:
    """A key, and until when it holds."""

    __slots__ = ("ends", "key")

    def __init__(self, key: Key, ends: float) -> None:
        self.key = key
        self.ends = ends


class KeyFunction:
    """Asks *get* for the key; one call at a time in each event loop."""

    def __init__(
        self,
        get: Callable[[], Answered | Awaitable[Answered]],
        *,
        early: float,
        clock: Clock | None,
    ) -> None:
        fine = callable(get) and not isinstance(get, type)
        check(fine, "Secret.from_function", "get", get, "a function that answers the key")
        apply(seconds, "Secret.from_function", "early", early)
        apply(_options.clock, "Secret.from_function", "clock", clock or SystemClock())
        self._get = get
        self._early = early
        self._clock = clock or SystemClock()
        self._given_clock = clock
        self._lease: _Lease | None = None
        self._asked = -math.inf
        self._doubted: Key | None = None
        self._turns: RunVar[anyio.Lock] = RunVar("genai_pipeline_key")

    def __str__(self) -> str:
        return f"from {self._name}"

    @property
    def _name(self) -> str:
        return f"the function {getattr(self._get, '__qualname__', type(self._get).__qualname__)}"

    async def current(self, who: str) -> Key:
        """Answer the key, after asking for it when there is none that holds."""
        lease = self._lease
        if lease is not None and self._clock.now() < lease.ends - self._early:
            return lease.key
        if lease is not None and self._turn().locked() and self._clock.now() < lease.ends:
            return lease.key  # somebody asks already
        async with self._turn():
            lease, now = self._lease, self._clock.now()
            if lease is not None and now < lease.ends - self._early:
                return lease.key  # somebody asked meanwhile
            if lease is not None and now < lease.ends:
                return await self._early_key(lease, who)
            return (await self._ask(who)).key

    async def renew(self, used: Key, who: str) -> bool:
        """Ask again, unless that was done already since *used* was in use."""
        async with self._turn():
            lease = self._lease
            if lease is None or lease.key is not used:
                return True
            if self._doubted is used and self._clock.now() < self._asked + _PATIENCE:
                return False
            self._doubted = used
            return (await self._ask(who)).key is not used

    def reference(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """Answer the function, which is pickled by its name."""
        return "from_function", (self._get,), {"early": self._early, "clock": self._given_clock}

    def _turn(self) -> anyio.Lock:
        lock = self._turns.get(None)
        if lock is None:
            lock = anyio.Lock()
            self._turns.set(lock)
        return lock

    async def _early_key(self, lease: _Lease, who: str) -> Key:
        if self._clock.now() < self._asked + _PATIENCE:
            return lease.key
        try:
            return (await self._ask(who)).key
        except PipelineError:
            return lease.key  # it still holds, and the next call asks again

    async def _ask(self, who: str) -> _Lease:
        self._asked = self._clock.now()
        problem: PipelineError
        try:
            lease = self._read(await self._called())
        except PipelineError:
            raise
        except Exception as error:  # noqa: BLE001 - of any kind
            problem = _meaning(error, f"{who}: no API key, since {self._name}")
        else:
            if lease is not None:
                self._lease = lease
                return lease
            problem = ConfigurationError(
                f"{who}: no API key, since {self._name} answered none; let it answer a text that "
                "is not empty, or a pair of that and the seconds it lasts"
            )
        # Raised out here, without a context: the function's error and its frames may hold the key.
        raise problem

    async def _called(self) -> object:
        call = getattr(self._get, "__call__", None)  # noqa: B004 - it may be an async one
        if any(map(inspect.iscoroutinefunction, (self._get, call))):
            return await cast("Awaitable[object]", self._get())
        # In a list, since trio takes no coroutine out of a thread.
        (answer,) = await anyio.to_thread.run_sync(lambda: [self._get()], abandon_on_cancel=True)
        return await answer if inspect.isawaitable(answer) else answer

    def _read(self, answer: object) -> _Lease | None:
        """Answer what *answer* means, if it is a key; never raises, since its frame holds it."""
        text, lasts = answer, math.inf
        if isinstance(answer, tuple) and len(answer) == _PAIR:
            text, lasts = answer
        if not (isinstance(text, str) and text.strip() and is_number(lasts) and lasts > 0):
            return None
        text = text.strip()
        last = self._lease
        key = last.key if last is not None and last.key.text == text else Key(text)
        return _Lease(key, self._asked + lasts)


def _meaning(error: Exception, told: str) -> PipelineError:
    kind = type(error).__name__
    if classify(error) == "transient":
        return ConnectionFailed(f"{told} raised {kind}", sent=False)
    return AuthenticationFailed(f"{told} raised {kind}")
