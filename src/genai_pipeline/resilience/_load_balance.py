"""`LoadBalance`: one handler made of several."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check, one_of, positive, seconds
from genai_pipeline._replay import is_replaying, would_replay
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import (
    ConfigurationError,
    NoTargetReady,
    RateLimited,
    Rejected,
    Transient,
)
from genai_pipeline.events import emit
from genai_pipeline.messages import Request, Response
from genai_pipeline.resilience._marks import marked
from genai_pipeline.resilience._route_events import TargetRested
from genai_pipeline.resilience._targets import Target, decayed, for_key, targets_of, weighted
from genai_pipeline.types import Provider

__all__ = ["LoadBalance"]

_DEFAULT_REST = 1.0


_is_sticky = _options.function("the value that answers text or None")


def _is_price(value: object) -> bool:
    return _options.is_number(value) and 0 <= value < math.inf


@attrs.frozen(eq=False)
class LoadBalance(Composite):
    """
    Spreads calls over *targets*: several keys, regions, servers or vendors of one model.

    ``gp.LoadBalance({europe: 3, america: 1})`` gives weights, ``{"eu": europe, "us": america}``
    names; a provider made of providers. *by* says which target a call goes to:

    - ``"weight"``: at random, each its share;
    - ``"in_flight"``: where the fewest calls are under way, per weight;
    - ``"latency"``: where the least time is to be expected, from smoothed latencies, calls in
      flight and weight; a failure counts like a slow answer;
    - ``"cost"``: to the cheapest by *prices*.

    Ties are broken by weight, at random. With *sticky*, calls of one key go to one target (for
    a prompt cache on the server), chosen by rendezvous hashing: the same in every process, and
    when a target rests, its keys alone move.

    A target that refuses, by an open circuit or another `Rejected`, or by `RateLimited`, has not
    worked: the next is chosen for the same call, and the first rests for its ``retry_after``
    (one second without). Another `Transient` is raised for the `Retry` outside, and its target
    rests if the server named a time; that time is taken off the error while another target is
    ready, so that the next attempt goes there without waiting for this one. No rest is longer
    than *max_rest*. When all rest, `NoTargetReady` tells how long until the first is ready.

    The answer names its target in ``Response.attributes["target"]``; each rest emits
    `TargetRested`. Each target has its own breaker and limits; `Retry` stands around the
    whole. Cancellation counts as nothing.
    """

    targets: Mapping[Any, float] | Mapping[str, Provider] = attrs.field(repr=False)
    """``{handler: weight}``, or ``{name: handler}`` for targets of equal weight."""

    by: Literal["weight", "in_flight", "latency", "cost"] = attrs.field(
        default="weight",
        kw_only=True,
        validator=one_of("weight", "in_flight", "latency", "cost"),
    )

    prices: Mapping[str, float] | None = attrs.field(default=None, kw_only=True)
    """For ``by="cost"``: what a call costs, by name of the target, in any unit."""

    sticky: Callable[[Any], str | None] | None = attrs.field(
        default=None, kw_only=True, validator=_options.optional(_is_sticky)
    )
    """Answers the key of a value whose calls belong together; `None` for one that has none."""

    max_rest: float = attrs.field(default=60.0, kw_only=True, validator=seconds)
    """The longest that a target is left alone for its own asking, in seconds."""

    memory: float = attrs.field(default=60.0, kw_only=True, validator=positive)
    """For ``by="latency"``: seconds until a latency that was seen counts a third."""

    clock: Clock = attrs.field(
        factory=SystemClock, kw_only=True, repr=False, validator=_options.clock
    )
    random: Callable[[], float] = attrs.field(
        default=random.random, kw_only=True, repr=False, validator=_options.random
    )
    name: str = attrs.field(default="balance", kw_only=True, validator=_options.text)

    members: tuple[Target[Request, Response], ...] = attrs.field(
        init=False, default=attrs.Factory(lambda self: targets_of(self, self.targets), True)
    )
    """The targets, with what is known of each."""

    def __attrs_post_init__(self) -> None:
        if self.by != "cost":
            check(self.prices is None, self, "prices", self.prices, "by='cost' with them")
            return
        names = [target.name for target in self.members]
        fine = isinstance(self.prices, Mapping) and all(
            _is_price(self.prices.get(name)) for name in names
        )
        check(fine, self, "prices", self.prices, f"a number, 0 or more, for each of {names}")

    def parts(self) -> Iterable[object]:
        """Answer the targets: what is entered and left with this."""
        return tuple(target.handler for target in self.members)

    async def __call__(self, request: Request) -> Response:
        """Pass *request* to one of the targets."""
        for target in self.members if is_replaying() else ():
            if would_replay(request, target.handler):
                # Nothing is sent, so it says nothing of the target, and needs none that is ready.
                return marked(await target.handler(request), target=target.name)
        key = self._key(request)
        left = list(self.members)
        refusal: Exception | None = None
        try:
            while ready := self._ready(left):
                target = self._chosen(ready, key)
                try:
                    return await self._ask(target, request)
                except (Rejected, RateLimited) as error:
                    refusal = error
                    left.remove(target)
            raise self._none_ready() from refusal
        finally:
            del refusal  # its traceback refers to this frame

    def would_replay(self, request: Request) -> bool:
        """Tell whether a journal would answer *request*, whichever target gave it."""
        return any(would_replay(request, target.handler) for target in self.members)

    async def _ask(self, target: Target[Request, Response], request: Request) -> Response:
        clock = self.clock
        began = clock.now()
        target.in_flight += 1
        try:
            answer = await target.handler(request)
        except (Rejected, RateLimited) as error:
            wait = error.retry_after
            self._rest(target, error, _DEFAULT_REST if wait is None else wait)
            raise
        except Transient as error:
            now = clock.now()
            target.failed(now - began, now)
            if error.retry_after is not None:
                self._rest(target, error, error.retry_after)
                if self._ready(self.members):
                    error.retry_after = None  # it is that target's time, not the next one's
            raise
        finally:
            target.in_flight -= 1
        now = clock.now()
        target.saw(now - began, now)
        return marked(answer, target=target.name)

    def _rest(self, target: Target[Request, Response], error: Exception, wait: float) -> None:
        wait = min(wait, self.max_rest)
        until = self.clock.now() + wait
        if wait > 0 and until > target.rests_until:
            target.rests_until = until
            kind = type(error).__name__
            emit(TargetRested(name=self.name, target=target.name, seconds=wait, error=kind))

    def _ready(self, left: Sequence[Target[Request, Response]]) -> list[Target[Request, Response]]:
        now = self.clock.now()
        return [target for target in left if target.rests_until <= now]

    def _chosen(
        self, ready: Sequence[Target[Request, Response]], key: str | None
    ) -> Target[Request, Response]:
        if key is not None:
            return for_key(ready, key)
        if self.by == "weight":
            return weighted(ready, self.random())
        measure = self._measure(ready)
        least = min(map(measure, ready))
        return weighted([each for each in ready if measure(each) == least], self.random())

    def _measure(
        self, ready: Sequence[Target[Request, Response]]
    ) -> Callable[[Target[Request, Response]], float]:
        if self.by == "latency":
            return decayed(ready, self.clock.now(), self.memory)
        if self.by == "cost":
            prices = self.prices or {}
            return lambda target: prices[target.name]
        return lambda target: (target.in_flight + 1) / target.weight

    def _key(self, request: Request) -> str | None:
        key = None if self.sticky is None else self.sticky(request)
        if key is not None and not isinstance(key, str):
            raise ConfigurationError(
                f"LoadBalance: sticky={self.sticky!r} answered {key!r}; let it answer text or None"
            )
        return key

    def _none_ready(self) -> NoTargetReady:
        now = self.clock.now()
        wait = max(0.0, min(target.rests_until for target in self.members) - now)
        return NoTargetReady(
            f"{self.name}: none of {len(self.members)} targets is ready; "
            f"the first may be in {wait:.3g} s",
            retry_after=wait,
        )
