"""The breaker against a model: any interleaving of calls, ends, cancellations, time and hands."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Calls
from hypothesis.stateful import (
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from genai_pipeline.errors import CircuitOpen, InvalidRequest, Overloaded, RateLimited
from genai_pipeline.events import listen
from genai_pipeline.resilience import Admission, CircuitListener
from genai_pipeline.testing import FakeClock

from .calls import Heard, breaker_on

LEGAL = {
    ("closed", "open"),
    ("open", "half-open"),
    ("half-open", "closed"),
    ("half-open", "open"),
}
SLOW_AFTER = 3
OPEN_FOR = 10
OPEN_MAX = 35
PROBE_FOR = 40
WINDOW, AGE, LEAST = 8, 50, 4


class Changes(CircuitListener):
    """Remembers the changes of state."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        self.seen.append((old_state.name, new_state.name))


class Model:
    """What the documentation says, in plain lists."""

    def __init__(self, permits: int, successes: int, consecutive: int) -> None:
        self.permits, self.successes, self.consecutive = permits, successes, consecutive
        self.now = 0
        self.openings = 0
        self.until = 0
        self.state = ""
        self.era = 0
        self.to("closed")
        self.openings = 0

    def to(self, state: str) -> None:
        self.state = state
        self.era += 1
        self.outcomes: list[tuple[int, bool, bool]] = []
        self.row = 0
        self.good = 0
        self.out = 0
        self.stirred = self.now
        if state == "open":
            self.openings += 1
            self.until = self.now + min(OPEN_FOR * self.openings, OPEN_MAX)
        if state == "closed":
            self.openings = 0

    def admit(self) -> bool:
        if self.state == "half-open" and self.out == self.permits:
            if self.now - self.stirred >= PROBE_FOR:
                self.to("open")
            return False
        if self.state == "open":
            if self.now < self.until:
                return False
            self.to("half-open")
        if self.state == "half-open":
            self.out += 1
            self.stirred = self.now
        return True

    def end(self, era: int, ill: bool | None, *, slow: bool) -> None:
        if era != self.era:
            return
        if self.state == "half-open":
            self.out -= 1
            if ill is None:
                return
            if ill or slow:
                self.to("open")
                return
            self.good += 1
            if self.good == self.successes:
                self.to("closed")
        elif ill is not None:
            self.row = self.row + 1 if ill else 0
            self.outcomes.append((self.now, ill, slow))
            live = [each for each in self.outcomes if self.now - each[0] < AGE][-WINDOW:]
            failed = sum(each[1] for each in live) / len(live)
            slowed = sum(each[2] for each in live) / len(live)
            too_bad = len(live) >= LEAST and (failed >= 0.5 or slowed >= 0.75)
            if too_bad or self.row >= self.consecutive:
                self.to("open")


class BreakerMachine(RuleBasedStateMachine):
    """1, 2, 5: a breaker beside the model."""

    calls = Calls("calls")

    @initialize(
        permits=st.integers(1, 3),
        successes=st.integers(1, 3),
        consecutive=st.sampled_from([3, 6, 99]),
        loud=st.booleans(),
    )
    def begin(self, permits: int, successes: int, consecutive: int, loud: bool) -> None:
        self.clock = FakeClock()
        self.changes = Changes()
        self.heard = Heard()
        self.breaker = breaker_on(
            self.clock,
            permits=permits,
            successes=successes,
            consecutive=consecutive,
            slow_after=SLOW_AFTER,
            slow_rate=0.75,
            window=WINDOW,
            window_seconds=AGE,
            min_calls=LEAST,
            open_for=OPEN_FOR,
            open_for_max=OPEN_MAX,
            probe_for=PROBE_FOR,
            listeners=[self.changes] if loud else [],
        )
        self.loud = loud
        self.model = Model(permits, successes, consecutive)

    @rule(target=calls)
    def call(self) -> Any:
        with listen(self.heard):
            try:
                admission = self.breaker.admit()
            except CircuitOpen as refusal:
                assert not self.model.admit()
                wait = 1 if self.model.state == "half-open" else self.model.until - self.model.now
                assert refusal.retry_after == wait
                return multiple()
        assert self.model.admit()
        return (admission, self.model.era, self.model.now)

    @rule(
        call=consumes(calls),
        error=st.sampled_from(
            [None, None, Overloaded("1"), Overloaded("2"), RateLimited("3"), InvalidRequest("4")]
        ),
    )
    def finish(self, call: tuple[Admission, int, int], error: Exception | None) -> None:
        admission, era, began = call
        with listen(self.heard):
            admission.settle(error)
        ill = {type(None): False, Overloaded: True}.get(type(error))
        self.model.end(era, ill, slow=self.model.now - began > SLOW_AFTER)

    @rule(call=consumes(calls), error=st.sampled_from([KeyboardInterrupt(), GeneratorExit()]))
    def cancel(self, call: tuple[Admission, int, int], error: BaseException) -> None:
        admission, era, _ = call
        with listen(self.heard):
            admission.settle(error)
        self.model.end(era, None, slow=False)

    @rule(number=st.integers(1, 6), error=st.sampled_from([None, Overloaded("3")]))
    def several(self, number: int, error: Exception | None) -> None:
        for _ in range(number):
            call = self.call()
            if isinstance(call, tuple):
                self.finish(call, error)

    @rule(seconds=st.sampled_from([1, 2, 4, 10, 20, 45]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.clock.jump_wall(-2 * seconds)
        self.model.now += seconds

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.breaker.state == self.model.state
        circuit = self.breaker._circuit
        assert circuit.probes == self.model.out <= self.model.permits
        assert circuit.openings == self.model.openings

    @invariant()
    def changes_are_legal(self) -> None:
        if not hasattr(self, "model"):
            return
        if self.loud:
            assert set(self.changes.seen) <= LEGAL
            assert len(self.changes.seen) == len(self.heard)
        names = ["CircuitClosed", *self.heard.names()]
        states = {"CircuitClosed": "closed", "CircuitOpened": "open"}
        pairs = itertools.pairwise(names)
        assert {
            (states.get(old, "half-open"), states.get(new, "half-open")) for old, new in pairs
        } <= LEGAL

    def teardown(self) -> None:
        """Every permit comes back: when all is quiet, good probes close the circuit."""
        if not hasattr(self, "model"):
            return
        self.clock.advance(OPEN_MAX + PROBE_FOR)
        for _ in range(5):
            if self.breaker.state == "closed":
                return
            try:
                self.breaker.admit().settle(None)
            except CircuitOpen:
                self.clock.advance(OPEN_MAX)
        assert self.breaker.state == "closed"


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
