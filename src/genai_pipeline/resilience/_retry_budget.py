"""`RetryBudget`: keeps retries a share of the traffic."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline.clock import Clock, SystemClock

__all__ = ["RetryBudget"]


@attrs.define(kw_only=True, eq=False, on_setattr=attrs.setters.NO_OP)
class RetryBudget:
    """
    A bucket of tokens, one for each retry, that calls and time fill again.

    When everything fails, each retry is load on a provider that cannot bear it. A budget lets
    single failures be retried at once, and in an outage lets through no more than::

        retries <= capacity + ratio * calls + reserve * seconds

    It is full at first. Give one budget to every `Retry` around the same provider (by default
    each has its own). It is not safe to share between threads. The rule is Finagle's and the
    AWS SDKs'.
    """

    ratio: float = attrs.field(default=0.2, validator=_options.from_to(0, 1))
    """How much of a token each call brings."""

    reserve: float = attrs.field(default=1.0, validator=_options.from_to(0))
    """How many tokens each second brings, so that little traffic can be retried as well."""

    capacity: float = attrs.field(default=500.0, validator=_options.from_to(1))
    """
    The most tokens kept. Let it exceed the calls in flight, since one broken connection may
    fail them all.
    """

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)

    _level: float = attrs.field(init=False, repr=False)
    _filled_at: float = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._level = self.capacity
        self._filled_at = self.clock.now()

    @property
    def level(self) -> float:
        """How many tokens there are now."""
        now = self.clock.now()
        gained = self.reserve * (now - self._filled_at)
        self._level = min(self.capacity, self._level + gained)
        self._filled_at = now
        return self._level

    def deposit(self) -> None:
        """Count one call, retries aside."""
        self._level += self.ratio  # the capacity is minded when somebody looks

    def withdraw(self) -> bool:
        """Take a token for a retry, if there is a whole one."""
        if self.level < 1:
            return False
        self._level -= 1
        return True

    def refund(self) -> None:
        """Give back the token of a retry that was not made after all."""
        self._level += 1
