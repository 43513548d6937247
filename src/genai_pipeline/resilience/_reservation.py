"""What a call reserved, from before it is made until its use is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import attrs

from genai_pipeline._options import check
from genai_pipeline.clock import Clock
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.errors import ConnectionFailed, InvalidRequest, RateLimited, Rejected, Transient
from genai_pipeline.events import emit
from genai_pipeline.messages import Request, Response, Usage
from genai_pipeline.resilience._buckets import Buckets, Needs, Quota
from genai_pipeline.resilience._events import CooldownBegan
from genai_pipeline.resilience._quota import QuotaBook, dimension_of
from genai_pipeline.resilience._quota_line import QuotaLine
from genai_pipeline.resilience._told_limits import told_limits
from genai_pipeline.resilience._usual_output import UsualOutput
from genai_pipeline.tokens import TokenEstimator

__all__ = ["Reservation", "Reservations"]

_LONGEST_COOLDOWN = 60.0
_BELIEVED = 86_400.0
_JITTER = 0.1
_MOST_MODELS = 100

_AnyRequest: TypeAlias = Request | EmbeddingRequest
_ANSWERS = (Response, EmbeddingResponse)


class _Options(Protocol):
    """What of a `RateLimit` matters here."""

    strict: bool
    expected_output: int
    count_cached: bool
    cost: Callable[[Any], float | tuple[float, float]] | None
    cooldown: float
    learn: bool
    buckets: Buckets
    name: str
    clock: Clock
    random: Callable[[], float]


class Reservation:
    """What one call reserved. Ends with the first call of one of its methods."""

    __slots__ = ("_all", "_read", "counted", "model", "need", "number")

    def __init__(
        self, all_: Reservations, need: Needs, model: str, counted: int, read: float = 0
    ) -> None:
        self._all = all_
        self._read = read
        self.number: int
        self.need = need
        self.model = model
        self.counted = counted

    def answered(self, answer: object) -> None:
        """Settle by the usage that *answer* tells; what tells none keeps the estimate."""
        if isinstance(answer, Response) and answer.attributes.get("replayed"):
            self.refund()  # it came out of a journal, and told what is long past
            return
        if self._all.close(self) and isinstance(answer, _ANSWERS):
            self._all.cooldowns = 0
            told = answer.attributes.get("rate_limits")
            if answer.usage.input_tokens or answer.usage.output_tokens:
                self._all.learn_usage(self, answer)
                self._all.settle(self, answer.usage)
            if told:
                self._all.learn(self, told)

    async def failed(self, error: Exception) -> None:
        """Settle by a failure: give all back if it was not sent, cool down if it was too much."""
        if isinstance(error, Rejected) or (isinstance(error, ConnectionFailed) and not error.sent):
            self.refund()
            return
        if not self._all.close(self):
            return
        if isinstance(error, Transient) and error.rate_limits:
            self._all.learn(self, error.rate_limits)
        if isinstance(error, RateLimited):
            await self._all.cool_down(self, error.retry_after)

    def keep(self) -> None:
        """Leave it at the estimate, since nobody knows what was used."""
        self._all.close(self)

    def tokens_of(self, text: str) -> int:
        """Answer about how many tokens *text*, a piece of an answer to this call, is."""
        return self._all.estimator.count(text, model=self.model)

    def left_early(self, output_tokens: int) -> None:
        """
        Settle by the *output_tokens* that came before the answer was left; keep the input's.

        Nothing is learned from it, since it says nothing of how long whole answers are.
        """
        if self._all.close(self):
            used = Usage(input_tokens=math.ceil(self._read), output_tokens=output_tokens)
            self._all.settle(self, used)

    def refund(self) -> None:
        """Give everything back, since the call was not made."""
        if self._all.close(self):
            self._all.give_back(self.need)


@attrs.define(eq=False)
class Reservations:
    """Makes the reservations of one limit, and learns from how they end."""

    options: _Options
    book: QuotaBook
    line: QuotaLine
    estimator: TokenEstimator
    cooldowns: int = 0
    open: dict[int, Reservation] = attrs.field(factory=dict)
    _number: int = 0
    _newest_told: int = 0
    _cooled_at: int = 0
    _outputs: dict[str, UsualOutput] = attrs.field(factory=dict)

    async def make(self, value: object) -> Reservation:
        """Wait for what *value* needs, and take it."""
        reservation = self._draft(value)
        if not self.line.take_free(reservation.need):
            await self.line.wait(reservation.need)
        self._number = number = self._number + 1
        reservation.number = number
        self.open[number] = reservation
        return reservation

    def close(self, reservation: Reservation) -> bool:
        """End *reservation*; answer `False` when it ended before."""
        return self.open.pop(reservation.number, None) is not None

    def give_back(self, need: Needs) -> None:
        """Give *need* back, and let the first in line look."""
        self.options.buckets.settle(need)
        self.line.poke()

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Settle the difference between what was reserved and what was used."""
        if not self.book.counts_tokens:
            return
        read = usage.input_tokens - (0 if self.options.count_cached else usage.cached_tokens)
        amounts = _amounts(max(0, read), usage.output_tokens)
        difference = {
            name: reserved - amounts[_PLACES[name]]
            for name, reserved in reservation.need.items()
            if name in _TOKENS
        }
        self.give_back(difference)

    def learn_usage(self, reservation: Reservation, answer: Response | EmbeddingResponse) -> None:
        """Learn how many tokens it was that were counted, and how long answers are."""
        counted, model, usage = reservation.counted, reservation.model, answer.usage
        if counted:
            self.estimator.learn(counted, usage.input_tokens, model=model)
            if isinstance(answer, Response):
                self._output_of(model).learn(usage.output_tokens)

    def learn(self, reservation: Reservation, told: Mapping[str, object]) -> None:
        """Obey what the provider told in answer to *reservation*, unless newer words are known."""
        options = self.options
        if not options.learn or reservation.number < self._newest_told:
            return
        self._newest_told = reservation.number
        understood = told_limits(told, wall=options.clock.wall())
        known = {dimension_of(dimension, one): one for dimension, one in understood.items()}
        if self.book.learn(known):
            options.buckets.configure(self.book.quotas)
        left = {
            name: one.remaining * self.book.share
            for name, one in known.items()
            if one.remaining is not None
        }
        options.buckets.lower(self._less_in_flight(left, reservation.number))

    async def cool_down(self, reservation: Reservation, retry_after: float | None) -> None:
        """Stop everybody for as long as the provider asked, or for a growing while."""
        again = reservation.number <= self._cooled_at
        if retry_after is not None and retry_after > _BELIEVED:
            retry_after = None
        if not retry_after and again:
            return  # one of the burst that the last cooldown was for
        wait = retry_after or self._growing()
        if not again:
            self._cooled_at = self._number
            self.cooldowns += 1
        wait *= 1 + _JITTER * self.options.random()
        if wait > self.options.buckets.blocked_for():
            emit(CooldownBegan(name=self.options.name, seconds=wait))
            await self.options.buckets.block(wait)
            self.line.cool_down()

    def _growing(self) -> float:
        shortest = self.options.cooldown
        return min(shortest * 2.0 ** min(self.cooldowns, 30), max(_LONGEST_COOLDOWN, shortest))

    def _less_in_flight(self, left: dict[str, float], number: int) -> dict[str, float]:
        """Take off what was reserved after the answered call: the provider may not know of it."""
        for other in reversed(self.open.values()):
            if other.number < number:
                break
            for name, amount in other.need.items():
                if name in left:
                    left[name] -= amount
        return left

    def _draft(self, value: object) -> Reservation:
        if not self.book.counts_tokens:
            return Reservation(self, self.book.one_of_each, "", 0)
        options = self.options
        model, counted = "", 0
        read: float = 0
        write: float = 0
        if isinstance(value, _AnyRequest):
            model = _model_of(value)
            counted = self.estimator.counter.count(value, model=model)
            read = self.estimator.corrected(counted, model=model)
        if isinstance(value, Request):
            write = self._output_of(model).of(value, strict=options.strict)
        if options.cost is not None:
            told = options.cost(value)
            read, write = told if isinstance(told, tuple) else (told, write)
            fine = 0 <= read < math.inf and 0 <= write < math.inf
            check(fine, "RateLimit", "cost", told, "a function that answers tokens, 0 or more")
        amounts = _amounts(read, write)
        need: dict[str, float] = {}
        for name, quota in self.book.quotas.items():
            amount = amounts[_PLACES[name]]
            if amount > quota.limit and name in _TOKENS:
                self._check_input(name, read, quota)
                amount = quota.limit  # the rest of it is a guess
            need[name] = amount
        return Reservation(self, need, model, counted, read)

    def _check_input(self, name: str, read: float, quota: Quota) -> None:
        if name != "output_tokens" and read > quota.limit:
            raise InvalidRequest(
                f"{self.options.name}: the input needs about {read:g} tokens, more than the "
                f"{quota.limit:g} {name} that may be used in {quota.per:g} s"
            )

    def _output_of(self, model: str) -> UsualOutput:
        usual = self._outputs.get(model)
        if usual is None:
            if len(self._outputs) >= _MOST_MODELS:
                del self._outputs[next(iter(self._outputs))]
            usual = self._outputs[model] = UsualOutput(self.options.expected_output)
        return usual


def _model_of(request: _AnyRequest) -> str:
    name = request.extra.get("model")
    return name if isinstance(name, str) else ""


def _amounts(read: float, write: float) -> tuple[float, float, float, float]:
    """Answer how much a call needs, in the places that `_PLACES` names."""
    return 1.0, read, write, read + write


_PLACES = {
    "requests": 0,
    "tokens": 3,
    "input_tokens": 1,
    "output_tokens": 2,
    "requests_per_day": 0,
    "tokens_per_day": 3,
    "input_tokens_per_day": 1,
    "output_tokens_per_day": 2,
}
"""For each quota that there may be, what of the `_amounts` it is about."""

_TOKENS = frozenset(name for name in _PLACES if "tokens" in name)
