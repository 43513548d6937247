"""`Retry`: tries again what failed for a passing reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar, cast

import attrs
from tenacity import RetryCallState
from tenacity.asyncio import AsyncRetrying

from genai_pipeline import _options
from genai_pipeline._options import apply, at_least, check, optional, positive, seconds
from genai_pipeline._replay import is_unsent
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import Rejected
from genai_pipeline.resilience._attempts import Attempts, Failed
from genai_pipeline.resilience._retry_budget import RetryBudget
from genai_pipeline.resilience._retry_on import On, Wish, is_on, wish_of
from genai_pipeline.types import Handler

__all__ = ["Retry"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


def _not_below_first_wait(retry: Retry, _: object, value: float) -> None:
    allowed = f"seconds, first_wait={retry.first_wait!r} or more"
    check(value >= retry.first_wait, retry, "max_wait", value, allowed)


def _own_budget(retry: Retry) -> RetryBudget:
    apply(_options.clock, retry, "clock", retry.clock)  # lest the budget complain of it
    return RetryBudget(clock=retry.clock)


def _is_budget(retry: Retry, option: attrs.Attribute[RetryBudget], value: object) -> None:
    check(
        value is None or isinstance(value, RetryBudget),
        retry,
        option.name,
        value,
        "a RetryBudget, or None for no limit",
    )


@attrs.frozen(kw_only=True, eq=False)
class Retry:
    """
    Tries a call again after failures that may pass, waiting longer each time.

    What is tried again is said by *on*. Three kinds of failure are counted apart, so that one
    does not use up the other's chances:

    - faults, such as `Overloaded`, `ConnectionFailed`, `AttemptTimeout` or exceptions of others:
      *attempts* in all, as far as the *budget* allows;
    - `InvalidAnswer`: *answer_attempts* in all, as far as the *budget* allows;
    - `RateLimited`, which is no fault: as often as it takes, while the waits stay within
      *patience*.

    A `Rejected` from below, such as an open circuit, is waited out in place, whatever *on* says:
    the call was never made. It uses up no attempt, only *patience*.

    Waits are exponential with full jitter: anything between zero and *first_wait* doubled with
    each failure, *max_wait* at most (at least half of that after a `RateLimited` or
    `Rejected` without a hint). A server's ``retry_after`` is always obeyed: it is the
    least wait, plus up to a quarter of it to spread the callers. A hint of more than a day is
    not believed. When the server asks for more than *max_server_delay*, or patience is at its end,
    `Rejected` is raised from the server's error: a pipeline then parks the record, keeps its
    worker, and calls the stage again after the wait. A wait that would reach the caller's
    deadline is not begun; the error is raised at once. (When that deadline is the end of the
    run, `Rejected` is raised, and the record goes back to its source.)

    The last error is raised as it is, with a note on the earlier ones. Cancellation is no
    failure: it goes through at once. An instance may be shared; calls share its budget and
    nothing else. Stand it outside of limits, breaker and `Timeout`, so that each attempt passes
    them, and inside of `Deadline`, cache and fallback. One `Retry` around a call is enough:
    several multiply.

    Each retry emits `RetryScheduled`, each wait `events.PolicyWaited`, and counts in the record's
    ``attempts``. Full jitter is Brooker's ("Exponential Backoff And Jitter", AWS, 2015).
    """

    on: On = attrs.field(validator=is_on)
    """
    What to try again: an exception class, a tuple of them, or a function that is asked.

    A wide class never includes errors of this library that say trying is useless (`Permanent`,
    `DataError`, `Systemic` …): ``on=Exception`` does not retry `Truncated`, ``on=Truncated`` does.
    The function gets the error and answers whether to try again; a number is the seconds
    to wait before, unless the server asks for more.
    """

    attempts: int = attrs.field(default=3, validator=at_least(1))
    """
    How many attempts may fail for a fault; 1 never tries again.

    Faults that a circuit breaker inside took for an outage, and opened on, do not count.
    """

    answer_attempts: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    """How many answers may be invalid, each of which is paid for; `None`: like *attempts*."""

    first_wait: float = attrs.field(default=0.5, validator=positive)
    """The longest wait, in seconds, after the first failure."""

    max_wait: float = attrs.field(default=8.0, validator=[positive, _not_below_first_wait])
    """The longest wait, in seconds, after any failure, unless the server asks for more."""

    max_server_delay: float = attrs.field(default=60.0, validator=seconds)
    """The longest wait, in seconds, that a server or policy may ask for to be waited in place."""

    patience: float = attrs.field(default=300.0, validator=seconds)
    """The most seconds that one call waits in place for rate limits and rejections in all."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)
    random: Callable[[], float] = attrs.field(
        default=random.random, repr=False, validator=_options.random
    )

    budget: RetryBudget | None = attrs.field(
        default=attrs.Factory(_own_budget, takes_self=True),
        validator=_is_budget,
    )
    """What retries of faults and answers draw from; on an empty one the error is raised."""

    name: str = attrs.field(default="retry", validator=_options.text)
    """What to call this in events."""

    wish: Wish = attrs.field(init=False, repr=False)
    """Tells whether an error is to be tried again, and possibly when; made of *on*."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "wish", wish_of(self.on))

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Pass *value* on, again where that makes sense, and answer the first good answer."""
        if self.budget is not None and not is_unsent(value, call_next):
            self.budget.deposit()
        try:
            return await call_next(value)
        except Exception as error:
            wish: bool | float = isinstance(error, Rejected) or self.wish(error)
            if wish is False:
                raise
            attempts = Attempts(self, value, call_next, error, wish)
        # Outside of the handler, lest the first error become the context of all that follow.
        return await _go_on(attempts)


async def _go_on(attempts: Attempts[I, O]) -> O:
    """Make the attempts after the first; an instance of tenacity's own serves this call alone."""
    retrying = AsyncRetrying(
        retry=lambda state: attempts.wants_another(_outcome(state)),
        wait=lambda _: attempts.wait,
        stop=lambda _: attempts.must_stop(),
        sleep=attempts.sleep,
        retry_error_callback=_outcome,
    )
    try:
        outcome: object = await retrying(attempts.make)
    finally:
        retrying.iter_state.reset()  # it refers to its owner, which only the collector would free
    if isinstance(outcome, Failed):
        raise attempts.final(outcome)
    attempts.succeeded()
    return cast("O", outcome)


def _outcome(state: RetryCallState) -> object:
    # Attempts return their failures, so that no frame of tenacity's is held by a traceback.
    assert state.outcome is not None
    return state.outcome.result()
