"""The line of those who wait for quota: first come first served, however much they need."""

from __future__ import annotations

import math
from collections import deque

import anyio
import attrs

from genai_pipeline.clock import Clock
from genai_pipeline.errors import RateLimitExceeded
from genai_pipeline.events import PolicyWaited, emit
from genai_pipeline.resilience._buckets import Buckets, Needs
from genai_pipeline.resilience._limit import binding_deadline

__all__ = ["QuotaLine"]


class _Turn:
    __slots__ = ("need", "poked")

    def __init__(self, need: Needs) -> None:
        self.need = need
        self.poked = anyio.Event()


@attrs.define(eq=False)
class _Cooldowns:
    """Counts the seconds in which nothing was given to anybody, from when it was first asked."""

    buckets: Buckets
    clock: Clock
    _total: float = 0.0
    _until: float = -math.inf

    def so_far(self) -> float:
        now = self.clock.now()
        until = max(self._until, now + self.buckets.blocked_for())
        self._total += until - max(self._until, now)
        self._until = until
        return self._total - (until - now)


@attrs.define(eq=False)
class QuotaLine:
    """Hands out what *buckets* hold. Only the first in line asks them; the others wait for it."""

    name: str
    longest: int
    buckets: Buckets
    clock: Clock
    _cooldowns: _Cooldowns = attrs.field(init=False)
    _turns: deque[_Turn] = attrs.field(factory=deque)
    _queued: dict[str, float] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._cooldowns = _Cooldowns(self.buckets, self.clock)

    def __len__(self) -> int:
        return len(self._turns)

    def take_free(self, need: Needs) -> bool:
        """Take *need* if nobody waits and all of it is there; tell whether it did."""
        return not self._turns and self.buckets.take(need)

    async def wait(self, need: Needs) -> None:
        """Wait for *need* and take it, or raise `RateLimitExceeded`; takes nothing if cancelled."""
        forecast = self.buckets.forecast(need, self._queued)
        if len(self._turns) >= self.longest:
            raise RateLimitExceeded(
                f"{self.name}: {len(self._turns)} calls wait for quota, the most that may",
                retry_after=forecast,
            )
        deadline = binding_deadline()
        self._check(forecast, deadline)
        turn = _Turn(need)
        self._join(turn)
        began = self.clock.now()
        cooled = self._cooldowns.so_far()
        try:
            if self._turns[0] is not turn:
                await self._sleep(turn, deadline)
                if self._turns[0] is not turn:
                    raise RateLimitExceeded(
                        f"{self.name}: the caller's deadline came before its turn for quota",
                        retry_after=self.buckets.forecast(need, {}),
                    )
            while (wait := await self.buckets.reserve(need)) > 0:
                self._check(wait, deadline)
                self.cool_down()
                turn.poked = anyio.Event()
                await self._sleep(turn, self.clock.now() + wait)
        finally:
            self._leave(turn)
            self._tell(self.clock.now() - began, self._cooldowns.so_far() - cooled)

    def poke(self) -> None:
        """Let the first in line look again, if what it needs may be there."""
        if self._turns:
            first = self._turns[0]
            if not first.poked.is_set() and self.buckets.forecast(first.need, {}) <= 0:
                first.poked.set()

    def cool_down(self) -> None:
        """Note that a cooldown has begun, as those in line must tell what they waited for."""
        self._cooldowns.so_far()

    def _check(self, wait: float, deadline: float) -> None:
        if self.clock.now() + wait > deadline:
            raise RateLimitExceeded(
                f"{self.name}: the quota is free in {wait:.3g} s, past the caller's deadline",
                retry_after=wait,
            )

    async def _sleep(self, turn: _Turn, until: float) -> None:
        if until == math.inf:
            await turn.poked.wait()
        else:
            with self.clock.cancel_at(until):
                await turn.poked.wait()

    def _join(self, turn: _Turn) -> None:
        self._turns.append(turn)
        for name, amount in turn.need.items():
            self._queued[name] = self._queued.get(name, 0.0) + amount

    def _leave(self, turn: _Turn) -> None:
        was_first = self._turns[0] is turn
        self._turns.remove(turn)
        if not self._turns:
            self._queued.clear()  # with what rounding left
            return
        for name, amount in turn.need.items():
            self._queued[name] -= amount
        if was_first:
            self._turns[0].poked.set()

    def _tell(self, seconds: float, cooled: float) -> None:
        if cooled > 0:
            emit(PolicyWaited(kind="cooldown", name=self.name, seconds=cooled))
        if seconds > cooled:
            emit(PolicyWaited(kind="limiter", name=self.name, seconds=seconds - cooled))
