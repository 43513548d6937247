"""`Deadline`: a limit for everything a call does."""

from __future__ import annotations

from typing import TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import DeadlineExceeded
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.types import Handler
from genai_pipeline.walk import deadline_at

__all__ = ["Deadline"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


@attrs.frozen(eq=False)
class Deadline:
    """
    Ends a call, with all its attempts and waits, after so many seconds: `DeadlineExceeded`.

    Stands outermost. It tells everything below how much time there is
    (`walk.current_deadline`), so that a policy which would have to wait longer fails at once,
    with an error that says why, rather than at the deadline with one that does not.

    A deadline that a caller set, or that the record has, stays in force when it is the earlier
    one. An answer that was there before the cancellation arrived is answered, however late.
    What the call shields from cancellation runs to its end.
    """

    seconds: float = attrs.field(validator=_options.positive)
    """The longest that the call may take in all."""

    clock: Clock = attrs.field(
        factory=SystemClock, kw_only=True, repr=False, validator=_options.clock
    )

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on with a deadline, and cancel the call when its time is up."""
        now = self.clock.now()
        deadline = binding_deadline()
        if deadline <= now:
            raise DeadlineExceeded("the caller's deadline passed before the call began")
        until = now + self.seconds
        answers: list[O] = []
        with deadline_at(until), self.clock.cancel_at(min(until, deadline)):
            answers.append(await call_next(value))
        if answers:
            return answers[0]
        if deadline < until:
            raise DeadlineExceeded("the caller's deadline passed during the call")
        raise DeadlineExceeded(f"the call took longer than {self.seconds:g} s")
