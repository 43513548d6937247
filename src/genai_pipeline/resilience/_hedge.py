"""`Hedge`: a second attempt beside one that is slow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar, cast

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import apply, check
from genai_pipeline._replay import is_replaying, replays_first, would_replay
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import Rejected
from genai_pipeline.events import emit
from genai_pipeline.messages import Response
from genai_pipeline.resilience._causes import Causes, asked, elsewhere, is_causes
from genai_pipeline.resilience._hedge_policy import Allowance, Usual
from genai_pipeline.resilience._marks import marked, noted, told
from genai_pipeline.resilience._race import Attempt, Race
from genai_pipeline.resilience._retry_budget import RetryBudget
from genai_pipeline.resilience._route_events import HedgeLost, HedgeStarted
from genai_pipeline.types import Handler

__all__ = ["Hedge"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_NOTE = "Hedges failed too: "


class Hedge(Composite):
    """
    Makes a slow call once more, to the same handler or to *others*, and takes the first answer.

    An attempt is slow when it takes longer than *after* seconds; without *after*, longer than
    *percentile* of the latest 200 calls did, once 20 were seen, and never less than *min_delay*.
    Each of the *others* is asked one such delay after the one before. A failure named by *on*
    (as for `Fallback`) makes the next attempt due at once; any other ends them all, and is raised.

    The first answer wins. The other attempts are cancelled, and have ended when it is answered.
    What they used is billed all the same: `HedgeLost` tells of each, with an estimate. When
    all fail, the first attempt's error is raised, with a note on the others.

    Every hedge costs a request more, so they are bounded: at most ``1 + share * calls``, at most
    ten in a row, and, where a `RetryBudget` is shared with `Retry`, a token of it each. A target
    that refused is not asked once more by itself. An answer by a hedge has the name of its target
    in ``Response.attributes["hedge"]`` (``"same"`` without *others*).

    Stand it outside of retries, breaker and limits, so that each attempt passes them. Give
    *others* that answer alike: other regions or keys of the same model. From Dean and Barroso,
    "The Tail at Scale" (2013), and gRPC's hedging.
    """

    __slots__ = (
        "_after",
        "_allowance",
        "_budget",
        "_clock",
        "_min_delay",
        "_on",
        "_usual",
        "name",
        "others",
    )

    def __init__(
        self,
        *others: Handler[Any, Any],
        after: float | None = None,
        percentile: float = 0.95,
        min_delay: float = 0.05,
        share: float = 0.1,
        on: Causes = elsewhere,
        budget: RetryBudget | None = None,
        clock: Clock | None = None,
        name: str = "hedge",
    ) -> None:
        for index, other in enumerate(others):
            fine = callable(other) and not isinstance(other, type)
            check(fine, self, f"others[{index}]", other, "a handler, no class")
        apply(_options.optional(_options.seconds), self, "after", after)
        apply(_options.seconds, self, "min_delay", min_delay)
        apply(is_causes, self, "on", on)
        for option, number in (("percentile", percentile), ("share", share)):
            apply(_options.share, self, option, number)
        apply(_options.optional(_options.clock), self, "clock", clock)
        apply(_options.text, self, "name", name)
        fine = budget is None or isinstance(budget, RetryBudget)
        check(fine, self, "budget", budget, "a RetryBudget, or None for none")
        self.others = others
        self.name = name
        self._after = after
        self._min_delay = min_delay
        self._usual = Usual(percentile, least=20, most=200)
        self._allowance = Allowance(share)
        self._on = asked(on)
        self._budget = budget
        self._clock = SystemClock() if clock is None else clock

    def parts(self) -> Iterable[object]:
        """Answer the others: what is entered and left with this."""
        return self.others

    @property
    def delay(self) -> float:
        """The seconds after which an attempt counts as slow; ``math.inf`` while unknown."""
        if self._after is not None:
            return self._after
        usual = self._usual.seconds()
        return math.inf if usual is None else max(self._min_delay, usual)

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on, once more when it takes long, and answer what comes first."""
        attempts = self._attempts(call_next)

        def goes_on(error: Exception) -> bool:
            return self._on(error) and _kept_of(attempts, value) is not None

        while (kept := _kept_of(attempts, value)) is not None:
            try:
                with replays_first(goes_on):
                    return _named(kept, await kept.handler(value))
            except Exception as error:
                attempts.remove(kept)
                if not attempts or not self._on(error):
                    raise
        self._allowance.deposit()
        began = self._clock.now()

        def may_begin(attempt: Attempt[I, O], error: Exception | None) -> bool:
            if attempt.same and isinstance(error, Rejected):
                return False
            if not self._has_token():
                return False
            seconds = self._clock.now() - began
            kind = None if error is None else type(error).__name__
            emit(HedgeStarted(name=self.name, target=attempt.name, seconds=seconds, error=kind))
            return True

        race = Race(
            value,
            attempts,
            delay=self.delay,
            goes_on=self._on,
            may_begin=may_begin,
            clock=self._clock,
        )
        await race.run()
        try:
            return self._settled(race)
        finally:
            race.forget()
            del race  # a traceback refers to this frame

    def would_replay(self, value: I, call_next: Handler[I, O]) -> bool:
        """Tell whether a journal would answer a call with *value*, whichever target gave it."""
        return any(would_replay(value, target) for target in (call_next, *self.others))

    def _attempts(self, call_next: Handler[I, O]) -> list[Attempt[I, O]]:
        first = Attempt("first", call_next, first=True)
        if not self.others:
            return [first, Attempt("same", call_next, same=True)]
        return [first, *(Attempt(name_of(other), other) for other in self.others)]

    def _has_token(self) -> bool:
        # The budget is asked last, since its tokens cannot be given back by halves.
        return self._allowance.withdraw() and (self._budget is None or self._budget.withdraw())

    def _settled(self, race: Race[I, O]) -> O:
        """Account for all attempts, and answer or raise what came of the call."""
        first = race.begun[0]
        if first.error is None:
            self._usual.saw(first.seconds)
        winner = race.winner
        if winner is not None:
            for attempt in race.begun:
                if attempt is not winner and attempt.error is None:
                    self._tell_of_loser(attempt, winner)
            return _named(winner, cast("O", winner.answer))
        try:
            raise _error_of(race)
        finally:
            del race, first, winner

    def _tell_of_loser(self, loser: Attempt[I, O], winner: Attempt[I, O]) -> None:
        answer = loser.answer if loser.answered else winner.answer
        usage = answer.usage if isinstance(answer, Response) else None
        emit(
            HedgeLost(
                name=self.name,
                target=loser.name,
                seconds=loser.seconds,
                usage=usage,
                estimated=not loser.answered,
            )
        )

    def __repr__(self) -> str:
        return f"Hedge({', '.join(map(repr, self.others))})"


def _kept_of(attempts: list[Attempt[I, O]], value: I) -> Attempt[I, O] | None:
    """Answer the attempt that a journal answers: nothing is sent, so no other need be beside it."""
    if not is_replaying():
        return None
    return next((each for each in attempts if would_replay(value, each.handler)), None)


def _named(attempt: Attempt[I, O], answer: O) -> O:
    """Answer *answer* with the name of its target, unless that is the first one."""
    return answer if attempt.first else marked(answer, hedge=attempt.name)


def _error_of(race: Race[I, O]) -> Exception:
    if race.fatal is not None:
        return race.fatal
    first, *others = race.begun
    error = cast("Exception", first.error)
    notes = [told(each.name, each.error) for each in others if each.error is not None]
    return noted(error, _NOTE, notes) if notes else error
