"""`SharedBuckets`: what is left of a quota, shared with other processes."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType

import anyio
import anyio.lowlevel
import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._quotas import BucketAsk, QuotaAsk, QuotaReply, SharedQuotas
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConnectionFailed, StorageFailed
from genai_pipeline.events import emit
from genai_pipeline.resilience._buckets import MemoryBuckets, Needs, Quota
from genai_pipeline.resilience._events import SharedQuotaLost, SharedQuotaRegained

__all__ = ["SharedBuckets"]

_LONGEST_PAUSE = 15.0
_SOON = 1e-4


def _name(owner: object, option: attrs.Attribute[str], value: object) -> None:
    fine = isinstance(value, str) and value and not set(value) & set("{}")
    check(bool(fine), owner, option.name, value, "a text without braces, the same in each process")


_is_server = _options.having("shared quotas, such as RedisQuotas(url=...)", "exchange")


@attrs.define(kw_only=True, eq=False, on_setattr=attrs.setters.NO_OP)  # its state changes often
class SharedBuckets(Composite):
    """
    Keeps what is left of quotas on a *server*, for all processes that share them.

    Give it to ``RateLimit(buckets=...)``, one for each limit, with the same *name* and the same
    limits in each process. Together they take no more than one process would; whoever waits
    longest is next, so that no process starves another's large calls. What a process takes ahead
    of its calls is at most *lease* seconds' worth, and comes back when it is not used.

    A process that dies holds nothing up: one that waited had taken nothing, and what others took
    comes back as all quota does. While the server is out of reach, each process goes on with its
    part, one of as many as were last seen (at first *processes*), beginning with nothing saved up;
    it tries the server again after *retry_after* seconds, and then less often. The events
    `SharedQuotaLost` and `SharedQuotaRegained` tell.
    """

    server: SharedQuotas = attrs.field(validator=_is_server)
    """Where the quotas are: `genai_pipeline.stores.RedisQuotas`, or another."""

    name: str = attrs.field(validator=_name)
    """Which quota this is."""

    lease: float = attrs.field(default=0.25, validator=_options.seconds)
    """How many seconds' worth of quota to take ahead; 0 asks the server for each call."""

    processes: int = attrs.field(default=4, validator=_options.at_least(1))
    """How many processes share the quota, as long as the server has not told."""

    retry_after: float = attrs.field(default=1.0, validator=_options.positive)
    """Seconds to leave an unreachable server alone; doubles up to 15."""

    clock: Clock = attrs.field(factory=SystemClock, repr=False, validator=_options.clock)

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

    def parts(self) -> Iterable[object]:
        """Answer the server: what is entered and left with this."""
        return (self.server,)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alone is None and any(amount > 0 for amount in self._held.values()):
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
        if self._alone is None and self.take(need):
            return 0.0
        back = self._take_back() if self._is_stale() else {}
        asked = {name: max(0.0, need[name] - self._held.get(name, 0.0)) for name in need}
        reply = await self._exchange(asked, back=back)
        if reply is None:
            return await self._reserve_alone(need)
        if not reply.granted:
            return max(reply.wait, _SOON)
        await anyio.lowlevel.checkpoint_if_cancelled()  # what was granted then stays held
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
        self, asked: Needs | None, *, back: Needs | None = None
    ) -> QuotaReply | None:
        """Tell the server all there is to tell; answer `None` when it is out of reach."""
        lower, self._lower = self._lower, {}
        ask = self._ask(asked, back or {}, lower)
        began = self.clock.now()
        reply: QuotaReply | None = None
        try:
            # Not cancelled half-way, when nobody knew what was taken.
            with anyio.CancelScope(shield=True):
                reply = await self.server.exchange(self.name, ask)
        except (ConnectionFailed, StorageFailed) as error:
            self._lower = lower
            self._lose(error)
        if reply is not None:
            if self._alone is not None:
                self._alone, self._tries = None, 0
                emit(SharedQuotaRegained(name=self.name))
            self._note(reply, ask, began)
        return reply

    def _ask(self, asked: Needs | None, back: Needs, lower: Needs) -> QuotaAsk:
        buckets = []
        for name, quota in self._quotas.items():
            need = 0.0 if asked is None else asked.get(name, 0.0)
            bucket = BucketAsk(
                name=name,
                rate=quota.rate,
                full=quota.full,
                period=quota.per if quota.calendar else 0.0,
                need=need,
                extra=quota.rate * self.lease if need else 0.0,
                back=back.get(name, 0.0),
                lower=lower.get(name),
            )
            buckets.append(bucket)
        return QuotaAsk(
            member=self._member,
            asks=asked is not None,
            block=self.blocked_for(),
            buckets=tuple(buckets),
        )

    def _note(self, reply: QuotaReply, ask: QuotaAsk, began: float) -> None:
        now = self._seen_at = self.clock.now()
        self.processes = reply.members
        names = [bucket.name for bucket in ask.buckets]
        self._levels = dict(zip(names, reply.levels, strict=True))
        self._blocked_until = max(self._blocked_until, now + reply.blocked)
        if reply.granted:
            self._held_since = began
            for bucket, extra in zip(ask.buckets, reply.extras, strict=True):
                self._hold({bucket.name: bucket.need + extra}, 1)

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
        return wait if wait <= 0 else max(_SOON, min(wait, left))
