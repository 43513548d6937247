"""The time of an attempt, which stands still while the attempt waits in line for money."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio

from genai_pipeline.clock import Clock

__all__ = ["AttemptTime", "attempt_time", "untimed"]


class AttemptTime:
    """
    When an attempt is to be cut off: *until*, on *clock*, but at *deadline* whatever it waits for.

    *postpone* moves the deadline of the scope that is given to `begin`.
    """

    __slots__ = ("_clock", "_deadline", "_left", "_outer", "_postpone", "_scope", "_waits", "until")

    def __init__(
        self,
        clock: Clock,
        postpone: Callable[[anyio.CancelScope, float], None],
        until: float,
        deadline: float,
    ) -> None:
        self.until = until
        self._clock = clock
        self._postpone = postpone
        self._deadline = deadline
        self._outer = _current.get()
        self._scope: anyio.CancelScope | None = None
        self._left = 0.0
        self._waits = 0

    def begin(self, scope: anyio.CancelScope) -> None:
        """Note the scope that cuts the attempt off."""
        self._scope = scope

    def stop(self) -> None:
        """Stand still, as the attempts around this one, until `go_on` was called as often."""
        if not self._waits:
            self._left = self.until - self._clock.now()
            self._move(self._deadline)
        self._waits += 1
        if self._outer is not None:
            self._outer.stop()

    def go_on(self) -> None:
        """Go on with the time that was left."""
        self._waits -= 1
        if not self._waits:
            self.until = self._clock.now() + self._left
            self._move(min(self.until, self._deadline))
        if self._outer is not None:
            self._outer.go_on()

    def _move(self, deadline: float) -> None:
        if self._scope is not None:
            self._postpone(self._scope, deadline)


_current: ContextVar[AttemptTime | None] = ContextVar("genai_pipeline_attempt", default=None)


@contextmanager
def attempt_time(time: AttemptTime) -> Iterator[None]:
    """Let *time* be that of the attempt made inside the block."""
    token = _current.set(time)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def untimed() -> Iterator[None]:
    """Let what is waited for inside the block use up no attempt's time."""
    time = _current.get()
    if time is None:
        yield
        return
    time.stop()
    try:
        yield
    finally:
        time.go_on()
