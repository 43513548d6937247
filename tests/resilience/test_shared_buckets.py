"""What a process does with its part of a shared quota, whether or not the server answers."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError, ConnectionFailed, StorageFailed
from genai_pipeline.resilience import (
    BucketAsk,
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
    """Grants all it is asked for, refuses or fails; remembers what it was asked, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.asked: list[QuotaAsk] = []
        self.times: list[float] = []
        self.error: Exception | None = None
        self.level = 5.0
        self.reply: dict[str, Any] = {}
        self.takes = 0.0

    async def exchange(self, name: str, ask: QuotaAsk) -> QuotaReply:
        self.asked.append(ask)
        self.times.append(self.clock.now())
        if self.takes:
            await self.clock.sleep(self.takes)
        if self.error is not None:
            raise self.error
        reply = QuotaReply(
            granted=ask.asks,
            wait=0.0,
            blocked=ask.block,
            members=4,
            levels=(self.level,) * len(ask.buckets),
            extras=tuple(bucket.extra for bucket in ask.buckets),
        )
        return attrs.evolve(reply, **self.reply)


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


BOTH = {**QUOTAS, "tokens": Quota(limit=6000, per=60, burst=500)}


async def test_each_bucket_is_described_and_asked_for_what_lacks(clock: FakeClock) -> None:
    """What is held already is not asked for, nor anything ahead where nothing lacks."""
    buckets, server = made(clock, {**BOTH, **DAY}, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    assert await buckets.reserve({"requests": 1, "tokens": 10, "requests_per_day": 1}) == 0
    assert server.asked[1].buckets == (
        BucketAsk(name="requests", rate=10, full=20),
        BucketAsk(name="tokens", rate=100, full=500, need=10, extra=50),
        BucketAsk(name="requests_per_day", rate=0, full=100, period=86_400, need=1),
    )


async def test_all_that_is_needed_must_be_held(clock: FakeClock) -> None:
    """What this process holds of one quota does not do for another."""
    buckets, _ = made(clock, BOTH, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    assert not buckets.take({"requests": 1, "tokens": 1})
    buckets.lower({"tokens": 9})
    assert not buckets.take({"tokens": 1})
    assert buckets.take({"requests": 5})


async def test_of_a_quota_that_was_just_learned_nothing_is_held(clock: FakeClock) -> None:
    """A new quota is asked for, whatever the provider told of it."""
    buckets, _ = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    buckets.configure(BOTH)
    assert not buckets.take({"requests": 1, "tokens": 1})
    buckets.lower({"tokens": 9})
    assert not buckets.take({"requests": 1, "tokens": 1})


async def test_who_only_tells_needs_nothing(clock: FakeClock) -> None:
    """A block goes to the server without asking for anything."""
    buckets, server = made(clock, QUOTAS, lease=0.5)
    await buckets.block(3)
    assert not server.asked[0].asks
    assert server.asked[0].buckets == (BucketAsk(name="requests", rate=10, full=20),)


async def test_what_is_needed_of_nothing_is_there(clock: FakeClock) -> None:
    """As long as no limit is known, no call waits for the server."""
    buckets, server = made(clock, {})
    assert buckets.take({}) is True
    assert not server.asked


async def test_what_is_held_serves_for_twice_the_lease(clock: FakeClock) -> None:
    """What was taken ahead may be used for two leases, and no longer."""
    clock.advance(100)
    buckets, _ = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    for advance, taken in ((0.5, True), (0.5, True), (0.01, False)):
        clock.advance(advance)
        assert buckets.take({"requests": 1}) is taken


async def test_nothing_is_held_of_what_the_provider_says_is_gone(clock: FakeClock) -> None:
    """When the provider tells that nothing is left, what was taken ahead is not used."""
    buckets, _ = made(clock, QUOTAS, lease=0.5)
    assert await buckets.reserve({"requests": 1}) == 0
    buckets.lower({"requests": 0})
    assert not buckets.take({"requests": 1})


@pytest.mark.parametrize(("wait", "told"), [(3.0, 3.0), (0.0, 0.0001)])
async def test_a_refusal_takes_nothing(wait: float, told: float, clock: FakeClock) -> None:
    """Who is refused by the server is told when to ask again, never at once, and holds nothing."""
    buckets, server = made(clock, QUOTAS, lease=0.5)
    server.reply = {"granted": False, "wait": wait, "extras": (0.0,)}
    assert await buckets.reserve({"requests": 1}) == told
    assert not buckets.take({"requests": 1})


async def test_who_is_cancelled_while_the_server_works_loses_nothing(clock: FakeClock) -> None:
    """The server's answer is awaited, what it granted stays held, and the call is cancelled."""
    buckets, server = made(clock, QUOTAS, lease=0)
    server.takes = 2
    with clock.cancel_at(1) as scope:
        await buckets.reserve({"requests": 1})
        raise AssertionError("it went on")
    assert scope.cancelled_caught
    assert clock.now() == 2
    buckets.settle({"requests": 0})
    server.takes = 0
    assert await buckets.reserve({"requests": 1}) == 0
    assert server.asked[1].buckets[0].back == 1


@pytest.mark.parametrize(("ours", "theirs", "holds"), [(0, 7, 7), (10, 3, 10)])
async def test_a_block_by_another_process_is_learned(
    ours: float, theirs: float, holds: float, clock: FakeClock
) -> None:
    """The longest cooldown of all processes holds, for what is taken ahead too."""
    clock.advance(100)
    buckets, server = made(clock, QUOTAS, lease=2)
    if ours:
        await buckets.block(ours)
    server.reply = {"blocked": theirs}
    assert await buckets.reserve({"requests": 1}) == 0
    assert buckets.blocked_for() == holds
    assert not buckets.take({"requests": 1})
    server.reply = {}
    clock.advance(holds)
    assert await buckets.reserve({"requests": 1}) == 0
    assert buckets.take({"requests": 1})


@pytest.mark.parametrize("lease", [0, 0.5])
async def test_the_forecast_goes_by_what_was_seen_last(lease: float, clock: FakeClock) -> None:
    """It counts what has come in since, up to the burst, what is held, and who is ahead."""
    clock.advance(100)
    buckets, _ = made(clock, {**BOTH, **DAY}, lease=lease)
    assert buckets.forecast({"requests": 25}, {}) == 0, "a full bucket does"
    assert buckets.forecast({"requests": 20}, {"requests": 5}) == pytest.approx(0.5)
    assert await buckets.reserve({"requests": 1}) == 0  # 5 are left, and perhaps 5 held
    clock.advance(0.5)
    held = 10 * lease
    for need, ahead in ((18, 3), (20, 0), (11, 0)):
        forecast = buckets.forecast({"requests": need}, {"requests": ahead} if ahead else {})
        assert forecast == pytest.approx(max(0, need + ahead - 10 - held) / 10)
    clock.advance(100)
    assert buckets.forecast({"requests": 20}, {"requests": 10 + held}) == pytest.approx(1)
    assert buckets.forecast({"requests_per_day": 1, "unknown": 1}, {}) == 0
    several = {"requests_per_day": 1, "unknown": 1, "requests": 20}
    assert buckets.forecast(several, {"requests": 10 + held}) == pytest.approx(1)


async def test_what_was_told_in_vain_is_told_again(clock: FakeClock) -> None:
    """A lower level that did not reach the server goes with the next exchange."""
    buckets, server = made(clock, QUOTAS)
    buckets.lower({"requests": 4})
    server.error = ConnectionFailed("away")
    await buckets.reserve({"requests": 1})
    server.error = None
    clock.advance(1)
    assert await buckets.reserve({"requests": 1}) == 0
    assert [ask.buckets[0].lower for ask in server.asked] == [4, 4]


async def test_the_server_is_asked_as_soon_as_the_pause_is_over(clock: FakeClock) -> None:
    """At its end the server is asked, whatever is there; the next loss begins with a short one."""
    buckets, server = made(clock, QUOTAS, lease=0)
    server.error = ConnectionFailed("away")
    for pause in (1, 2):
        await buckets.reserve({"requests": 1})
        clock.advance(pause)
        assert not buckets.take({"requests": 1})
    server.error = None
    assert await buckets.reserve({"requests": 1}) == 0
    assert server.times == [0, 1, 3]
    server.error = ConnectionFailed("away")
    clock.advance(0.5)
    for pause in (1, 2):
        await buckets.reserve({"requests": 1})
        clock.advance(pause)
    assert server.times == [0, 1, 3, 3.5, 4.5]


async def test_alone_it_uses_and_saves_its_part(clock: FakeClock) -> None:
    """Its part is one of as many as the server saw, of the burst too."""
    heard: list[Any] = []
    buckets, server = made(clock, QUOTAS, lease=0, retry_after=1000.0)
    server.reply = {"members": 2}
    assert await buckets.reserve({"requests": 1}) == 0
    server.error = ConnectionFailed("away")
    clock.advance(0.001)
    with gp.listen(heard.append):
        assert await buckets.reserve({"requests": 1}) == pytest.approx(0.2)
    assert heard == [SharedQuotaLost(name="gpt", processes=2, error="ConnectionFailed")]
    clock.advance(1)
    assert await buckets.reserve({"requests": 5}) == 0
    clock.advance(13)
    assert [buckets.take({"requests": 1}) for _ in range(11)] == [True] * 10 + [False]


async def test_a_block_goes_on_alone(clock: FakeClock) -> None:
    """A cooldown holds though the server went away in it."""
    buckets, server = made(clock, QUOTAS, lease=0, retry_after=1000.0)
    await buckets.block(30)
    server.error = ConnectionFailed("away")
    clock.advance(20)
    assert await buckets.reserve({"requests": 1}) == pytest.approx(10.4)


async def test_what_was_held_before_a_loss_is_gone(clock: FakeClock) -> None:
    """When the server is back, nothing is used that was taken ahead before it went."""
    buckets, server = made(clock, QUOTAS, lease=0.5, retry_after=0.1)
    assert await buckets.reserve({"requests": 1}) == 0
    server.error = ConnectionFailed("away")
    assert await buckets.reserve({"requests": 6}) > 0
    server.error = None
    clock.advance(0.2)
    assert await buckets.reserve({"requests": 1}) == 0
    assert [buckets.take({"requests": 1}) for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.parametrize("missing", ["levels", "extras"])
async def test_an_answer_that_does_not_fit_is_an_error(missing: str, clock: FakeClock) -> None:
    """A server that answers for other buckets than it was asked for is found out."""
    buckets, server = made(clock, BOTH)
    server.reply = {missing: (1.0,)}
    with pytest.raises(ValueError, match="zip"):
        await buckets.reserve({"requests": 1})


@pytest.mark.parametrize(("lease", "told"), [(0, 1), (0.1, 2)])
async def test_leaving_tells_what_there_is_to_tell(
    lease: float, told: int, clock: FakeClock
) -> None:
    """One request that is held is given back; where none is held nothing is told."""
    buckets, server = made(clock, QUOTAS, lease=lease)
    async with buckets:
        assert await buckets.reserve({"requests": 1}) == 0
    assert len(server.asked) == told


async def test_the_server_lives_as_long_as_the_whole(clock: FakeClock) -> None:
    """A server that is an asynchronous context manager is entered first and left last."""
    log: list[str] = []

    class Connected(Server):
        async def __aenter__(self) -> None:
            log.append("enter")

        async def __aexit__(self, *raised: object) -> None:
            log.append(f"leave after {len(self.asked)}")

    buckets = SharedBuckets(name="gpt", server=Connected(clock), clock=clock)
    buckets.configure(QUOTAS)
    async with buckets:
        assert await buckets.reserve({"requests": 1}) == 0
    assert log == ["enter", "leave after 2"]


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("name", wrong) for wrong in ("", "a{b", "b}", 3)),
        ("server", 3),
        ("clock", 3),
        ("lease", -1),
        ("processes", 0),
        ("retry_after", 0),
    ],
)
def test_wrong_options_are_refused(option: str, wrong: Any) -> None:
    """A wrong option is a ConfigurationError that names it."""
    options: Any = {"name": "gpt", "server": Server(FakeClock()), option: wrong}
    with pytest.raises(ConfigurationError, match=f"SharedBuckets: {option}="):
        SharedBuckets(**options)


def test_the_defaults_are_those_documented() -> None:
    """A quarter of a second ahead, one of four processes, and a second's pause."""
    buckets = SharedBuckets(name="gpt", server=Server(FakeClock()))
    assert (buckets.lease, buckets.processes, buckets.retry_after) == (0.25, 4, 1)
    assert SharedBuckets(name="gpt", server=Server(FakeClock()), processes=1).processes == 1
