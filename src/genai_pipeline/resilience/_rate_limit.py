"""`RateLimit`: a provider's whole quota, and no more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import apply, at_least, optional, positive, seconds
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, RateLimitExceeded
from genai_pipeline.events import PolicyWaited, emit
from genai_pipeline.resilience._buckets import Buckets, MemoryBuckets, Needs
from genai_pipeline.resilience._limit import binding_deadline
from genai_pipeline.resilience._quota import QuotaBook
from genai_pipeline.resilience._quota_line import QuotaLine
from genai_pipeline.resilience._reservation import Reservation, Reservations
from genai_pipeline.tokens import TokenEstimator
from genai_pipeline.types import Handler, TokenCounter

__all__ = ["RateLimit"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_IN_PLACE = 30.0
"""Seconds; below the patience of `AdaptiveLimit`, which would take a longer wait for a hang."""

Cost = Callable[[Any], "float | tuple[float, float]"]


_is_cost = _options.function("the value that answers its tokens, or None")
_are_buckets = _options.having(
    "buckets, such as SharedBuckets(...)",
    *("configure", "take", "reserve", "settle", "lower", "block", "blocked_for", "forecast"),
)


def _buckets(owner: RateLimit) -> Buckets:
    apply(_options.clock, owner, "clock", owner.clock)  # lest the buckets complain of it
    return MemoryBuckets(clock=owner.clock)


@attrs.define(kw_only=True, eq=False)
class RateLimit(Composite):
    """
    Keeps calls within a provider's quota of requests and tokens, and keeps that quota busy.

    Each call reserves what it will need before it is made: one request, its input tokens (as
    the *counter* has them, corrected by what answers showed) and the output tokens that 95 % of
    the last answers kept to, at most ``Request.max_output_tokens``. It takes all of it or waits,
    and whoever came first is served first, so that a large request is not starved by small ones.
    The answer's usage then settles the difference both ways.

    What is left of each quota is a bucket that fills continuously (a day's quota comes back at
    midnight UTC): in any *w* seconds the calls reserve no more than ``burst + rate * w``. Requests
    are exact; tokens are as good as the estimates, and any error is paid off.

    A `RateLimited` failure stops every call of this instance for its ``retry_after``, a little
    more by chance, and then lets calls through gradually; without one, for *cooldown* seconds,
    doubling each time. `QuotaExhausted` is not waited for. Limits and what is left, if the
    provider tells them (``Response.attributes["rate_limits"]``, or `Transient.rate_limits`),
    are obeyed when they are lower than what is known, and used when nothing is known.

    A call that was not made gives all back; one whose usage is not known (failed, cancelled)
    keeps its estimate. A wait beyond the caller's deadline is refused at once with
    `RateLimitExceeded`; input that the quota can never carry with `InvalidRequest`.

    Stands behind `Retry`, so that each attempt is counted, and before `Bulkhead`, so that a call
    that waits for quota holds no slot; `check_again` stands behind that. An instance is one
    quota: share it between all that use the same key, and give each key its own. Other values
    than a `Request` or an `EmbeddingRequest` count as one request; *cost* may tell their tokens.
    """

    passed_by_replays: ClassVar[bool] = True

    requests: float | None = attrs.field(default=None, validator=optional(at_least(1)))
    """Requests in each *per* seconds; `None`: no limit, unless the provider tells one."""

    tokens: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    """Tokens, input and output together, in each *per* seconds."""

    input_tokens: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    output_tokens: int | None = attrs.field(default=None, validator=optional(at_least(1)))

    requests_per_day: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    """Requests in each day, which begins at midnight UTC."""

    tokens_per_day: int | None = attrs.field(default=None, validator=optional(at_least(1)))

    per: float = attrs.field(default=60.0, validator=positive)
    """The seconds that the limits are for."""

    burst: float = attrs.field(default=5.0, validator=positive)
    """
    How many seconds' worth of quota may be used at once after a pause, at most *per*.

    Small, since providers enforce their minute in shorter stretches too.
    """

    share: float = attrs.field(default=1.0, validator=_options.share)
    """The part of the quota to use; less than 1 leaves the rest to others with the same key."""

    strict: bool = attrs.field(default=False, validator=_options.flag)
    """
    Whether to reserve all of ``max_output_tokens`` instead of what answers usually take.

    For providers that refuse calls by what they might use. Costs throughput only until the answer.
    """

    expected_output: int = attrs.field(default=500, validator=at_least(0))
    """Output tokens to expect, before 20 answers are in, where a request sets no limit."""

    count_cached: bool = attrs.field(default=True, validator=_options.flag)
    """Whether input that the provider had cached counts; for Anthropic's, mostly, it does not."""

    cost: Cost | None = attrs.field(default=None, validator=_options.optional(_is_cost))
    """
    Answers what a value will use: its input tokens, or a pair of input and output tokens.

    For values that are no request, or for what only the application knows.
    """

    counter: TokenCounter | None = attrs.field(
        default=None, repr=False, validator=optional(_options.token_counter)
    )
    """
    What counts the input tokens: a `TokenEstimator`, or another counter, which is put into one.

    By default one of its own. What it learns is by the model that ``Request.extra`` names, for
    all others together; share one between the limits of one model only.
    """

    cooldown: float = attrs.field(default=1.0, validator=seconds)
    """Seconds to wait after a `RateLimited` without ``retry_after``; doubles up to a minute."""

    queue: int = attrs.field(default=10_000, validator=at_least(0))
    """The most calls that wait; one more is refused with `RateLimitExceeded`."""

    learn: bool = attrs.field(default=True, validator=_options.flag)
    """Whether to obey the limits that the provider tells."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)

    buckets: Buckets = attrs.field(
        default=attrs.Factory(_buckets, takes_self=True), repr=False, validator=_are_buckets
    )
    """Where what is left is kept: in this process (on the clock), or shared with others."""

    name: str = attrs.field(default="rate_limit", validator=_options.text)
    """What events call it."""

    random: Callable[[], float] = attrs.field(
        default=random.random, repr=False, validator=_options.random
    )

    _line: QuotaLine = attrs.field(init=False, repr=False)
    _reservations: Reservations = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.requests is None and not self.learn and not self._others():
            raise ConfigurationError(
                "RateLimit: no limit is given and learn=False; give requests=, tokens= or another"
            )
        book = QuotaBook(
            name=self.name, given=self._given(), per=self.per, burst=self.burst, share=self.share
        )
        self.buckets.configure(book.quotas)
        self._line = QuotaLine(self.name, self.queue, self.buckets, self.clock)
        self._reservations = Reservations(self, book, self._line, self._estimator())

    async def __call__(self, value: I, call_next: Handler[I, O]) -> O:
        """Reserve what *value* needs, pass it on, and settle by the answer."""
        reservation = await self._reservations.make(value)
        try:
            answer = await call_next(value)
        except Exception as error:
            await reservation.failed(error)
            raise
        except BaseException:
            reservation.keep()
            raise
        reservation.answered(answer)
        return answer

    async def check_again(self, value: I, call_next: Handler[I, O]) -> O:
        """
        Be the middleware in which a call that queued, behind this limit, into a cooldown waits.

        Stands behind `Bulkhead` or `AdaptiveLimit`, where calls queue that this limit let pass
        before the provider asked all to slow down. They keep their slots meanwhile, which nobody
        else could use. A cooldown of more than half a minute, or past the caller's deadline, is
        refused with `RateLimitExceeded`.
        """
        while (wait := self.buckets.blocked_for()) > 0:
            await self._sit_out(wait)
        return await call_next(value)

    async def _sit_out(self, wait: float) -> None:
        began = self.clock.now()
        if wait > _IN_PLACE or began + wait > binding_deadline():
            raise RateLimitExceeded(
                f"{self.name}: the provider asked to slow down, for another {wait:.3g} s",
                retry_after=wait,
            )
        try:
            await self.clock.sleep(wait)
        finally:
            seconds = self.clock.now() - began
            emit(PolicyWaited(kind="cooldown", name=self.name, seconds=seconds))

    async def reserve(self, value: object) -> Reservation:
        """
        Reserve what *value* needs, for what is more than a call: a stream.

        End it with exactly one of its methods: ``answered``, ``failed``, ``left_early``, ``keep``
        or ``refund``.
        """
        return await self._reservations.make(value)

    def parts(self) -> Iterable[object]:
        """Answer where the quota is kept: what is entered and left with this."""
        return (self.buckets,)

    @property
    def waiting(self) -> int:
        """How many calls wait now."""
        return len(self._line)

    @property
    def in_flight(self) -> int:
        """How many reservations are not settled yet."""
        return len(self._reservations.open)

    @property
    def estimator(self) -> TokenEstimator:
        """What counts the input tokens, and learns: its snapshot can be kept for the next run."""
        return self._reservations.estimator

    def _estimator(self) -> TokenEstimator:
        counter = self.counter
        if counter is None or isinstance(counter, TokenEstimator):
            return counter or TokenEstimator()
        return TokenEstimator(counter=counter)

    def _others(self) -> Needs:
        given = {
            "tokens": self.tokens,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "requests_per_day": self.requests_per_day,
            "tokens_per_day": self.tokens_per_day,
        }
        return {name: limit for name, limit in given.items() if limit is not None}

    def _given(self) -> Needs:
        others = self._others()
        return others if self.requests is None else {"requests": self.requests, **others}
