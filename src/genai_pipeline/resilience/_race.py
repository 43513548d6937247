"""The attempts at one hedged call, side by side."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Generic, TypeVar, cast

import anyio
import attrs
from anyio.abc import TaskGroup

from genai_pipeline.clock import Clock
from genai_pipeline.types import Handler

__all__ = ["Attempt", "Race"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


@attrs.define(eq=False)
class Attempt(Generic[I, O]):
    """One of several attempts at the same call."""

    name: str
    handler: Handler[I, O]
    same: bool = False
    """Whether it goes where the first attempt went."""

    first: bool = False
    """Whether it goes to the handler that the hedge stands around, without having waited."""

    began: float = 0.0
    seconds: float = 0.0
    answered: bool = False
    answer: O | None = None
    error: Exception | None = None


class Race(Generic[I, O]):
    """
    Runs the first attempt, and others beside it as they become due; the first answer wins.

    The others are cancelled and awaited. *may_begin* is asked before each further attempt, with
    the failure that makes it due, if it is one, and begins nothing more when it says no.
    """

    def __init__(
        self,
        value: I,
        attempts: Iterable[Attempt[I, O]],
        *,
        delay: float,
        goes_on: Callable[[Exception], bool],
        may_begin: Callable[[Attempt[I, O], Exception | None], bool],
        clock: Clock,
    ) -> None:
        self._value = value
        self._left = deque(attempts)
        self._delay = delay
        self._goes_on = goes_on
        self._may_begin = may_begin
        self._clock = clock
        self._due: float
        self._changed: anyio.Event
        self._running = 0
        self._failure: Exception | None = None
        self.begun: list[Attempt[I, O]] = []
        self.winner: Attempt[I, O] | None = None
        self.fatal: Exception | None = None
        """A failure that no further attempt would mend."""

    async def run(self) -> None:
        """Run until one has answered, one failed for good, or all failed."""
        async with anyio.create_task_group() as group:
            self._begin(group)
            while self._running and self.winner is None and self.fatal is None:
                self._changed = anyio.Event()
                with self._clock.cancel_at(self._due if self._left else math.inf):
                    await self._changed.wait()
                if self.winner is None and self.fatal is None:
                    self._begin_if_due(group)
            if self._running:  # cancelling costs, also where nothing is left
                group.cancel_scope.cancel()
        now = self._clock.now()
        for attempt in self.begun:
            if not attempt.answered and attempt.error is None:
                attempt.seconds = now - attempt.began

    def _begin_if_due(self, group: TaskGroup) -> None:
        failure, self._failure = self._failure, None
        if not self._left or (failure is None and self._clock.now() < self._due):
            return
        if self._may_begin(self._left[0], failure):
            self._begin(group)
        else:
            self._left.clear()

    def _begin(self, group: TaskGroup) -> None:
        """Begin the next attempt, and note when the one after it is due."""
        attempt = self._left.popleft()
        attempt.began = self._clock.now()
        self.begun.append(attempt)
        self._running += 1
        group.start_soon(self._attempt, attempt)
        self._due = attempt.began + self._delay

    def forget(self) -> None:
        """Let go of all errors, whose frames may lead back here."""
        self._failure = self.fatal = None
        for attempt in self.begun:
            attempt.error = None

    async def _attempt(self, attempt: Attempt[I, O]) -> None:
        try:
            attempt.answer = await attempt.handler(self._value)
            attempt.answered = True
        except Exception as error:  # noqa: BLE001 - judged by whoever runs the race
            # Without this frame, which refers to the error.
            trace = cast("TracebackType", error.__traceback__).tb_next
            attempt.error = error.with_traceback(trace)
        finally:
            self._running -= 1
        attempt.seconds = self._clock.now() - attempt.began
        if attempt.answered:
            self.winner = self.winner or attempt
        else:
            self._judge(cast("Exception", attempt.error))
        self._changed.set()

    def _judge(self, error: Exception) -> None:
        try:
            goes_on = self._goes_on(error)
        except Exception as mistake:  # noqa: BLE001 - of a user's function; raised to the caller
            goes_on, error = False, mistake
        if goes_on:
            self._failure = error
        else:
            self.fatal = self.fatal or error
