"""A rate limit keeps calls within a quota, in the order of asking, and settles by the answer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import (
    BulkheadFull,
    ConfigurationError,
    ConnectionFailed,
    InvalidRequest,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RateLimitExceeded,
)
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import CooldownBegan, MemoryBuckets, RateLimit
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import deadline_at

from .cancelling import Call, cancel_at_every_wait
from .moments import a_moment, run

pytestmark = pytest.mark.anyio


def left(limit: RateLimit) -> dict[str, float]:
    assert isinstance(limit.buckets, MemoryBuckets)
    return limit.buckets.levels()


async def answering(read: int, write: int, request: gp.Request) -> gp.Response:
    return gp.Response("fine", usage=gp.Usage(input_tokens=read, output_tokens=write))


async def failing(error: BaseException, request: object) -> gp.Response:
    raise error


async def test_requests_keep_to_their_rate(clock: FakeClock) -> None:
    """60 a minute with a burst of 5 s: five at once, then one each second."""
    times: list[float] = []

    async def note(value: int) -> None:
        times.append(clock.now())

    handler = gp.wrap(note, RateLimit(requests=60, clock=clock))
    async with anyio.create_task_group() as group:
        for number in range(9):
            group.start_soon(run, handler, number)
    assert times == pytest.approx([0, 0, 0, 0, 0, 1, 2, 3, 4])


async def test_the_burst_is_never_below_one_request(clock: FakeClock) -> None:
    """With one request a minute, the first goes at once and the second a minute later."""
    times: list[float] = []

    async def note(value: int) -> None:
        times.append(clock.now())

    handler = gp.wrap(note, RateLimit(requests=1, clock=clock))
    for number in range(2):
        await handler(number)
    assert times == pytest.approx([0, 60])


async def test_the_tighter_limit_holds(clock: FakeClock) -> None:
    """With limits of requests, input and output, calls wait for the one that is scarcest."""
    limit = RateLimit(
        requests=6000,
        input_tokens=60_000,
        output_tokens=600,
        burst=1,
        cost=lambda _: (10, 10),
        clock=clock,
    )
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(run, gp.wrap(failing_never, limit), number)
    assert clock.now() == pytest.approx(4), "10 output tokens a second, 10 for each call"


async def failing_never(value: int) -> int:
    return value


async def test_all_dimensions_are_taken_or_none(clock: FakeClock) -> None:
    """A call that must wait for tokens takes no request either while it waits."""
    limit = RateLimit(requests=60, tokens=60, cost=lambda value: value, clock=clock)
    async with anyio.create_task_group() as group:
        group.start_soon(run, gp.wrap(failing_never, limit), 5)
        await a_moment()
        group.start_soon(run, gp.wrap(failing_never, limit), 5)
        await a_moment()
        assert left(limit) == {"requests": 4, "tokens": 0}
        assert limit.waiting == 1
    assert left(limit) == pytest.approx({"requests": 4, "tokens": 0})
    assert clock.now() == pytest.approx(5)


async def test_a_large_call_is_not_starved(clock: FakeClock) -> None:
    """34: a large reservation is served before small ones that came later."""
    order: list[int] = []

    async def note(value: int) -> None:
        order.append(value)

    limit = RateLimit(tokens=600, burst=60, cost=lambda value: value, clock=clock)
    async with anyio.create_task_group() as group:
        for need in (590, 500, 11, 12, 13):
            group.start_soon(run, gp.wrap(note, limit), need)
            await a_moment()
    assert order == [590, 500, 11, 12, 13]


async def test_more_than_the_burst_waits_for_a_full_bucket_and_goes_into_debt(
    clock: FakeClock,
) -> None:
    """A call that needs more than the burst goes when the bucket is full; the next pays for it."""
    times: list[float] = []

    async def note(value: int) -> None:
        times.append(clock.now())

    limit = RateLimit(tokens=600, burst=5, cost=lambda value: value, clock=clock)
    async with anyio.create_task_group() as group:
        for need in (10, 300, 50):
            group.start_soon(run, gp.wrap(note, limit), need)
            await a_moment()
    # 50 at most are there; 1 s fills what 10 took; the debt of 250 and 50 more take 30 s
    assert times == pytest.approx([0, 1, 31])


async def test_input_that_never_fits_is_refused(clock: FakeClock) -> None:
    """Input that needs more than the whole quota is an InvalidRequest, not an endless wait."""
    limit = RateLimit(tokens=100, clock=clock, name="gpt")
    with pytest.raises(
        InvalidRequest,
        match=r"gpt: the input needs about 256 tokens, more than the 100 tokens that may be used "
        r"in 60 s",
    ):
        await gp.wrap(partial(answering, 1, 1), limit)(gp.Request("x" * 1000))


async def test_output_that_never_fits_is_clamped(clock: FakeClock) -> None:
    """A request whose allowed output exceeds the quota is sent: the output is only a guess."""
    limit = RateLimit(tokens=100, clock=clock)
    model = gp.wrap(partial(answering, 6, 4), limit)
    await model(gp.Request("Hello", max_output_tokens=1000))
    assert clock.now() == 0
    assert left(limit)["tokens"] == pytest.approx(100 * 5 / 60 - 10), "reserved 100, used 10"


async def test_the_answer_settles_both_ways(clock: FakeClock) -> None:
    """What was reserved and not used comes back; what was used beyond it is taken."""
    limit = RateLimit(tokens=6000, burst=60, clock=clock)
    request = gp.Request("x" * 32, max_output_tokens=100)  # 8, and 6 around them
    seen: list[float] = []

    async def model(use: int, request: gp.Request) -> gp.Response:
        seen.append(left(limit)["tokens"])
        return await answering(14, use, request)

    await gp.wrap(partial(model, 30), limit)(request)
    assert seen == [6000 - 114]
    assert left(limit)["tokens"] == 6000 - 44
    await gp.wrap(partial(model, 300), limit)(request)
    assert left(limit)["tokens"] == 6000 - 44 - 314


async def test_cached_input_can_be_left_out(clock: FakeClock) -> None:
    """With count_cached=False, input that the provider read from its cache does not count."""
    limit = RateLimit(input_tokens=6000, burst=60, count_cached=False, clock=clock)

    async def model(request: gp.Request) -> gp.Response:
        return gp.Response("x", usage=gp.Usage(input_tokens=900, cached_tokens=800))

    await gp.wrap(model, limit)(gp.Request("Hello"))
    assert left(limit) == {"input_tokens": 5900}


async def test_an_answer_without_usage_keeps_the_estimate(clock: FakeClock) -> None:
    """An answer that tells no usage leaves the estimate taken."""
    limit = RateLimit(tokens=6000, burst=60, clock=clock)
    await gp.wrap(partial(answering, 0, 0), limit)(gp.Request("x" * 32, max_output_tokens=86))
    assert left(limit) == {"tokens": 5900}


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (Overloaded("busy"), True),
        (ConnectionFailed("reset", sent=True), True),
        (ConnectionFailed("no route", sent=False), False),
        (BulkheadFull("full"), False),
        (QuotaExhausted("no money"), True),
        (RateLimited("slow"), True),
    ],
)
async def test_only_what_was_not_sent_comes_back(
    error: Exception, kept: bool, clock: FakeClock
) -> None:
    """A call that never left gives all back; after any other failure the estimate stays."""
    limit = RateLimit(requests=60, tokens=6000, clock=clock)
    with pytest.raises(type(error)):
        await gp.wrap(partial(failing, error), limit)(gp.Request("x" * 32, max_output_tokens=86))
    if isinstance(error, RateLimited):
        assert left(limit) == {"requests": 0, "tokens": 0}, "it begins again without a burst"
    else:
        assert left(limit) == {"requests": 5 - kept, "tokens": 500 - 100 * kept}
    assert limit.in_flight == 0


async def test_a_cancelled_call_keeps_its_estimate(clock: FakeClock) -> None:
    """A call cancelled on its way may have been served, so its estimate stays."""
    limit = RateLimit(requests=60, clock=clock)
    with clock.cancel_at(1):
        await gp.wrap(clock.sleep, limit)(1000)
    assert limit.in_flight == 0
    assert left(limit) == {"requests": 5}, "one taken, and back after a second"


async def test_cancelling_takes_nothing(clock: FakeClock) -> None:
    """A call cancelled while it waits takes nothing and is in nobody's way."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        limit = RateLimit(requests=60, burst=1, clock=clock)
        handler = gp.wrap(failing_never, limit)
        await handler(0)
        began = clock.now()
        async with anyio.create_task_group() as group:
            group.start_soon(run, handler, 1)
            await a_moment()
            yield partial(run, handler, 2)
            await handler(3)
        took = clock.now() - began
        assert limit.waiting == 0
        assert took == pytest.approx(2) or took == pytest.approx(3)

    assert await cancel_at_every_wait(scenario) == 2


async def test_a_wait_past_the_deadline_is_refused_at_once(clock: FakeClock) -> None:
    """A call whose quota frees after its deadline is refused in no time, and told when."""
    limit = RateLimit(requests=6, clock=clock, name="gpt")
    handler = gp.wrap(failing_never, limit)
    await handler(0)
    async with anyio.create_task_group() as group:
        group.start_soon(run, handler, 1)
        await a_moment()
        with deadline_at(clock.now() + 19), pytest.raises(RateLimitExceeded) as refused:
            await handler(2)
        assert clock.now() == 0
        assert refused.value.retry_after == pytest.approx(20)
        assert "gpt: the quota is free in 20 s" in str(refused.value)
        with deadline_at(clock.now() + 20.1):
            await handler(3)
    assert clock.now() == pytest.approx(20)


async def test_a_deadline_holds_in_line_too(clock: FakeClock) -> None:
    """A call whose turn comes later than it seemed is refused at its deadline, at the latest."""
    limit = RateLimit(requests=60, burst=1, clock=clock)
    handler = gp.wrap(failing_never, limit)
    await handler(0)

    async def impatient() -> None:
        with deadline_at(clock.now() + 5), pytest.raises(RateLimitExceeded):
            await handler(2)
        assert clock.now() <= 5

    async with anyio.create_task_group() as group:
        group.start_soon(run, handler, 1)
        await a_moment()
        group.start_soon(impatient)
        await a_moment()
        await limit.buckets.block(100)
    assert limit.waiting == 0


async def test_what_comes_back_is_used_at_once(clock: FakeClock) -> None:
    """Who waits does not sleep on when quota is given back: the first in line looks again."""
    limit = RateLimit(tokens=600, burst=60, cost=lambda need: need, clock=clock)
    held = await limit.reserve(500)
    times: list[float] = []

    async def wait(need: int) -> None:
        await gp.wrap(failing_never, limit)(need)
        times.append(clock.now())

    async with anyio.create_task_group() as group:
        group.start_soon(wait, 400)  # 100 are there, so for 30 s
        await a_moment()
        group.start_soon(wait, 150)
        await clock.sleep(1)
        held.refund()
    assert times == pytest.approx([1, 1])


async def test_nobody_overtakes_at_its_deadline(clock: FakeClock) -> None:
    """A small call whose deadline comes before its turn is refused, though it would fit in."""
    limit = RateLimit(tokens=600, burst=10, cost=lambda need: need, clock=clock)
    handler = gp.wrap(failing_never, limit)
    await handler(100)
    order: list[str] = []

    async def large() -> None:
        await handler(90)
        order.append("large")

    async def small() -> None:
        with deadline_at(9.5), pytest.raises(RateLimitExceeded, match="came before its turn"):
            await handler(1)
        order.append("refused")

    async with anyio.create_task_group() as group:
        group.start_soon(large)
        await a_moment()
        group.start_soon(small)
        await a_moment()
        limit.buckets.settle({"tokens": -30})  # an answer used more than was thought
    assert order == ["refused", "large"]
    assert clock.now() == pytest.approx(12)


async def test_the_line_is_bounded(clock: FakeClock) -> None:
    """With every place in line taken, the next call is refused, and told when to come again."""
    limit = RateLimit(requests=60, burst=1, queue=2, clock=clock)
    handler = gp.wrap(failing_never, limit)
    await handler(0)
    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(run, handler, number)
        await a_moment()
        with pytest.raises(RateLimitExceeded, match="2 calls wait for quota") as refused:
            await handler(9)
        assert refused.value.retry_after == pytest.approx(3)


async def test_a_429_stops_everybody_and_then_lets_them_go_gradually(clock: FakeClock) -> None:
    """Pain 2: after a 429 nobody calls before its Retry-After, then one at a time, no burst."""
    heard: list[Any] = []
    times: list[float] = []
    limit = RateLimit(requests=60, clock=clock, random=lambda: 0.5, name="gpt")

    async def note(value: int) -> None:
        times.append(clock.now())

    with gp.listen(heard.append):
        with pytest.raises(RateLimited):
            await gp.wrap(partial(failing, RateLimited("slow", retry_after=20)), limit)(0)
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(run, gp.wrap(note, limit), number)
    assert times == pytest.approx([22, 23, 24, 25]), "20 s, 5 % by chance, and 1 s to fill"
    assert heard[0] == CooldownBegan(name="gpt", seconds=21)
    kinds = {each.kind for each in heard[1:] if isinstance(each, PolicyWaited)}
    assert kinds == {"cooldown", "limiter"}
    first = [each for each in heard if isinstance(each, PolicyWaited)][:2]
    assert [each.kind for each in first] == ["cooldown", "limiter"]
    assert [each.seconds for each in first] == pytest.approx([21, 1])


async def test_short_waits_are_told_apart(clock: FakeClock) -> None:
    """A cooldown of half a second, and the tenth that the quota then takes, are told as such."""
    heard: list[Any] = []
    limit = RateLimit(requests=600, clock=clock, random=lambda: 0.0, name="gpt")
    with pytest.raises(RateLimited):
        await gp.wrap(partial(failing, RateLimited("slow", retry_after=0.5)), limit)(0)
    with gp.listen(heard.append):
        await gp.wrap(failing_never, limit)(0)
        await gp.wrap(failing_never, limit)(0)
    assert [each.kind for each in heard] == ["cooldown", "limiter", "limiter"]
    assert [each.seconds for each in heard] == pytest.approx([0.5, 0.1, 0.1])


async def test_cooldowns_without_a_hint_grow(clock: FakeClock) -> None:
    """429s without a hint stop everybody for 1, 2, 4 s and so on, until a call succeeds."""
    heard: list[Any] = []
    limit = RateLimit(requests=6000, clock=clock, random=lambda: 0.0)
    with gp.listen(heard.append):
        for _ in range(8):
            with pytest.raises(RateLimited):
                await gp.wrap(partial(failing, RateLimited("slow")), limit)(gp.Request("x"))
        await gp.wrap(partial(answering, 1, 1), limit)(gp.Request("x"))
        with pytest.raises(RateLimited):
            await gp.wrap(partial(failing, RateLimited("slow")), limit)(gp.Request("x"))
    began = [each.seconds for each in heard if isinstance(each, CooldownBegan)]
    assert began == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 1])


async def test_a_burst_of_429s_is_one_cooldown(clock: FakeClock) -> None:
    """Five calls on their way together that are all refused double the cooldown once."""
    heard: list[Any] = []
    limit = RateLimit(requests=600, clock=clock, random=lambda: 0.0)

    async def refused(value: int) -> None:
        await clock.sleep(0.1)
        raise RateLimited("slow")

    async def call() -> None:
        with pytest.raises(RateLimited):
            await gp.wrap(refused, limit)(0)

    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(call)
        await call()
    assert [each.seconds for each in heard if isinstance(each, CooldownBegan)] == [1, 2]


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [(0.0, 1), (86_400.0, 86_400), (86_400.5, 1), (1e9, 1), (-5, 1), (0.25, 0.25)],
)
async def test_a_senseless_hint_does_no_harm(hint: float, seconds: float, clock: FakeClock) -> None:
    """A Retry-After of nothing counts as none, and so does one of thirty years."""
    limit = RateLimit(requests=60, clock=clock, random=lambda: 0.0)
    with pytest.raises(RateLimited):
        await gp.wrap(partial(failing, RateLimited("slow", retry_after=hint)), limit)(0)
    assert limit.buckets.blocked_for() == seconds


async def test_an_exhausted_quota_is_not_waited_for(clock: FakeClock) -> None:
    """After QuotaExhausted nobody waits: time does not help."""
    limit = RateLimit(requests=60, clock=clock)
    with pytest.raises(QuotaExhausted):
        await gp.wrap(partial(failing, QuotaExhausted("no money")), limit)(0)
    await gp.wrap(failing_never, limit)(0)
    assert clock.now() == 0


async def test_a_day_is_counted_by_the_calendar() -> None:
    """A day's quota may be used at once, and is back at midnight UTC."""
    midnight = 1_800_000_000 - 1_800_000_000 % 86_400
    async with FakeClock(wall=midnight + 86_400 - 100) as clock:
        limit = RateLimit(requests_per_day=3, tokens_per_day=100, cost=lambda _: 10, clock=clock)
        handler = gp.wrap(failing_never, limit)
        for number in range(4):
            assert clock.now() == 0
            if number < 3:
                await handler(number)
        assert left(limit) == {"requests_per_day": 0, "tokens_per_day": 70}
        await handler(3)
        assert clock.now() == pytest.approx(100)
        assert left(limit) == {"requests_per_day": 2, "tokens_per_day": 90}


async def test_a_share_leaves_the_rest_to_others(clock: FakeClock) -> None:
    """With a share of a half, half of the quota is used."""
    handler = gp.wrap(failing_never, RateLimit(requests=60, burst=1, share=0.5, clock=clock))
    for number in range(4):
        await handler(number)
    assert clock.now() == pytest.approx(6)


async def test_a_share_of_one_request_is_still_counted(clock: FakeClock) -> None:
    """A share that leaves less than one request a minute lets one through every other minute."""
    handler = gp.wrap(failing_never, RateLimit(requests=1, tokens=100, share=0.5, clock=clock))
    for number in range(3):
        await handler(number)
    assert clock.now() == pytest.approx(240)


async def test_a_shared_instance_is_one_quota(clock: FakeClock) -> None:
    """Two models behind one instance share its quota; each with its own has it whole."""
    limit = RateLimit(requests=60, burst=2, clock=clock)
    for handler in (gp.wrap(failing_never, limit), gp.wrap(failing_never, limit)):
        await handler(0)
        await handler(0)
    assert clock.now() == pytest.approx(2)
    other = RateLimit(requests=60, burst=2, clock=clock)
    await gp.wrap(failing_never, other)(0)
    assert clock.now() == pytest.approx(2)


async def test_a_reservation_is_ended_once(clock: FakeClock) -> None:
    """A reservation held for a stream settles with its first end; further ones do nothing."""
    limit = RateLimit(requests=60, tokens=6000, clock=clock)
    reservation = await limit.reserve(gp.Request("x" * 32, max_output_tokens=86))
    assert (limit.in_flight, left(limit)) == (1, {"requests": 4, "tokens": 400})
    reservation.answered(await answering(14, 6, gp.Request("x")))
    reservation.refund()
    reservation.keep()
    await reservation.failed(RateLimited("late", retry_after=50))
    assert (limit.in_flight, left(limit)) == (0, {"requests": 4, "tokens": 480})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"requests": 0}, "RateLimit: requests=0; give a whole number, 1 or more"),
        ({"tokens": -5}, "RateLimit: tokens=-5; give a whole number, 1 or more"),
        ({"per": 0}, "RateLimit: per=0; give a number above 0"),
        ({"share": 1.5}, "RateLimit: share=1.5; give a number above 0, up to 1"),
        ({"burst": float("inf")}, "RateLimit: burst=inf; give a number above 0"),
        ({"learn": False}, "RateLimit: no limit is given and learn=False; give requests="),
    ],
)
async def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """Each option is checked when the limit is built, and the message says what is allowed."""
    with pytest.raises(ConfigurationError) as refused:
        RateLimit(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "cost", [-1, float("nan"), (1, -1), float("inf"), (1, float("inf")), (float("inf"), 1)]
)
async def test_a_senseless_cost_is_refused(cost: Any, clock: FakeClock) -> None:
    """A cost function that answers a negative or no number is named."""
    limit = RateLimit(tokens=100, cost=lambda _: cost, clock=clock)
    with pytest.raises(ConfigurationError, match=r"RateLimit: cost=.*tokens, 0 or more"):
        await gp.wrap(failing_never, limit)(1)


async def test_who_queued_into_a_cooldown_waits_too(clock: FakeClock) -> None:
    """A call that waited for a slot while another was told to slow down is not sent before."""
    limit = RateLimit(requests=60, burst=60, clock=clock, name="gpt", random=lambda: 0.0)
    model, sent = _slowing_down(clock, limit, hint=20)
    heard: list[Any] = []
    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(run, model, 0)
    assert sent == pytest.approx([0, 21, 22])
    waits = [each for each in heard if isinstance(each, PolicyWaited) and each.kind == "cooldown"]
    assert [each.seconds for each in waits] == pytest.approx([20])


@pytest.mark.parametrize(("hint", "deadline"), [(31, math.inf), (20, 15)])
async def test_who_queued_into_a_long_cooldown_is_refused(
    clock: FakeClock, hint: float, deadline: float
) -> None:
    """Half a minute and more, or past its deadline, it does not wait, and gets its quota back."""
    limit = RateLimit(requests=60, burst=60, clock=clock, name="gpt", random=lambda: 0.0)
    model, sent = _slowing_down(clock, limit, hint=hint)
    async with anyio.create_task_group() as group:
        group.start_soon(run, model, 0)
        await a_moment()
        words = "gpt: the provider asked to slow down, for another"
        with deadline_at(deadline), pytest.raises(RateLimitExceeded, match=words) as refused:
            await model(0)
    assert refused.value.retry_after == pytest.approx(hint)
    assert sent == [0]
    assert limit.in_flight == 0


async def test_a_cancelled_wait_for_the_end_of_a_cooldown_takes_nothing(clock: FakeClock) -> None:
    """Cancelled in the queue or in the cooldown, a call is not sent and holds no slot."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        limit = RateLimit(requests=60, burst=60, clock=clock)
        model, sent = _slowing_down(clock, limit, hint=20)
        async with anyio.create_task_group() as group:
            group.start_soon(run, model, 0)
            await a_moment()
            yield partial(run, model, 0)
        await clock.sleep(100)
        assert len(sent) <= 2
        assert (limit.in_flight, limit.waiting) == (0, 0)
        await model(0)

    # the queue, the cooldown, the call
    assert await cancel_at_every_wait(scenario) == 3


def _slowing_down(
    clock: FakeClock, limit: RateLimit, *, hint: float
) -> tuple[gp.Handler[int, None], list[float]]:
    """Answer a handler behind a limit and one slot, whose first call is told to slow down."""
    sent: list[float] = []

    async def provider(_: int) -> None:
        sent.append(clock.now())
        await clock.sleep(1)
        if len(sent) == 1:
            raise RateLimited("429", retry_after=hint)

    async def forgiving(value: int, call_next: gp.Handler[int, None]) -> None:
        with suppress(RateLimited):
            await call_next(value)

    slots = gp.Bulkhead(1, clock=clock)
    return gp.wrap(provider, forgiving, limit, slots, limit.check_again), sent
