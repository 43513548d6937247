"""`CircuitBreaker`: no calls to what is down, until it is well again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._shared import SharedCircuits
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import Rejected
from genai_pipeline.resilience._circuit import Circuit, CircuitListener, CircuitState
from genai_pipeline.resilience._circuit_sharing import CircuitSharing, Exchange
from genai_pipeline.resilience._outage import Counts, is_counts, is_outage
from genai_pipeline.resilience._outcome_window import OutcomeWindow
from genai_pipeline.types import Handler

__all__ = ["Admission", "CircuitBreaker"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


def _is_jitter(owner: object, option: attrs.Attribute[float], value: Any) -> None:
    fine = _options.is_number(value) and 0 <= value < 1
    check(fine, owner, option.name, value, "a share, 0 or more, below 1")


def _are_listeners(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, Sequence) and all(isinstance(each, CircuitListener) for each in value)
    check(fine, owner, option.name, value, "a list of pybreaker's listeners")


_are_circuits = _options.having(
    "shared circuits, such as RedisCircuits(url=...), or None", "read", "change"
)


@attrs.define(kw_only=True, eq=False)
class CircuitBreaker(Composite):
    """
    Refuses calls with `CircuitOpen` while what they go to is ill, so that it can recover.

    Closed, it lets every call through and counts. It opens when, of the last *window* calls of
    the last *window_seconds*, at least *min_calls* being known, a share of *failure_rate* failed
    or, with *slow_after*, of *slow_rate* was slow; or when *consecutive* calls failed in a row,
    however long that took. Open, it refuses every call for *open_for* seconds, times the number
    of openings in a row, at most *open_for_max*. Then it is half-open: at most *permits* calls
    at a time go through as probes, the others are still refused. *successes* good probes close
    it, a bad or slow one opens it again.

    Put it inside the retry, so that it sees attempts, and around the timeout of an attempt, so
    that it sees `AttemptTimeout`. Where calls queue between the two (for a rate limit or a free
    slot), put `check_first` before the queue: nobody queues for what is down, and a permit is
    held only while a probe is out. One instance for each thing that can be ill by itself
    (provider, model, region); all who use the instance share its state, on one event loop at a
    time.

    A cancelled call counts as nothing and gives its permit back. So does one that a policy inside
    refused, and one with an error that *counts* knows nothing of. An outcome that arrives after
    the state has changed changes nothing. In a pipeline, records that are refused wait, and go
    on here when the circuit lets them.

    With *shared*, processes tell each other when they open or close: while the breaker is
    entered, which a pipeline does with everything in its stages and sink, or ``async with``.
    No call waits for that. When the shared state cannot be reached, each process decides alone.

    The states and listeners are those of pybreaker; the sliding window, slow calls and permits
    follow resilience4j.
    """

    passed_by_replays: ClassVar[bool] = True

    name: str = attrs.field(default="circuit", validator=_options.text)
    """Named in events and errors; those with the same name share state, where it is *shared*."""

    failure_rate: float = attrs.field(default=0.5, validator=_options.share)
    slow_after: float | None = attrs.field(
        default=None, validator=_options.optional(_options.positive)
    )
    """Calls that take longer than these seconds are slow; `None`: no call is."""

    slow_rate: float = attrs.field(default=0.8, validator=_options.share)
    window: int = attrs.field(default=100, validator=_options.at_least(1))
    window_seconds: float = attrs.field(default=60.0, validator=_options.positive)
    min_calls: int = attrs.field(default=10, validator=_options.at_least(1))
    consecutive: int = attrs.field(default=10, validator=_options.at_least(1))
    open_for: float = attrs.field(default=15.0, validator=_options.positive)
    open_for_max: float = attrs.field(default=300.0, validator=_options.positive)
    """Also the most that an error's ``retry_after`` may keep it open for."""

    jitter: float = attrs.field(default=0.2, validator=_is_jitter)
    """By which share of itself the time it is open varies at random, lest all probe at once."""

    permits: int = attrs.field(default=1, validator=_options.at_least(1))
    successes: int = attrs.field(default=2, validator=_options.at_least(1))
    probe_for: float = attrs.field(default=300.0, validator=_options.positive)
    """
    So many seconds after the last of them began, probes that hold all permits have failed.

    Make it longer than an attempt may take.
    """

    counts: Counts = attrs.field(default=is_outage, validator=is_counts)
    """Says of an error whether the callee is ill (`True`), well (`False`), or nothing (`None`)."""

    listeners: Sequence[CircuitListener] = attrs.field(default=(), validator=_are_listeners)
    """pybreaker's listeners; one that raises is logged, and changes nothing."""

    shared: SharedCircuits | None = attrs.field(
        default=None, validator=_options.optional(_are_circuits)
    )
    share_every: float = attrs.field(default=0.5, validator=_options.positive)
    """Seconds after which it asks what other processes know."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)
    random: Callable[[], float] = attrs.field(
        default=random.random, repr=False, validator=_options.random
    )
    _circuit: Circuit = attrs.field(init=False, repr=False)
    _sharing: CircuitSharing | None = attrs.field(default=None, init=False, repr=False)
    _exchanges: list[tuple[int, Exchange]] = attrs.field(factory=list, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        fine = self.min_calls <= self.window
        check(fine, self, "min_calls", self.min_calls, f"at most window={self.window}")
        fine = self.open_for <= self.open_for_max
        check(fine, self, "open_for", self.open_for, f"at most open_for_max={self.open_for_max:g}")
        self._circuit = Circuit(
            name=self.name,
            window=OutcomeWindow(
                size=self.window,
                age=self.window_seconds,
                least=self.min_calls,
                failure_rate=self.failure_rate,
                slow_rate=self.slow_rate,
            ),
            consecutive=self.consecutive,
            permits=self.permits,
            successes=self.successes,
            open_for=self.open_for,
            open_for_max=self.open_for_max,
            jitter=self.jitter,
            probe_for=self.probe_for,
            now=self.clock.now,
            random=self.random,
            listeners=self.listeners,
        )
        if self.shared is not None:
            self._sharing = CircuitSharing(circuit=self._circuit, circuits=self.shared)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on, unless the circuit is open; raise `CircuitOpen` if it is."""
        circuit = self._circuit
        epoch = circuit.epoch if circuit.state == "closed" else circuit.admit()
        began = 0.0 if self.slow_after is None else circuit.now()
        try:
            answer = await call_next(value)
        except Exception as error:
            self._settle(epoch, began, error)
            raise
        except BaseException:
            circuit.abandon(epoch)
            raise
        circuit.succeed(epoch, self.slow_after is not None and self._is_slow(began))
        return answer

    async def check_first(self, value: I, call_next: Handler[I, O]) -> O:
        """Be the middleware that refuses a call before it queues, and takes no permit."""
        self._circuit.check()
        return await call_next(value)

    def check(self) -> None:
        """Raise `CircuitOpen` if a call now would be refused; it takes no permit."""
        self._circuit.check()

    def admit(self) -> Admission:
        """
        Begin a call that is settled elsewhere, such as a stream; raise `CircuitOpen` to refuse.

        Call `Admission.settle` when its fate is known, whatever happens.
        """
        return Admission(self, self._circuit.admit(), self._circuit.now())

    @property
    def state(self) -> CircuitState:
        """``"closed"``, ``"open"`` (until the first call after its time) or ``"half-open"``."""
        return self._circuit.state

    def force_open(self) -> None:
        """Refuse all calls in this process until `force_close`."""
        self._circuit.hold_open()

    def force_close(self) -> None:
        """Let calls through again; tells the other processes, if the state is *shared*."""
        self._circuit.close()

    def parts(self) -> Iterable[object]:
        """Answer what is entered and left with this."""
        return () if self.shared is None else (self.shared,)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._sharing is not None:
            exchange = Exchange(self._sharing, self.share_every, self.clock)
            await exchange.__aenter__()
            self._exchanges.append((anyio.get_current_task().id, exchange))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sharing is not None:
            # Several tasks may be inside at once, and each began an exchange of its own.
            task = anyio.get_current_task().id
            entry = next(each for each in reversed(self._exchanges) if each[0] == task)
            self._exchanges.remove(entry)
            await entry[1].__aexit__(kind, error, trace)
        await super().__aexit__(kind, error, trace)

    def _conclude(self, epoch: int, began: float, error: BaseException | None) -> None:
        if error is None:
            self._circuit.succeed(epoch, self._is_slow(began))
        elif isinstance(error, Exception):
            self._settle(epoch, began, error)
        else:
            self._circuit.abandon(epoch)

    def _settle(self, epoch: int, began: float, error: Exception) -> None:
        ill = None
        try:
            if not isinstance(error, Rejected):
                ill = self.counts(error)
        except BaseException:
            self._circuit.abandon(epoch)
            raise
        if ill is None:
            self._circuit.abandon(epoch)
        elif ill:
            self._circuit.fail(epoch, error, self._is_slow(began))
        else:
            self._circuit.succeed(epoch, self._is_slow(began))

    def _is_slow(self, began: float) -> bool:
        return self.slow_after is not None and self._circuit.now() - began > self.slow_after


@attrs.define(eq=False)
class Admission:
    """A call that a `CircuitBreaker` let through, to be settled once."""

    _breaker: CircuitBreaker
    _epoch: int
    _began: float
    _settled: bool = attrs.field(default=False, init=False)

    def settle(self, error: BaseException | None, *, paused: float = 0.0) -> None:
        """
        Tell how the call ended: `None` when it was answered, else what it raised.

        Cancellation, and everything else that is no `Exception`, counts as nothing. The seconds
        that it was *paused*, such as by a slow consumer, do not make it slow. Only the first call
        counts.
        """
        if not self._settled:
            self._settled = True
            self._breaker._conclude(self._epoch, self._began + paused, error)  # noqa: SLF001 - its own
