"""`SingleFlight`: one call at a time for each key, shared by all who ask meanwhile."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

import anyio
import attrs
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar

from genai_pipeline._lifespan import Lifespan
from genai_pipeline.resilience._marks import fresh
from genai_pipeline.walk import Walk, current_deadline, current_walk, detach

__all__ = ["SingleFlight"]

O = TypeVar("O")  # noqa: E741 - the output of an arrow

_REMEMBERED = 4096

Work = Callable[[], Awaitable[O]]
After = Callable[[O], Awaitable[None]]


@attrs.define(eq=False)
class _Ended(Generic[O]):
    """How a flight ended: by an answer, or an error."""

    answer: O | None
    error: Exception | None
    taken: bool = False

    def take(self) -> tuple[O, bool]:
        """Answer what came out, and whether somebody took it before; raise what went wrong."""
        if self.error is not None:
            raise fresh(self.error)
        before, self.taken = self.taken, True
        return cast("O", self.answer), before


class _Flight(Generic[O]):
    """One call that several wait for, in a task of its own."""

    def __init__(self, *, shielded: bool) -> None:
        self.ended: _Ended[O] | None = None
        self._landed = anyio.Event()
        self._scope = anyio.CancelScope(shield=shielded)
        self._waiting = 0
        self._deadline = -math.inf
        self._walk: Walk | None = None
        self._attempts: int

    async def run(self, work: Work[O], after: After[O]) -> None:
        """Do the work, tell who waits, and do what is to be done after."""
        self._walk = detach()
        if self._walk is not None:
            self._walk.deadline = self._deadline
            self._attempts = self._walk.attempts
        try:
            with self._scope:
                try:
                    self.ended = _Ended(await work(), None)
                except Exception as error:  # noqa: BLE001 - raised to each who waits
                    # Without this frame, which refers to the error.
                    trace = cast("TracebackType", error.__traceback__).tb_next
                    self.ended = _Ended(None, error.with_traceback(trace))
        finally:
            self._landed.set()
        if self.ended is not None and self.ended.error is None:
            await after(cast("O", self.ended.answer))

    async def wait(self) -> _Ended[O] | None:
        """
        Wait for the end, and answer it; the last who leaves before takes the work with him.

        `None` when the work was cancelled.
        """
        self._waiting += 1
        self._deadline = max(self._deadline, current_deadline())
        if self._walk is not None:
            self._walk.deadline = self._deadline
        try:
            await self._landed.wait()
        finally:
            self._waiting -= 1
            if not self._waiting and not self._landed.is_set():
                self._scope.cancel()
        self._count_attempts()
        ended = self.ended
        if not self._waiting and ended is not None and ended.error is not None:
            # The error's frames may lead back to this flight, and nobody comes for it any more.
            self.ended = None
        return ended

    @property
    def abandoned(self) -> bool:
        """Whether everybody left before the end."""
        return self.ended is None and self._scope.cancel_called

    def _count_attempts(self) -> None:
        walk = current_walk()
        if walk is not None and self._walk is not None:
            walk.attempts += self._walk.attempts - self._attempts


class _Sky:
    """The flights on one event loop."""

    def __init__(self) -> None:
        self.flights: dict[str, _Flight[Any]] = {}
        self.landings = 0
        self.landed: OrderedDict[str, int] = OrderedDict()

    def land(self, key: str, flight: _Flight[Any]) -> None:
        if self.flights.get(key) is flight:
            del self.flights[key]
        self.landings += 1
        self.landed[key] = self.landings
        self.landed.move_to_end(key)
        if len(self.landed) > _REMEMBERED:
            self.landed.popitem(last=False)


class SingleFlight:
    """
    Lets at most one call be under way for each key; whoever asks meanwhile shares its outcome.

    The call runs in a task of its own, so that it survives the cancellation of whoever began
    it; only when the last who waits has left is it cancelled. In a pipeline the task belongs to
    the run. Elsewhere it belongs to whoever began the call, who then cannot leave before it
    ends while others wait for it.

    Within the call there is no deadline but the latest of those who wait (in a pipeline; none
    elsewhere). An error is raised to each as an object of its own. Calls on different event
    loops do not share.
    """

    def __init__(self) -> None:
        self._sky: RunVar[_Sky] = RunVar("genai_pipeline_flights")

    def landings(self) -> int:
        """Answer a mark for `landed_since`."""
        return self._here().landings

    def landed_since(self, mark: int, key: str) -> bool:
        """Tell whether a call for *key* has ended since *mark* was asked for."""
        return self._here().landed.get(key, 0) > mark

    async def __call__(self, key: str, work: Work[O], after: After[O]) -> tuple[O, bool]:
        """
        Answer what *work* answers, now or for another, and whether another has it already.

        *after* gets an answer while those who wait for it go on already; until it is done, who
        asks for the key gets that answer too.
        """
        sky = self._here()
        while True:
            flight = sky.flights.get(key)
            if flight is None or flight.abandoned:
                ended = await self._started(sky, key, work, after)
            else:
                ended = await flight.wait()
            if ended is not None:
                return ended.take()

    async def _started(
        self, sky: _Sky, key: str, work: Work[O], after: After[O]
    ) -> _Ended[O] | None:
        """Begin the call, and answer its end."""
        host = _group_of_run()
        flight: _Flight[O] = _Flight(shielded=host is None)

        async def fly() -> None:
            try:
                await flight.run(work, after)
            finally:
                sky.land(key, flight)

        async def begin(group: TaskGroup) -> _Ended[O] | None:
            sky.flights[key] = flight
            group.start_soon(fly)
            return await flight.wait()

        if host is not None:
            return await begin(host)
        ended: _Ended[O] | None = None
        async with anyio.create_task_group() as group:
            ended = await begin(group)
        return ended  # noqa: RET504 - a group may swallow, as far as types know

    def _here(self) -> _Sky:
        try:
            return self._sky.get()
        except LookupError:
            sky = _Sky()
            self._sky.set(sky)
            return sky


def _group_of_run() -> TaskGroup | None:
    lifespan = Lifespan.current()
    return None if lifespan is None else lifespan.group
