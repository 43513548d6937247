"""Calls that end as a test says, through a breaker."""

from __future__ import annotations

from collections.abc import Callable

from genai_pipeline.errors import CircuitOpen, Overloaded
from genai_pipeline.events import Event
from genai_pipeline.resilience import (
    CircuitBreaker,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitState,
)
from genai_pipeline.testing import FakeClock

__all__ = ["Heard", "answer", "breaker_on", "end", "refused_for", "state", "trip"]


async def answer(value: str) -> str:
    """Be a callee that is well."""
    return value.upper()


def breaker_on(clock: FakeClock, **options: object) -> CircuitBreaker:
    """Answer a breaker in virtual time that opens for exactly as long as it says."""
    return CircuitBreaker(clock=clock, **{"jitter": 0, **options})  # type: ignore[arg-type]


def end(breaker: CircuitBreaker, *errors: BaseException | None) -> None:
    """Make calls one after the other that end so."""
    for error in errors:
        breaker.admit().settle(error)


def trip(breaker: CircuitBreaker) -> None:
    """Let calls fail until the circuit opens."""
    while breaker.state != "open":
        end(breaker, Overloaded("down"))


def state(breaker: CircuitBreaker) -> CircuitState:
    """Answer the state; a type checker does not take what a function answers for constant."""
    return breaker.state


def refused_for(call: Callable[[], object]) -> float | None:
    """Answer for how long a call is refused; fail if it is not."""
    try:
        call()
    except CircuitOpen as refusal:
        return refusal.retry_after
    raise AssertionError("the call was let through")


class Heard(list[Event]):
    """A listener that remembers what circuits do."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, CircuitOpened | CircuitHalfOpened | CircuitClosed):
            self.append(event)

    def names(self) -> list[str]:
        """Answer what happened, in order."""
        return [type(event).__name__ for event in self]
