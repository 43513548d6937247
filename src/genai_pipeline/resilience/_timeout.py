"""`Timeout`: a limit for each attempt."""

from __future__ import annotations

from typing import TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._attempt_time import AttemptTime, attempt_time
from genai_pipeline._paid import current_recorder
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import AttemptTimeout, DeadlineExceeded
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.types import Handler

__all__ = ["Timeout"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


@attrs.frozen(eq=False)
class Timeout:
    """
    Cuts one attempt off after so many seconds, and raises `AttemptTimeout`, which is transient.

    Stands innermost, behind `Retry` and behind whatever queues, so that it times the attempt and
    not the waiting for it; nor does it count, in a pipeline with budgets, what a call waits for
    money that others hold. `Deadline` limits the whole.

    The caller's deadline holds too: when it comes first, or has passed, the attempt is cut off
    there, or not begun, and `DeadlineExceeded` is raised. A `TimeoutError` of the handler's own
    goes through untouched, so the three can be told apart. An answer that was there before the
    cancellation arrived is answered, however late.

    The attempt is cancelled and awaited: what it shields from cancellation runs to its end, so
    let cleanup shield itself only for a limited time
    (``anyio.move_on_after(5, shield=True)``).
    """

    seconds: float = attrs.field(validator=_options.positive)
    """The longest that an attempt may take."""

    clock: Clock = attrs.field(
        factory=SystemClock, kw_only=True, repr=False, validator=_options.clock
    )

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on, and cancel the call when its time is up."""
        now = self.clock.now()
        deadline = binding_deadline()
        if deadline <= now:
            raise DeadlineExceeded("the caller's deadline passed before the attempt began")
        until = now + self.seconds
        untimed = getattr(type(call_next), "cut_off_within", None)
        if untimed is not None:  # a provider of ours, which can spare its own timer
            call_next = untimed(call_next, self.seconds, self.clock) or call_next
        answers: list[O] = []
        postpone = None if current_recorder() is None else getattr(self.clock, "postpone", None)
        if postpone is None:
            with self.clock.cancel_at(min(until, deadline)):
                answers.append(await call_next(value))
        else:
            time = AttemptTime(self.clock, postpone, until, deadline)
            with attempt_time(time), self.clock.cancel_at(min(until, deadline)) as scope:
                time.begin(scope)
                answers.append(await call_next(value))
            until = time.until
        if answers:
            return answers[0]
        if deadline <= until:
            raise DeadlineExceeded("the caller's deadline passed during the attempt")
        raise AttemptTimeout(f"the attempt took longer than {self.seconds:g} s")
