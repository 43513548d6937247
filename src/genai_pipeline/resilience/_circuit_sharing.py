"""Keeping one circuit in step with those of other processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType

import anyio
import attrs

from genai_pipeline._shared import SharedCircuit, SharedCircuits, SharedState
from genai_pipeline.clock import Clock
from genai_pipeline.events import emit
from genai_pipeline.resilience._circuit import Circuit
from genai_pipeline.resilience._events import CircuitSharingFailed

__all__ = ["CircuitSharing", "Exchange"]

_LOG = logging.getLogger("genai_pipeline")
_LONGEST_PAUSE = 30.0
_DOUBLINGS = 16


@attrs.define(kw_only=True, eq=False)
class CircuitSharing:
    """
    Tells others when a circuit opens or closes here, and does as they do.

    Outcomes are counted by each process alone; what is shared is the conclusion. Of two that
    change the circuit at once the first one wins, and the other follows, but for a process that
    opens on evidence of its own: it says so again.
    """

    circuit: Circuit
    circuits: SharedCircuits
    _generation: int = attrs.field(default=0, init=False)
    _untold: bool = attrs.field(default=False, init=False)
    _following: bool = attrs.field(default=False, init=False)
    _exchanging: bool = attrs.field(default=False, init=False)
    _wakes: list[anyio.Event] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.circuit.changed = self._note

    def _note(self) -> None:
        if self._following or self.circuit.state == "half-open" or self.circuit.held:
            return
        self._untold = True
        for wake in self._wakes:
            wake.set()

    @contextmanager
    def news(self) -> Iterator[anyio.Event]:
        """Answer what is set when there is something to tell."""
        wake = anyio.Event()
        self._wakes.append(wake)
        try:
            yield wake
        finally:
            self._wakes.remove(wake)

    async def exchange(self) -> None:
        """Tell what is new here, or else hear what is new elsewhere."""
        if self._exchanging:  # for another pipeline that shares the breaker
            return
        self._exchanging = True
        try:
            if self._has_news():
                await self._tell()
            else:
                self._follow(await self.circuits.read(self.circuit.name))
        finally:
            self._exchanging = False

    def _has_news(self) -> bool:
        """Tell whether others should hear of us; an opening whose time is over is no news."""
        if self.circuit.state != "closed" and self._seconds() <= 0:
            self._untold = False
        return self._untold and not self.circuit.held

    def _seconds(self) -> float:
        return self.circuit.open_until - self.circuit.now()

    async def _tell(self) -> None:
        circuit = self.circuit
        state: SharedState = "closed" if circuit.state == "closed" else "open"
        seconds = 0.0 if state == "closed" else self._seconds()
        epoch = circuit.epoch
        won, known = await self.circuits.change(
            circuit.name, self._generation, state, seconds, circuit.openings
        )
        if won:
            self._generation = known.generation
            self._untold = self._untold and circuit.epoch != epoch
        else:
            self._follow(known)

    def _follow(self, known: SharedCircuit | None) -> None:
        circuit = self.circuit
        if known is None:
            # Nobody knows of it, or the store lost it: what is open here is news again.
            self._untold = circuit.state == "open" and not circuit.held
            return
        if known.generation == self._generation:
            return
        self._generation = known.generation
        if circuit.held:
            return
        self._following = True
        try:
            self._do_as(known)
        finally:
            self._following = False

    def _do_as(self, known: SharedCircuit) -> None:
        circuit = self.circuit
        if known.state == "open":
            if known.seconds > 0:
                self._untold = False
                circuit.open_as_others(known.seconds, known.openings)
            elif circuit.state == "open" and not self._untold:
                # The others probe already: what is older here must not hold out longer.
                circuit.open_as_others(0.0, known.openings)
        elif circuit.state == "closed":
            self._untold = False
        elif not self._untold:
            circuit.close()


@attrs.define(eq=False)
class Exchange:
    """The background task of one run that exchanges news every so many seconds."""

    _sharing: CircuitSharing
    _every: float
    _clock: Clock
    _stack: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)
    _failures: int = attrs.field(default=0, init=False)

    async def __aenter__(self) -> None:
        group = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(group.cancel_scope.cancel)
        group.start_soon(self._run)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(None, None, None)

    async def _run(self) -> None:
        while True:
            with self._sharing.news() as wake:
                await self._exchange()
                with self._clock.cancel_at(self._clock.now() + self._pause()):
                    await wake.wait()

    async def _exchange(self) -> None:
        try:
            await self._sharing.exchange()
        except Exception as error:  # noqa: BLE001 - a store of any make; the circuit goes on alone
            self._tell_of(error)
        else:
            self._failures = 0

    def _pause(self) -> float:
        longer = self._every * math.pow(2, min(self._failures, _DOUBLINGS))
        return max(self._every, min(longer, _LONGEST_PAUSE))

    def _tell_of(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            name = self._sharing.circuit.name
            _LOG.warning("circuit %s goes on alone, its shared state fails: %s", name, error)
            emit(CircuitSharingFailed(name=name, error=error))
