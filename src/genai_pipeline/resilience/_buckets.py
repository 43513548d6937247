"""Token buckets, several at once: all give, or none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, TypeAlias

import attrs

from genai_pipeline import _options
from genai_pipeline.clock import Clock, SystemClock

__all__ = ["Buckets", "MemoryBuckets", "Needs", "Quota"]

Needs: TypeAlias = Mapping[str, float]
"""How much of each dimension, by its name: ``{"requests": 1, "tokens": 812}``."""

_INSTANT = 1e-6  # s; shorter waits are errors of rounding


@attrs.frozen(kw_only=True)
class Quota:
    """What may be used of one dimension."""

    limit: float
    """So much in each *per* seconds."""

    per: float
    burst: float
    """The most that may be used at once, after a pause; more is taken when it is all there."""

    calendar: bool = False
    """
    Whether the whole *limit* is there at once and comes back at the end of each period.

    Periods are counted from 1970-01-01 UTC. Otherwise it comes back continuously.
    """

    @property
    def rate(self) -> float:
        """How much comes back a second."""
        return 0.0 if self.calendar else self.limit / self.per

    @property
    def full(self) -> float:
        """The most that is ever there."""
        return self.limit if self.calendar else self.burst


class Buckets(Protocol):
    """
    Keeps what is left of quotas, for one `RateLimit` or for many, in one process or in several.

    Each quota is a bucket that fills at its rate up to its burst. All methods but `reserve` and
    `block` return at once, without an ``await``. One that needs a connection is an asynchronous
    context manager, which the limit's life cycle enters and leaves.
    """

    def configure(self, quotas: Mapping[str, Quota], /) -> None:
        """Learn which quotas there are, at the beginning and at each change."""
        ...

    def take(self, need: Needs, /) -> bool:
        """Take *need* from what this process holds: all of it, or nothing; tell which."""
        ...

    async def reserve(self, need: Needs, /) -> float:
        """
        Take *need*, all of it or nothing, from what all share.

        Answers 0 when it is taken, else the seconds until it is worth asking again. Only one
        call in a process asks at a time. When it is cancelled, nothing is lost.
        """
        ...

    def settle(self, difference: Needs, /) -> None:
        """Give back, or where it is negative take, what the use differs from what was taken."""
        ...

    def lower(self, levels: Needs, /) -> None:
        """Note that no more than *levels* is left; never raises what is left."""
        ...

    async def block(self, seconds: float, /) -> None:
        """Give nothing to anybody for so long, and then as it comes in, without a burst."""
        ...

    def blocked_for(self) -> float:
        """Answer for how many seconds more nothing is given, as far as this process knows."""
        ...

    def forecast(self, need: Needs, ahead: Needs, /) -> float:
        """Answer in how many seconds, about, *need* will be there after *ahead* is served."""
        ...


class _Bucket:
    __slots__ = ("at", "calendar", "full", "level", "quota", "rate", "window")

    def __init__(self, quota: Quota, now: float, window: float) -> None:
        self.level = quota.full
        self.at = now
        """When the level was as it says; in the future while nothing may come in."""
        self.window = window
        self.set(quota)

    def set(self, quota: Quota) -> None:
        """Be of another quota; what is left stays, as far as it fits."""
        self.quota = quota
        self.rate, self.full, self.calendar = quota.rate, quota.full, quota.calendar
        self.level = min(self.level, self.full)


@attrs.define(kw_only=True, eq=False)
class MemoryBuckets:
    """
    Keeps what is left of quotas in this process.

    Exact: in any stretch of *w* seconds, no more than ``burst + rate * w`` is taken, less what is
    given back; a need above the burst is taken when the bucket is full, and is paid off before
    anything else is given.
    """

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)
    _buckets: dict[str, _Bucket] = attrs.field(factory=dict, init=False, repr=False)
    _blocked_until: float = attrs.field(default=-math.inf, init=False, repr=False)

    def configure(self, quotas: Mapping[str, Quota], /) -> None:
        """Learn which quotas there are; what is left of known ones stays, at most their burst."""
        now = self.clock.now()
        for name in self._buckets.keys() - quotas.keys():
            del self._buckets[name]
        for name, quota in quotas.items():
            known = self._buckets.get(name)
            if known is None:
                self._buckets[name] = _Bucket(quota, now, self._window(quota))
            else:
                self._fill(known, now)
                known.set(quota)

    def take(self, need: Needs, /) -> bool:
        """Take *need*, all of it or nothing; tell which."""
        return self._take(need) <= 0

    async def reserve(self, need: Needs, /) -> float:
        """Take *need*, or answer in how many seconds it will be there."""
        return self._take(need)

    def settle(self, difference: Needs, /) -> None:
        """Give back, or take, what the use differs from what was taken."""
        now = self.clock.now()
        for name, amount in difference.items():
            bucket = self._buckets.get(name)
            if bucket is not None:
                self._fill(bucket, now)
                bucket.level = min(bucket.level + amount, bucket.full)

    def lower(self, levels: Needs, /) -> None:
        """Note that no more than *levels* is left."""
        now = self.clock.now()
        for name, level in levels.items():
            bucket = self._buckets.get(name)
            if bucket is not None:
                self._fill(bucket, now)
                bucket.level = min(bucket.level, level)

    async def block(self, seconds: float, /) -> None:
        """Give nothing for so long, and then as it comes in."""
        now = self.clock.now()
        until = now + seconds
        if until <= self._blocked_until:
            return
        self._blocked_until = until
        for bucket in self._buckets.values():
            self._fill(bucket, now)
            if not bucket.calendar:
                bucket.level = min(bucket.level, 0.0)
                bucket.at = until

    def blocked_for(self) -> float:
        """Answer for how many seconds more nothing is given."""
        return max(0.0, self._blocked_until - self.clock.now())

    def forecast(self, need: Needs, ahead: Needs, /) -> float:
        """Answer in how many seconds *need* will be there after *ahead* is served."""
        return self._wait(need, self.clock.now(), ahead)

    def levels(self) -> dict[str, float]:
        """Answer what is left of each quota; below zero is debt."""
        now = self.clock.now()
        for bucket in self._buckets.values():
            self._fill(bucket, now)
        return {name: bucket.level for name, bucket in self._buckets.items()}

    def _take(self, need: Needs) -> float:
        buckets = self._buckets
        wait = self._wait(need, self.clock.now())
        if wait <= 0:
            for name, amount in need.items():
                if name in buckets:
                    buckets[name].level -= amount
        return wait

    def _wait(self, need: Needs, now: float, ahead: Needs | None = None) -> float:
        wait = self._blocked_until - now
        for name, amount in need.items():
            bucket = self._buckets.get(name)
            if bucket is None:
                continue
            if bucket.calendar or now > bucket.at:
                self._fill(bucket, now)
            missing = min(amount, bucket.full) - bucket.level
            if ahead is not None:
                missing += ahead.get(name, 0.0)
            if missing > 0:
                calendar = bucket.calendar
                comes = self._next_window(bucket.quota) if calendar else missing / bucket.rate
                wait = max(wait, comes + max(0.0, bucket.at - now))
        return wait if wait > _INSTANT else 0.0

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if bucket.calendar:
            window = self._window(bucket.quota)
            if window > bucket.window:  # a clock set back gives nothing anew
                bucket.window = window
                bucket.level = bucket.full + min(bucket.level, 0.0)
        elif now > bucket.at:
            level = bucket.level + (now - bucket.at) * bucket.rate
            bucket.level = min(level, bucket.full)
            bucket.at = now

    def _window(self, quota: Quota) -> float:
        return self.clock.wall() // quota.per

    def _next_window(self, quota: Quota) -> float:
        return quota.per - self.clock.wall() % quota.per
