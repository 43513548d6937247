"""The state machine of a circuit: pybreaker's states and listeners behind a gate of our own."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, TypeAlias

import attrs
import pybreaker

from genai_pipeline.errors import CircuitOpen, Transient
from genai_pipeline.events import Event, emit
from genai_pipeline.resilience._events import CircuitClosed, CircuitHalfOpened, CircuitOpened
from genai_pipeline.resilience._outcome_window import FAILED, SLOW, OutcomeWindow

__all__ = ["Circuit", "CircuitListener", "CircuitState"]

CircuitState: TypeAlias = Literal["closed", "open", "half-open"]

CircuitListener: TypeAlias = pybreaker.CircuitBreakerListener
"""What may listen to a circuit, as to any of pybreaker's."""

_NEVER = 10**12
_HALF_OPEN_PAUSE = 1.0
_LOG = logging.getLogger("genai_pipeline")


@attrs.define(kw_only=True, eq=False)
class Circuit:
    """
    Decides about calls, synchronously: `admit` before each, and exactly one way to settle after.

    pybreaker keeps the states, the counters of failures and successes, and calls the listeners;
    it never decides by itself when to open, since it knows neither rates, our clock, probes nor
    cancellation. An *epoch* is the time between two changes of state: what began in an earlier
    one is told nothing of the present, so its outcome is dropped.
    """

    name: str
    window: OutcomeWindow
    consecutive: int
    permits: int
    successes: int
    open_for: float
    open_for_max: float
    jitter: float
    probe_for: float
    now: Callable[[], float]
    random: Callable[[], float]
    listeners: Sequence[CircuitListener] = ()
    changed: Callable[[], object] | None = attrs.field(default=None, init=False)
    """Called after every change that other processes should know of."""

    epoch: int = attrs.field(default=0, init=False)
    state: CircuitState = attrs.field(default="closed", init=False)
    openings: int = attrs.field(default=0, init=False)
    """How often it opened since it was last closed."""

    held: bool = attrs.field(default=False, init=False)
    """Whether an operator keeps it open."""

    open_until: float = attrs.field(default=-math.inf, init=False)
    probes: int = attrs.field(default=0, init=False)
    _last_probe: float = attrs.field(default=-math.inf, init=False)
    _reason: str = attrs.field(default="", init=False)
    _told_of_all: bool = attrs.field(init=False)
    _failures: int = attrs.field(default=0, init=False)
    _machine: pybreaker.CircuitBreaker = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        theirs = [_Contained(each) for each in self.listeners]
        self._told_of_all = bool(theirs)
        self._machine = pybreaker.CircuitBreaker(
            fail_max=_NEVER,
            reset_timeout=_NEVER,
            success_threshold=self.successes,
            listeners=[_Changes(self._begin_epoch), *theirs],
            name=self.name,
            throw_new_error_on_trip=False,
        )

    # Before a call.

    def admit(self) -> int:
        """Answer the epoch that the call begins in; raise `CircuitOpen` to refuse it."""
        if self.state != "closed":
            self._take_permit()
        return self.epoch

    def check(self) -> None:
        """Raise `CircuitOpen` if a call now would be refused; take and change nothing."""
        if self.state == "closed":
            return
        now = self.now()
        if self.state == "open" and (self.held or now < self.open_until):
            self._refuse(self.open_until - now, self._reason)
        if self._is_full() and now < self._last_probe + self.probe_for:
            self._refuse(_HALF_OPEN_PAUSE, "a probe is under way")

    def _take_permit(self) -> None:
        self.check()
        now = self.now()
        if self._is_full():
            self.open(f"a probe took {self.probe_for:g} s and more")
            self._refuse(self.open_until - now, self._reason)
        if self.state == "open":
            self._machine.half_open()
        self.probes += 1
        self._last_probe = now

    def _is_full(self) -> bool:
        return self.state == "half-open" and self.probes >= self.permits

    def _refuse(self, seconds: float, reason: str) -> NoReturn:
        wait = "until an operator closes it" if self.held else f"for another {seconds:.4g} s"
        raise CircuitOpen(f"{self.name} is open {wait}: {reason}", retry_after=seconds)

    # After a call.

    def succeed(self, epoch: int, slow: bool) -> None:  # noqa: FBT001 - on the hot path
        """Note that the call which began in *epoch* was answered."""
        if epoch != self.epoch:
            return
        if self.state != "closed":
            self._succeed_as_probe(slow)
            return
        if self._failures or self._told_of_all:
            self._failures = 0
            self._machine.call(_nothing)
        window = self.window
        window.add(self.now(), SLOW if slow else 0)
        if window.failed or window.slow:
            self._judge(None)

    def _succeed_as_probe(self, slow: bool) -> None:  # noqa: FBT001
        self.probes -= 1
        if slow:
            self.open("a probe was slow")
        else:
            self._machine.call(_nothing)

    def fail(self, epoch: int, error: Exception, slow: bool) -> None:  # noqa: FBT001
        """Note that the call which began in *epoch* failed through the callee's fault."""
        if epoch != self.epoch:
            return
        hint = error.retry_after if isinstance(error, Transient) else None
        if self.state == "half-open":
            self._prepare_opening("a probe failed", hint)
            self._report(error)
            return
        self._failures += 1
        self._report(error)
        self.window.add(self.now(), FAILED | SLOW if slow else FAILED)
        self._judge(hint)

    def abandon(self, epoch: int) -> None:
        """Note that the call which began in *epoch* ended without saying anything."""
        if epoch == self.epoch and self.state == "half-open":
            self.probes -= 1

    def _judge(self, hint: float | None) -> None:
        if self._failures >= self.consecutive:
            self.open(f"{self._failures} calls in a row failed", hint)
        elif reason := self.window.verdict():
            self.open(reason, hint)

    def _report(self, error: Exception) -> None:
        """Let pybreaker count a failure and tell its listeners, and leave no trace in *error*."""
        trace = error.__traceback__
        with contextlib.suppress(type(error)):
            self._machine.call(_raise, error)
        error.__traceback__ = trace

    # Changes of state.

    def open(self, reason: str, hint: float | None = None) -> None:
        """Refuse calls for a while, at least *hint* seconds, if the cap allows."""
        self._prepare_opening(reason, hint)
        self._machine.open()

    def hold_open(self) -> None:
        """Refuse calls until `close`."""
        self.held = True
        self._reason = "it was opened by hand"
        self.open_until = math.inf
        if self.state != "open":
            self._machine.open()

    def close(self) -> None:
        """Let calls through, and forget what was bad."""
        self.held = False
        if self.state != "closed":
            self._machine.close()

    def open_as_others(self, seconds: float, openings: int) -> None:
        """Be open for *seconds* more, since another process is."""
        self._reason = "another process opened it"
        self.openings = openings
        self.open_until = self.now() + seconds
        if self.state != "open":
            self._machine.open()

    def _prepare_opening(self, reason: str, hint: float | None) -> None:
        self.openings += 1
        seconds = min(self.open_for * self.openings, self.open_for_max)
        seconds *= 1 + self.jitter * (2 * self.random() - 1)
        self._reason = reason
        self.open_until = self.now() + max(seconds, min(hint or 0.0, self.open_for_max))

    def _begin_epoch(self, state: CircuitState) -> None:
        self.epoch += 1
        self.state = state
        self.probes = 0
        self._failures = 0
        self.window.clear()
        if state == "closed":
            self.openings = 0
        emit(self._event())
        if self.changed is not None:
            self.changed()

    def _event(self) -> Event:
        if self.state == "open":
            seconds = self.open_until - self.now()
            return CircuitOpened(name=self.name, seconds=seconds, reason=self._reason)
        if self.state == "half-open":
            return CircuitHalfOpened(name=self.name)
        return CircuitClosed(name=self.name)


def _nothing() -> None:
    pass


def _raise(error: Exception) -> NoReturn:
    raise error


class _Changes(CircuitListener):
    """Hands each new state on, before anybody else hears of it."""

    def __init__(self, heard: Callable[[CircuitState], object]) -> None:
        self._heard = heard

    def state_change(self, cb: object, old_state: object, new_state: Any) -> None:  # noqa: ARG002
        self._heard(new_state.name)


class _Contained(CircuitListener):
    """Calls a listener, and logs what it raises: it must not keep the state from changing."""

    def __init__(self, listener: CircuitListener) -> None:
        self._listener = listener

    def _tell(self, what: str, *arguments: Any) -> None:
        try:
            getattr(self._listener, what)(*arguments)
        except Exception:  # noqa: BLE001 - whatever it raises is the listener's own affair
            _LOG.exception("the circuit's listener %r raised in %s", self._listener, what)

    def before_call(self, cb: Any, func: Any, *args: Any, **_: Any) -> None:
        self._tell("before_call", cb, func, *args)

    def failure(self, cb: Any, exc: BaseException) -> None:
        self._tell("failure", cb, exc)

    def success(self, cb: Any) -> None:
        self._tell("success", cb)

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self._tell("state_change", cb, old_state, new_state)
