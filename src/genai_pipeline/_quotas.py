"""The words of quotas that processes share: what they ask of a server, and what it answers."""

from __future__ import annotations

from typing import Protocol

import attrs

__all__ = ["BucketAsk", "QuotaAsk", "QuotaReply", "SharedQuotas"]


@attrs.frozen(kw_only=True)
class BucketAsk:
    """What is asked of one bucket, and what it is like."""

    name: str
    rate: float
    """What comes in a second; 0 when *period* is given."""

    full: float
    """The most that is there."""

    period: float = 0.0
    """Seconds after which all is there again, counted from 1970-01-01 UTC; 0: it comes steadily."""

    need: float = 0.0
    """What must be there, or the bucket be full; may bring the level below zero."""

    extra: float = 0.0
    """What to take beyond it, as far as it is there."""

    back: float = 0.0
    """What is given back first; below zero, what was used too much."""

    lower: float | None = None
    """The most that is left, as far as the provider told."""


@attrs.frozen(kw_only=True)
class QuotaAsk:
    """What one process asks of the buckets of one quota, all in one step."""

    member: str
    """Which process asks."""

    asks: bool
    """Whether it wants what it needs; else it only tells."""

    block: float
    """For how many seconds nothing may be given to anybody, as far as it knows."""

    buckets: tuple[BucketAsk, ...]


@attrs.frozen(kw_only=True)
class QuotaReply:
    """What the server did."""

    granted: bool
    wait: float
    """Seconds until it is worth asking again, when nothing was granted."""

    blocked: float
    """For how many seconds nothing is given to anybody."""

    members: int
    """How many processes asked within the last minute."""

    levels: tuple[float, ...]
    """What is left in each bucket, in the order of asking."""

    extras: tuple[float, ...]
    """What was granted beyond the need."""


class SharedQuotas(Protocol):
    """
    Keeps the buckets of quotas, by name, for all processes, on a clock of its own.

    It may be an asynchronous context manager; then the limit's life cycle includes its.
    """

    async def exchange(self, name: str, ask: QuotaAsk, /) -> QuotaReply:
        """
        Do what *ask* says with the quota *name*, in one indivisible step.

        Fills the buckets by the time that passed; blocks, when that is longer than known, which
        empties the buckets and lets nothing in until then; takes back and lowers. Then, if it
        *asks*, takes the need of all buckets and the extras, or nothing: that is refused while
        another process is next, and whoever is refused first is next, for as long as its wait
        and a moment. Raises `ConnectionFailed` or `StorageFailed` when it cannot, and soon: nobody
        cancels it.
        """
        ...
