"""The life cycle that sinks share which write in groups to one place."""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import anyio
import anyio.to_thread
import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.sinks._grouping import Grouping

__all__ = ["Place", "Writer"]

T = TypeVar("T")


class Place(Protocol[T]):
    """Where a sink's output goes during one life cycle. All of it blocks, one call at a time."""

    @property
    def name(self) -> str:
        """What errors call this."""
        ...

    def open(self) -> None:
        """Prepare everything that can fail, so that it fails before the run begins."""
        ...

    def write(self, items: list[T], /) -> None:
        """Take all *items*, or none and raise."""
        ...

    def close(self, *, failed: bool) -> None:
        """End it; *failed* tells that the run raised. Raises if what was taken is not safe."""
        ...


class _Session(Generic[T]):
    """One life cycle: an open place, and the calls that write to it."""

    def __init__(self, place: Place[T], clock: Clock, timeout: float) -> None:
        self.write = Grouping(commit=self._commit, clock=clock, timeout=timeout, place=place.name)
        self.ready = False
        self._place = place
        self._clock = clock
        self._timeout = timeout
        # Only contended after a time-out, when a thread may still hang in the place.
        self._turn = threading.Lock()

    def _commit(self, items: list[T]) -> None:
        with self._turn:
            self._place.write(items)

    def _close(self, failed: bool) -> None:  # noqa: FBT001 - run_sync passes by position
        with self._turn:
            self._place.close(failed=failed)

    async def open(self) -> None:
        await anyio.to_thread.run_sync(self._place.open)
        self.ready = True

    async def close(self, *, failed: bool) -> None:
        """End it even if this task is cancelled, but wait for the disk no longer than allowed."""
        self.ready = False
        with self._clock.cancel_at(self._clock.now() + self._timeout) as scope:
            scope.shield = True
            await self.write.idle()
            await anyio.to_thread.run_sync(self._close, failed, abandon_on_cancel=True)
        if scope.cancelled_caught:
            raise StorageFailed(
                f"{self._place.name}: not finished after {self._timeout:g} s; the disk hangs, or "
                "timeout= is too short for it"
            )


@attrs.define(kw_only=True, eq=False)
class Writer(Generic[T]):
    """Opens a place when it is entered, writes to it, and closes it when it is left."""

    timeout: float = attrs.field(default=300.0, validator=_options.positive)
    """Seconds the disk may take over one write, and over the end, before it counts as failing."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False)

    _session: _Session[T] | None = attrs.field(default=None, init=False, repr=False)

    def _place(self) -> Place[T]:
        raise NotImplementedError

    def _write(self, item: T) -> Awaitable[None]:
        session = self._session
        if session is None or not session.ready:
            raise ConfigurationError(
                f"{self!r} is not open; give it to a Pipeline, or write `async with` around its use"
            )
        return session.write(item)

    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise ConfigurationError(
                f"{self!r} is open already; one sink object serves one run at a time"
            )
        self._session = _Session(self._place(), self.clock, self.timeout)
        try:
            await self._session.open()
        except BaseException:
            self._session = None
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        check(session is not None, self, "async with", "left", "a sink that was entered")
        assert session is not None
        await session.close(failed=error is not None)
