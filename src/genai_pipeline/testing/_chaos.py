"""`Chaos`: seeded faults, around anything that is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeVar

import anyio

from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConnectionFailed, Permanent, RateLimited, Rejected, Transient
from genai_pipeline.records import Delivery
from genai_pipeline.testing._chaotic_source import ChaoticSource
from genai_pipeline.testing._faults import Dice, Fault, Kind, Range

__all__ = ["Chaos"]

A = TypeVar("A")
I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


class Chaos:
    """
    A middleware that makes calls fail, hang, wait or repeat, the same way for the same *seed*.

    Goes around providers, stages and sinks alike: ``wrap(model, Chaos(7, transient=0.05,
    latency=(0, 2)))``. Place it where the fault would arise: innermost, behind the policies
    under test.

    Each of the seven rates is the share of calls, 0 to 1, that suffer that kind of `Fault`;
    together they are at most 1. *latency* is the range of seconds that every call waits first,
    *slow* the share of calls that wait *slowness* more. *retry_after* is the range of seconds
    that errors tell: every ``rate_limited`` and ``rejected`` one, and every other
    ``transient`` one by chance; with `None`, none does.

    The fault of a call is decided by the seed and the number of the call alone, so runs that
    make their calls in the same order meet the same faults. One object counts the calls of all
    the handlers it stands around. Time passes on *clock*.
    """

    def __init__(
        self,
        seed: int,
        *,
        transient: float = 0.0,
        rate_limited: float = 0.0,
        rejected: float = 0.0,
        permanent: float = 0.0,
        hang: float = 0.0,
        lost: float = 0.0,
        duplicate: float = 0.0,
        slow: float = 0.0,
        slowness: Range = (30.0, 120.0),
        latency: Range = (0.0, 0.0),
        retry_after: Range | None = (0.0, 5.0),
        clock: Clock | None = None,
    ) -> None:
        self.seed = seed
        self.calls = 0
        """How many calls came by."""
        self.injected: Counter[str] = Counter()
        """How often each kind of fault was done, by its name; slow calls as ``slow``."""
        self._clock = clock or SystemClock()
        self._plan: Callable[[int], Fault] = Dice(
            seed,
            rates={
                "transient": transient,
                "rate_limited": rate_limited,
                "rejected": rejected,
                "permanent": permanent,
                "hang": hang,
                "lost": lost,
                "duplicate": duplicate,
            },
            slow=slow,
            slowness=slowness,
            latency=latency,
            retry_after=retry_after,
        )

    @classmethod
    def planned(cls, *faults: Fault | Kind | None, clock: Clock | None = None) -> Self:
        """
        Make one that does exactly *faults* to the first calls, in order, and then nothing.

        A kind stands for a fault of that kind, `None` for a call that passes.
        """
        plan = tuple(each if isinstance(each, Fault) else Fault(each) for each in faults)
        chaos = cls(0, clock=clock)
        chaos._plan = lambda number: plan[number] if number < len(plan) else Fault()
        return chaos

    def fault(self, number: int) -> Fault:
        """Answer what happens to the call of this *number*, counted from 0."""
        return self._plan(number)

    async def __call__(self, value: I, call_next: Callable[[I], Awaitable[O]], /) -> O:
        """Make the call, or what its fault makes of it."""
        number = self.calls
        self.calls += 1
        fault = self.fault(number)
        if fault.slow:
            self.injected["slow"] += 1
        if fault.latency:
            await self._clock.sleep(fault.latency)
        if fault.kind is None:
            return await call_next(value)
        self.injected[fault.kind] += 1
        place = f"chaos: call {number} of seed {self.seed}"
        if fault.kind == "hang":
            await anyio.sleep_forever()
        if fault.kind == "lost":
            await call_next(value)
            raise ConnectionFailed(f"{place}: the answer was lost", sent=True)
        if fault.kind == "duplicate":
            return await _twice(value, call_next)
        raise _error(fault, place)

    def source(
        self,
        source: AsyncIterable[Delivery[A]],
        *,
        duplicate: float = 0.0,
        swap: float = 0.0,
        fail: float = 0.0,
    ) -> ChaoticSource[A]:
        """
        Put the faults of a bad transport around *source*, decided by the same seed.

        *duplicate*, *swap* and *fail* are the shares of reads that deliver the record once more,
        change its place with the next one's, or raise a `Transient`. Counted in
        ``injected`` as ``source_duplicate``, ``source_swap`` and ``source_fail``.
        """
        return ChaoticSource(
            source,
            seed=self.seed,
            duplicate=duplicate,
            swap=swap,
            fail=fail,
            injected=self.injected,
        )

    def __repr__(self) -> str:
        return f"<Chaos: seed {self.seed}, {self.calls} calls, {dict(self.injected)}>"


async def _twice(value: I, call_next: Callable[[I], Awaitable[O]]) -> O:
    answer = await call_next(value)
    with suppress(Exception):  # nobody waits for the second answer
        await call_next(value)
    return answer


def _error(fault: Fault, place: str) -> Exception:
    if fault.kind == "rate_limited":
        return RateLimited(f"{place}: slow down", retry_after=fault.retry_after)
    if fault.kind == "rejected":
        return Rejected(f"{place}: rejected", retry_after=fault.retry_after)
    if fault.kind == "permanent":
        return Permanent(f"{place}: a permanent failure")
    return Transient(f"{place}: a passing failure", retry_after=fault.retry_after)
