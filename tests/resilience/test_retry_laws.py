"""What holds of `Retry` and its budget whatever fails, and in whatever order."""

from __future__ import annotations

import math
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.errors import ConnectionFailed, InvalidAnswer, Overloaded, RateLimited
from genai_pipeline.resilience import Retry, RetryBudget
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import deadline_at

from .flaky import Flaky, cycle

HINTS = st.none() | st.floats(0, 100)
FAULTS = st.builds(Overloaded, st.just("busy"), retry_after=HINTS) | st.just(OSError("gone"))
BAD = st.builds(InvalidAnswer, st.just("bad"), retry_after=HINTS)
LIMITS = st.builds(RateLimited, st.just("slow"), retry_after=HINTS)
REJECTIONS = st.builds(errors.Rejected, st.just("closed"), retry_after=HINTS)
CHANCES = st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    failures=st.lists(FAULTS | BAD | LIMITS | REJECTIONS, max_size=12),
    chances=CHANCES,
    attempts=st.integers(1, 5),
    answers=st.integers(1, 5),
    limit=st.none() | st.floats(0.1, 200),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_waits_and_counts_keep_their_bounds(
    failures: list[Exception],
    chances: list[float],
    attempts: int,
    answers: int,
    limit: float | None,
    backend: str,
) -> None:
    """Behaviour 13: waits are within [0, min(8, 0.5 * 2**n)] or from the hint on; counts hold."""

    async def play() -> None:
        async with FakeClock() as clock:
            model = Flaky(clock, *failures, "fine")
            policy = Retry(
                on=Exception,
                attempts=attempts,
                answer_attempts=answers,
                clock=clock,
                random=cycle(chances),
            )
            deadline = math.inf if limit is None else limit
            raised: Exception | None = None
            try:
                with deadline_at(deadline):
                    assert await gp.wrap(model, policy)("prompt") == "fine"
            except Exception as error:  # noqa: BLE001 - judged below
                raised = error
            _check(model, raised, deadline)

    def _check(model: Flaky, raised: Exception | None, deadline: float) -> None:
        met = failures[: model.calls]
        assert sum(_kind(error) == "fault" for error in met) <= attempts
        assert sum(_kind(error) == "answer" for error in met) <= answers
        assert all(began < deadline for began in model.times)
        counts: dict[str, int] = {}
        patience = 0.0
        for error, wait in zip(met, model.waits, strict=False):
            kind = _kind(error)
            counts[kind] = counts.get(kind, 0) + 1
            backoff = min(8.0, 0.5 * 2 ** (counts[kind] - 1))
            hint = getattr(error, "retry_after", None)
            slack = 1e-9
            if hint is None:
                assert 0 <= wait <= backoff + slack
            else:
                assert hint - slack <= wait <= max(hint * 1.25, backoff, 0.01) + slack
                assert hint <= 60
            if kind in ("limit", "rejection"):
                assert wait >= 0.01 - slack
                patience += wait
        assert patience <= 300 + 1e-6
        if raised is None:
            assert model.calls == len(failures) + 1
        else:
            assert met[-1] in (raised, raised.__cause__)

    anyio.run(play, backend=backend)


def _kind(error: object) -> str:
    kinds: dict[type[Exception], str] = {
        errors.Rejected: "rejection",
        RateLimited: "limit",
        InvalidAnswer: "answer",
    }
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "fault")


class BudgetAgainstItsLaw(RuleBasedStateMachine):
    """Behaviour 18: retries never exceed capacity + ratio * calls + reserve * time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.budget = RetryBudget(capacity=3, ratio=0.25, reserve=0.5, clock=self.clock)
        self.model = 3.0
        self.spent = self.calls = 0

    @rule()
    def call(self) -> None:
        """A call brings its share."""
        self.budget.deposit()
        self.calls += 1
        self.model = min(3.0, self.model + 0.25)

    @rule(seconds=st.sampled_from([0, 0.5, 1, 4, 100]))
    def wait(self, seconds: float) -> None:
        """Time brings the reserve."""
        self.clock.advance(seconds)
        self.model = min(3.0, self.model + 0.5 * seconds)

    @rule()
    def spend(self) -> None:
        """A retry takes one token, when there is one."""
        granted = self.budget.withdraw()
        assert granted == (self.model >= 1)
        if granted:
            self.model -= 1
            self.spent += 1

    @rule()
    def spend_and_refund(self) -> None:
        """A retry that is not made costs nothing."""
        if self.budget.withdraw():
            self.budget.refund()

    @invariant()
    def the_level_is_the_models(self) -> None:
        """The level is what a plain bucket would have, and the law holds."""
        assert self.budget.level == pytest.approx(self.model)
        assert self.spent <= 3 + 0.25 * self.calls + 0.5 * self.clock.now()


TestBudget = BudgetAgainstItsLaw.TestCase
TestBudget.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@settings(max_examples=40, deadline=None)
@given(
    patterns=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=1, max_size=30),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=5),
    capacity=st.integers(1, 4),
)
def test_retries_keep_within_the_budget(
    patterns: list[list[bool]], gaps: list[float], capacity: int
) -> None:
    """Behaviour 18: over any pattern of failures in concurrent calls, the budget holds."""

    async def play() -> None:
        async with FakeClock() as clock:
            budget = RetryBudget(capacity=capacity, ratio=0.2, reserve=0.1, clock=clock)
            policy = Retry(on=ConnectionFailed, attempts=4, clock=clock, budget=budget)
            made = 0

            async def call(pattern: list[bool]) -> None:
                outcomes: list[Any] = [ConnectionFailed("reset") if bad else 1 for bad in pattern]
                model = Flaky(clock, *outcomes, takes=1)
                try:
                    await gp.wrap(model, policy)("prompt")
                except ConnectionFailed:
                    pass
                nonlocal made
                made += model.calls

            async with anyio.create_task_group() as group:
                for number, pattern in enumerate(patterns):
                    group.start_soon(call, pattern)
                    await clock.sleep(gaps[number % len(gaps)])
            retries = made - len(patterns)
            assert retries <= capacity + 0.2 * len(patterns) + 0.1 * clock.now()

    anyio.run(play)
