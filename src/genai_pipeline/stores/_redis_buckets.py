"""`RedisBuckets`: quotas that processes share through Redis."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConnectionFailed, StorageFailed
from genai_pipeline.events import emit
from genai_pipeline.resilience import MemoryBuckets, Quota, SharedQuotaLost, SharedQuotaRegained
from genai_pipeline.resilience._buckets import Needs
from genai_pipeline.stores._redis import RedisScripts
from genai_pipeline.stores._redis_buckets_script import SCRIPT

__all__ = ["RedisBuckets"]

_FORGOTTEN_AFTER = 60
_GRACE = 0.25
_LONGEST_PAUSE = 15.0


def _name(owner: object, option: attrs.Attribute[str], value: object) -> None:
    fine = isinstance(value, str) and value and not set(value) & set("{}")
    check(bool(fine), owner, option.name, value, "a text without braces, the same in each process")


@attrs.define(kw_only=True, eq=False)
class RedisBuckets(RedisScripts):
    """
    Keeps what is left of quotas for all processes, on one Redis or Valkey server and its clock.

    Give it to ``RateLimit(buckets=...)``, one for each limit, with the same *name* and the same
    limits in each process. Together they take no more than one process would; whoever waits
    longest is next, so that no process starves another's large calls. What a process takes ahead
    of its calls is at most *lease* seconds' worth, and comes back when it is not used.

    A process that dies holds nothing up: one that waited had taken nothing, and what others took
    comes back as all quota does. While the server is out of reach, each process goes on with its
    part, one of as many as were last seen (at first *processes*), beginning with nothing saved up;
    it tries the server again after *retry_after* seconds, and then less often. The events `SharedQuotaLost` and
    `SharedQuotaRegained` tell. A server that lost its data begins with full buckets, which allows
    one burst.
    """

    name: str = attrs.field(validator=_name)
    """Which quota this is; one hash and one sorted set are kept for it."""

    lease: float = attrs.field(default=0.25, validator=_options.seconds)
    """How many seconds' worth of quota to take ahead; 0 asks the server for each call."""

    processes: int = attrs.field(default=4, validator=_options.at_least(1))
    """How many processes share the quota, as long as the server has not told."""

    retry_after: float = attrs.field(default=1.0, validator=_options.positive)
    """Seconds to leave an unreachable server alone; doubles up to 15."""

    prefix: str = "genai_pipeline:quota:"
    """What the keys begin with."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False)

    _member: str = attrs.field(factory=lambda: uuid.uuid4().hex, init=False, repr=False)
    _quotas: dict[str, Quota] = attrs.field(factory=dict, init=False, repr=False)
    _held: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _held_since: float = attrs.field(default=-math.inf, init=False, repr=False)
    _lower: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _levels: dict[str, float] = attrs.field(factory=dict, init=False, repr=False)
    _seen_at: float = attrs.field(default=-math.inf, init=False, repr=False)
    _blocked_until: float = attrs.field(default=-math.inf, init=False, repr=False)
    _alone: MemoryBuckets | None = attrs.field(default=None, init=False, repr=False)
    _alone_until: float = attrs.field(default=-math.inf, init=False, repr=False)
    _tries: int = attrs.field(default=0, init=False, repr=False)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        held = any(amount > 0 for amount in self._held.values())
        if self._users == 1 and held and self._alone is None:
            await self._exchange(None, back=self._take_back())
        await super().__aexit__(kind, error, trace)

    def configure(self, quotas: Mapping[str, Quota], /) -> None:
        """Learn which quotas there are."""
        self._quotas = dict(quotas)
        if self._alone is not None:
            self._alone.configure(self._part())

    def take(self, need: Needs, /) -> bool:
        """Take *need* from what this process holds."""
        if self._alone is not None:
            # The server is asked again by whoever waits; nobody else spends time on it.
            return self.clock.now() < self._alone_until and self._alone.take(need)
        if self.clock.now() < self._blocked_until or self._is_stale():
            return not need
        if any(self._held.get(name, 0.0) < amount for name, amount in need.items()):
            return False
        self._hold(need, -1)
        return True

    async def reserve(self, need: Needs, /) -> float:
        """Take *need*, or answer in how many seconds it is worth asking again."""
        if self._alone is not None and self.clock.now() < self._alone_until:
            return await self._reserve_alone(need)
        back = self._take_back() if self._is_stale() else {}
        asked = {name: max(0.0, need[name] - self._held.get(name, 0.0)) for name in need}
        reply = await self._exchange(asked, back=back)
        if reply is None:
            return await self._reserve_alone(need)
        if not reply["granted"]:
            return max(float(reply["wait"]), 1e-4)
        self._hold(need, -1)
        return 0.0

    def settle(self, difference: Needs, /) -> None:
        """Give back, or take; the server is told with the next call."""
        if self._alone is not None:
            self._alone.settle(difference)
        else:
            self._hold(difference, 1)

    def lower(self, levels: Needs, /) -> None:
        """Note that no more than *levels* is left; the server is told with the next call."""
        if self._alone is not None:
            self._alone.lower(levels)
        for name, level in levels.items():
            self._lower[name] = min(level, self._lower.get(name, math.inf))
            self._held[name] = min(max(0.0, level), self._held.get(name, 0.0))

    async def block(self, seconds: float, /) -> None:
        """Give nothing to anybody for so long; the other processes learn it when they ask."""
        self._blocked_until = max(self._blocked_until, self.clock.now() + seconds)
        self._held = {name: min(0.0, amount) for name, amount in self._held.items()}
        if self._alone is not None:
            await self._alone.block(seconds)
        else:
            await self._exchange(None)

    def blocked_for(self) -> float:
        """Answer for how many seconds more nothing is given, as far as this process knows."""
        return max(0.0, self._blocked_until - self.clock.now())

    def forecast(self, need: Needs, ahead: Needs, /) -> float:
        """Answer in how many seconds *need* would be there if this process were alone."""
        if self._alone is not None:
            return self._alone.forecast(need, ahead)
        blocked = wait = self.blocked_for()
        passed = self.clock.now() - self._seen_at
        for name, amount in need.items():
            quota = self._quotas.get(name)
            if quota is None or quota.calendar:
                continue
            level = min(self._levels.get(name, quota.burst) + passed * quota.rate, quota.burst)
            there = level + self._held.get(name, 0.0)
            missing = min(amount, quota.burst) + ahead.get(name, 0.0) - there
            if missing > 0:
                wait = max(wait, blocked + missing / quota.rate)
        return wait

    def _hold(self, amounts: Needs, sign: int) -> None:
        for name, amount in amounts.items():
            self._held[name] = self._held.get(name, 0.0) + sign * amount

    def _is_stale(self) -> bool:
        return self.clock.now() - self._held_since > 2 * self.lease

    def _take_back(self) -> dict[str, float]:
        """Give up what is held, debts included, to be told to the server."""
        held, self._held = self._held, {}
        return held

    async def _exchange(
        self, asked: dict[str, float] | None, *, back: Needs | None = None
    ) -> dict[str, Any] | None:
        """Tell the server all there is to tell; answer `None` when it is out of reach."""
        back = back or {}
        lower, self._lower = self._lower, {}
        message = self._message(asked, back, lower)
        began = self.clock.now()
        keys = [f"{self.prefix}{{{self.name}}}:{part}" for part in ("levels", "members")]
        try:
            # Not cancelled half-way, when nobody knew what was taken; it has a limit in time.
            with anyio.CancelScope(shield=True):
                reply: dict[str, Any] = json.loads(await self.run(SCRIPT, keys, message))
        except (ConnectionFailed, StorageFailed) as error:
            self._lower = lower
            self._lose(error)
            return None
        if self._alone is not None:
            self._alone, self._tries = None, 0
            emit(SharedQuotaRegained(name=self.name))
        self._note(reply, asked, began)
        return reply

    def _message(self, asked: dict[str, float] | None, back: Needs, lower: Needs) -> str:
        dimensions = []
        for name, quota in self._quotas.items():
            need = 0.0 if asked is None else asked.get(name, 0.0)
            one: dict[str, Any] = {
                "name": name,
                "rate": quota.rate,
                "full": quota.limit if quota.calendar else quota.burst,
                "period": quota.per if quota.calendar else 0,
                "need": need,
                "extra": quota.rate * self.lease if need else 0,
                "back": back.get(name, 0.0),
            }
            if name in lower:
                one["lower"] = lower[name]
            dimensions.append(one)
        return json.dumps(
            {
                "member": self._member,
                "asks": asked is not None,
                "block": self.blocked_for(),
                "forget": _FORGOTTEN_AFTER,
                "grace": _GRACE,
                "dimensions": dimensions,
            }
        )

    def _note(self, reply: dict[str, Any], asked: dict[str, float] | None, began: float) -> None:
        self.processes = int(reply["members"])
        self._seen_at = self.clock.now()
        self._levels = dict(zip(self._quotas, reply["levels"], strict=True))
        if reply["blocked"] > 0:
            # From when it was asked: rather a little too long than too short.
            self._blocked_until = max(self._blocked_until, self._seen_at + reply["blocked"])
        if asked is not None and reply["granted"]:
            self._held_since = began
            extra = dict(zip(self._quotas, reply["extras"], strict=True))
            for name in asked:
                if name in extra:
                    self._hold({name: asked[name] + extra[name]}, 1)

    def _part(self) -> dict[str, Quota]:
        share = self.processes
        return {
            name: attrs.evolve(quota, limit=quota.limit / share, burst=quota.burst / share)
            for name, quota in self._quotas.items()
        }

    def _lose(self, error: Exception) -> None:
        again = self.retry_after * 2**self._tries
        self._alone_until = self.clock.now() + min(again, _LONGEST_PAUSE)
        self._tries = min(self._tries + 1, 20)
        if self._alone is not None:
            return
        alone = self._alone = MemoryBuckets(clock=self.clock)
        alone.configure(self._part())
        alone.lower(
            {
                name: self._levels.get(name, quota.limit) / self.processes if quota.calendar else 0
                for name, quota in self._quotas.items()
            }
        )
        self._held = {}
        emit(SharedQuotaLost(name=self.name, processes=self.processes, error=type(error).__name__))

    async def _reserve_alone(self, need: Needs) -> float:
        assert self._alone is not None
        if self.blocked_for() > self._alone.blocked_for():
            await self._alone.block(self.blocked_for())
        wait = await self._alone.reserve(need)
        left = self._alone_until - self.clock.now()
        return wait if wait <= 0 else max(1e-4, min(wait, left))
