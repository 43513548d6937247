"""What a process does with its part of a shared quota, whether or not the server answers."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConnectionFailed, StorageFailed
from genai_pipeline.resilience import (
    Quota,
    QuotaAsk,
    QuotaReply,
    SharedBuckets,
    SharedQuotaLost,
    SharedQuotaRegained,
)
from genai_pipeline.testing import FakeClock

pytestmark = pytest.mark.anyio

QUOTAS = {"requests": Quota(limit=600, per=60, burst=20)}
DAY = {"requests_per_day": Quota(limit=100, per=86_400, burst=100, calendar=True)}


class Server:
    """Grants all it is asked for, or fails; remembers what it was asked, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[QuotaAsk] = []
        self.times: list[float] = []
        self.error: Exception | None = None
        self.level = 5.0

    async def exchange(self, name: str, ask: QuotaAsk) -> QuotaReply:
        self.asked.append(ask)
        self.times.append(self.clock.now())
        if self.error is not None:
            raise self.error
        return QuotaReply(
            granted=ask.asks,
            wait=0.0,
            blocked=ask.block,
            members=4,
            levels=(self.level,) * len(ask.buckets),
            extras=tuple(bucket.extra for bucket in ask.buckets),
        )


def made(
    clock: FakeClock, quotas: dict[str, Quota], **options: Any
) -> tuple[SharedBuckets, Server]:
    server = Server(clock)
    buckets = SharedBuckets(name="gpt", server=server, clock=clock, **options)
    buckets.configure(quotas)
    return buckets, server


async def test_what_is_ahead_is_used_before_the_server_is_asked(clock: FakeClock) -> None:
    """A lease of half a second at ten a second is five calls without the server, and no more."""
    buckets, server = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    assert [buckets.take({"requests": 1}) for _ in range(6)] == [True] * 5 + [False]
    assert [bucket.extra for bucket in server.asked[0].buckets] == [5]
    buckets.settle({"requests": 2})
    assert await buckets.reserve({"requests": 2}) == 0
    assert len(server.asked) == 1


async def test_only_what_lacks_is_asked_for_and_debts_are_paid(clock: FakeClock) -> None:
    """What is held counts towards the need; what was used too much is asked for on top."""
    buckets, server = made(clock, QUOTAS, lease=0.2)
    assert await buckets.reserve({"requests": 1}) == 0  # two ahead
    assert await buckets.reserve({"requests": 3}) == 0
    assert server.asked[1].buckets[0].need == 1
    buckets.settle({"requests": -4})  # two more were ahead
    assert await buckets.reserve({"requests": 1}) == 0
    assert server.asked[2].buckets[0].need == 3


async def test_old_leftovers_are_given_back_and_lower_levels_told(clock: FakeClock) -> None:
    """After twice the lease what is held goes back with the next call, with all that was told."""
    buckets, server = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    buckets.lower({"requests": 4})
    buckets.lower({"requests": 9})
    clock.advance(1.1)
    assert not buckets.take({"requests": 1})
    assert await buckets.reserve({"requests": 1}) == 0
    bucket = server.asked[1].buckets[0]
    assert (bucket.need, bucket.back, bucket.lower) == (1, 4, 4)
    assert await buckets.reserve({"requests": 7}) == 0
    assert server.asked[2].buckets[0].lower is None


async def test_a_block_takes_what_is_held(clock: FakeClock) -> None:
    """A cooldown is told at once, and nothing held is used until it is over."""
    buckets, server = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    await buckets.block(30)
    assert (server.asked[1].asks, server.asked[1].block) == (False, 30)
    assert not buckets.take({"requests": 1})
    assert (buckets.blocked_for(), buckets.forecast({"requests": 1}, {})) == (30, 30)
    assert buckets.forecast({"requests": 9}, {"requests": 6}) == pytest.approx(31)


@pytest.mark.parametrize("error", [ConnectionFailed("away"), StorageFailed("full")])
async def test_alone_it_has_its_part_from_nothing(error: Exception, clock: FakeClock) -> None:
    """Without the server: a fourth of ten a second, nothing saved up, settled and lowered alone."""
    heard: list[Any] = []
    buckets, server = made(clock, QUOTAS, lease=0, retry_after=1000.0)
    with gp.listen(heard.append):
        assert await buckets.reserve({"requests": 1}) == 0
        server.error = error
        clock.advance(0.001)
        assert await buckets.reserve({"requests": 1}) == pytest.approx(0.4)
    assert heard == [SharedQuotaLost(name="gpt", processes=4, error=type(error).__name__)]
    clock.advance(0.4)
    assert buckets.take({"requests": 1})
    assert not buckets.take({"requests": 1})
    buckets.settle({"requests": 2})
    assert [buckets.take({"requests": 1}) for _ in range(3)] == [True, True, False]
    buckets.lower({"requests": -1})
    assert buckets.forecast({"requests": 1}, {"requests": 1}) == pytest.approx(1.2)
    await buckets.block(10)
    assert buckets.forecast({"requests": 1}, {}) == pytest.approx(10.8)
    buckets.configure({"requests": Quota(limit=6000, per=60, burst=20)})
    clock.advance(10.1)
    assert await buckets.reserve({"requests": 1}) == pytest.approx(0.02, abs=0.061)


async def test_alone_a_day_goes_on_where_it_was(clock: FakeClock) -> None:
    """Of what is left of a day, each process has its part while the server is away."""
    buckets, server = made(clock, DAY, lease=0)
    server.level = 12.0
    assert await buckets.reserve({"requests_per_day": 1}) == 0
    server.error = ConnectionFailed("away")
    clock.advance(0.001)
    granted = [await buckets.reserve({"requests_per_day": 1}) <= 0 for _ in range(4)]
    assert granted == [True, True, True, False]


async def test_a_server_is_tried_again_less_and_less_often(clock: FakeClock) -> None:
    """It is tried after 1, 2, 4, 8 and then every 15 s; when it answers, all is as before."""
    heard: list[Any] = []
    buckets, server = made(clock, QUOTAS)
    server.error = ConnectionFailed("away")
    with gp.listen(heard.append):
        while clock.now() < 50:
            await clock.sleep(await buckets.reserve({"requests": 1}) or 0.05)
        assert server.times == pytest.approx([0, 1, 3, 7, 15, 30, 45], abs=0.6)
        server.error = None
        while clock.now() < 62:
            await clock.sleep(await buckets.reserve({"requests": 1}) or 0.5)
    assert [type(each) for each in heard] == [SharedQuotaLost, SharedQuotaRegained]


async def test_leaving_gives_back(clock: FakeClock) -> None:
    """What is held when its life cycle ends is given back; nothing held tells nothing."""
    buckets, server = made(clock, QUOTAS, lease=0.3)
    async with buckets:
        assert await buckets.reserve({"requests": 1}) == 0
    assert (server.asked[1].asks, server.asked[1].buckets[0].back) == (False, 3)
    async with buckets:
        await anyio.lowlevel.checkpoint()
    assert len(server.asked) == 2
