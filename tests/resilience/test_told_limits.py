"""What providers tell of their limits is understood, and lowers what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import RateLimited
from genai_pipeline.resilience import MemoryBuckets, QuotaLearned, RateLimit
from genai_pipeline.resilience._told_limits import Told, told_limits
from genai_pipeline.testing import FakeClock

from .moments import a_moment, run

pytestmark = pytest.mark.anyio


def left(limit: RateLimit) -> dict[str, float]:
    assert isinstance(limit.buckets, MemoryBuckets)
    return limit.buckets.levels()


class Telling:
    """Answers each request by what its text names, after as many seconds as it says."""

    def __init__(self, clock: FakeClock, told: Mapping[str, Mapping[str, Any]]) -> None:
        self.clock = clock
        self.told = told

    async def __call__(self, request: gp.Request) -> gp.Response:
        name, _, seconds = request.prompt.partition(" ")
        await self.clock.sleep(float(seconds or 0))
        return gp.Response("x", attributes={"rate_limits": self.told[name]})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"remaining-requests": 59.0}, {"requests": Told(remaining=59)}),
        (
            {"remaining-requests": "0", "reset-tokens": 0},
            {"requests": Told(remaining=0), "tokens": Told(reset=0)},
        ),
        ({"x-ratelimit-limit-tokens": "150000"}, {"tokens": Told(limit=150_000)}),
        ({"X-RateLimit-Reset-Tokens": "6m0s"}, {"tokens": Told(reset=360)}),
        ({"reset-requests": "12ms"}, {"requests": Told(reset=0.012)}),
        ({"reset-requests": "1h2m3.5s"}, {"requests": Told(reset=3723.5)}),
        ({"reset-requests": "17"}, {"requests": Told(reset=17)}),
        (
            {
                "anthropic-ratelimit-input-tokens-limit": "80000",
                "anthropic-ratelimit-input-tokens-remaining": "79000",
                "anthropic-ratelimit-input-tokens-reset": "2027-01-15T08:00:30Z",
                "anthropic-ratelimit-output-tokens-remaining": "16000",
            },
            {
                "input_tokens": Told(limit=80_000, remaining=79_000, reset=30),
                "output_tokens": Told(remaining=16_000),
            },
        ),
        ({"requests-reset": "2027-01-15T09:00:00+01:00"}, {"requests": Told(reset=0)}),
        ({"requests-reset": "2020-01-01T00:00:00Z"}, {"requests": Told(reset=0)}),
        ({"requests-reset": "2027-01-15T08:00:30"}, {}),  # of which zone?
        ({"limit-requests": "-1", "limit-tokens": 0, "remaining-tokens": "-3"}, {}),
        ({"limit-requests": "many", "reset-tokens": "soon", "remaining-tokens": None}, {}),
        ({"limit-requests": "nan", "remaining-tokens": True, "limit-tokens": "inf"}, {}),
        ({"limit-project-tokens": "5", "server": "nginx", "reset": "1"}, {}),
        ({"server": "nginx", "limit-tokens": 0, "limit-requests": 1}, {"requests": Told(limit=1)}),
        ({"limit-requests": "1m"}, {}),
        ({7: 1, "limit-requests": 5}, {"requests": Told(limit=5)}),
    ],
)
async def test_headers_are_understood(told: dict[Any, object], expected: dict[str, Told]) -> None:
    """35: numbers, durations as Go prints them, and RFC 3339 times; anything else is left out."""
    assert told_limits(told, wall=1_800_000_000) == expected


@pytest.mark.parametrize(
    ("told", "daily"),
    [
        (Told(limit=10_000, remaining=9_999, reset=8.64), True),
        (Told(limit=10_000, remaining=9_000, reset=8_640), True),
        (Told(limit=10_000, remaining=9_999, reset=9.3), True),  # it takes a moment to answer
        (Told(limit=10_000, remaining=9_999, reset=17), False),
        (Told(limit=60, remaining=59, reset=1), False),
        (Told(limit=60, remaining=60, reset=1), False),
        (Told(limit=60, remaining=59), False),
    ],
)
def test_a_day_is_told_from_a_minute(told: Told, daily: bool) -> None:
    """A limit is one of a day when what was used takes that part of a day to come back."""
    assert told.is_daily is daily


@given(
    st.dictionaries(
        st.sampled_from(["limit-requests", "reset-tokens", "tokens-remaining", "tokens-reset"])
        | st.text(max_size=20),
        st.text(max_size=30) | st.floats() | st.none() | st.integers(),
    )
)
def test_nothing_told_breaks_it(told: dict[str, object]) -> None:
    """Whatever a server sends, reading it raises nothing and answers no negative number."""
    for one in told_limits(told, wall=1_800_000_000).values():
        for number in (one.limit, one.remaining, one.reset):
            assert number is None or number >= 0


async def test_a_lower_remaining_lowers_and_a_higher_never_raises(clock: FakeClock) -> None:
    """35: fewer remaining than known lowers what is left; more remaining does not raise it."""
    limit = RateLimit(requests=600, clock=clock)
    told = {"low": {"remaining-requests": 7.0}, "high": {"remaining-requests": 599.0}}
    model = gp.wrap(Telling(clock, told), limit)
    await model(gp.Request("low"))
    assert left(limit) == {"requests": 7}
    await model(gp.Request("high"))
    assert left(limit) == {"requests": 6}


async def test_what_is_on_its_way_is_taken_off(clock: FakeClock) -> None:
    """What was reserved after the answered call, and is on its way, is taken off what remains."""
    limit = RateLimit(requests=600, clock=clock)
    told = {"low": {"remaining-requests": 20.0}, "slow": {}}
    model = gp.wrap(Telling(clock, told), limit)
    async with anyio.create_task_group() as group:
        for text in ("slow 9", "slow 9", "low 1", "slow 9", "slow 9", "slow 9"):
            group.start_soon(run, model, gp.Request(text))
            await a_moment()
        await clock.sleep(1)
        await a_moment()
        assert left(limit) == pytest.approx({"requests": 17})


async def test_of_what_remains_only_the_share_is_used(clock: FakeClock) -> None:
    """With share= a half, half of what the provider says remains is left."""
    limit = RateLimit(requests=600, share=0.5, clock=clock)
    model = gp.wrap(Telling(clock, {"low": {"remaining-requests": 10}}), limit)
    await model(gp.Request("low"))
    assert left(limit) == {"requests": 5}


async def test_stale_words_are_ignored(clock: FakeClock) -> None:
    """35: the answer to an older call, come after that to a newer one, changes nothing."""
    limit = RateLimit(requests=600, clock=clock)
    told = {"old": {"remaining-requests": 1.0}, "new": {"remaining-requests": 400.0}}
    model = gp.wrap(Telling(clock, told), limit)
    async with anyio.create_task_group() as group:
        group.start_soon(run, model, gp.Request("old 2"))
        await a_moment()
        group.start_soon(run, model, gp.Request("new 1"))
    assert left(limit)["requests"] == 50


async def test_failures_tell_too(clock: FakeClock) -> None:
    """A failure with rate_limits is obeyed as an answer is."""
    limit = RateLimit(requests=600, clock=clock)

    async def refuse(request: gp.Request) -> gp.Response:
        raise gp.errors.Overloaded("busy", rate_limits={"remaining-requests": "3"})

    with pytest.raises(gp.errors.Overloaded):
        await gp.wrap(refuse, limit)(gp.Request("x"))
    assert left(limit) == {"requests": 3}


async def test_limits_are_learned_when_none_is_given(clock: FakeClock) -> None:
    """Without options, the first answer tells the quotas, which hold from then on."""
    heard: list[Any] = []
    limit = RateLimit(clock=clock, name="gpt")
    told = {"all": {"limit-requests": 60.0, "limit-tokens": 6000.0, "remaining-requests": 59.0}}
    model = gp.wrap(Telling(clock, told), limit)
    with gp.listen(heard.append):
        for _ in range(8):
            await model(gp.Request("all"))
    assert heard[:2] == [
        QuotaLearned(name="gpt", dimension="requests", limit=60, per=60),
        QuotaLearned(name="gpt", dimension="tokens", limit=6000, per=60),
    ]
    assert clock.now() > 1, "the burst of 5 is used up by the seventh call"


async def test_a_told_limit_only_lowers_the_given(clock: FakeClock) -> None:
    """A lower limit than the given one holds; a higher one does not, and with share=, its part."""
    limit = RateLimit(requests=600, burst=60, share=0.5, clock=clock)
    told = {"low": {"limit-requests": 60}, "high": {"limit-requests": 6000}}
    model = gp.wrap(Telling(clock, told), limit)
    await model(gp.Request("high"))
    assert left(limit) == {"requests": 299}
    await model(gp.Request("low"))
    assert left(limit) == {"requests": 30}
    await model(gp.Request("high"))
    clock.advance(1000)
    assert left(limit) == {"requests": 300}


async def test_limits_of_another_stretch_are_not_compared(clock: FakeClock) -> None:
    """A limit given per second is not replaced by one told per minute."""
    limit = RateLimit(requests=10, per=1, clock=clock)
    model = gp.wrap(Telling(clock, {"minute": {"limit-requests": 5}}), limit)
    await model(gp.Request("minute"))
    clock.advance(100)
    assert left(limit) == {"requests": 10}


async def test_a_limit_of_a_day_is_seen_by_its_reset(clock: FakeClock) -> None:
    """What comes back in 8.64 s at 10,000 is a limit of a day, and no reason to slow down."""
    limit = RateLimit(clock=clock)
    heard: list[Any] = []
    day = {"limit-requests": 10_000, "remaining-requests": 9_999, "reset-requests": "8.64s"}
    with gp.listen(heard.append):
        await gp.wrap(Telling(clock, {"day": day}), limit)(gp.Request("day"))
    assert left(limit) == {"requests_per_day": 9_999}
    assert [each.per for each in heard if isinstance(each, QuotaLearned)] == [86_400]


async def test_words_can_be_ignored(clock: FakeClock) -> None:
    """With learn=False nothing that is told changes anything."""
    limit = RateLimit(requests=600, learn=False, clock=clock)
    model = gp.wrap(Telling(clock, {"low": {"remaining-requests": 0, "limit-tokens": 5}}), limit)
    await model(gp.Request("low"))
    assert left(limit) == {"requests": 49}


async def test_a_429_with_nothing_remaining_cools_down_and_recovers(clock: FakeClock) -> None:
    """A refusal that tells that nothing remains is waited out, and calls go on at the rate."""
    limit = RateLimit(requests=600, clock=clock, random=lambda: 0.0)
    times: list[float] = []

    async def model(request: gp.Request) -> gp.Response:
        times.append(clock.now())
        if len(times) == 1:
            told = {"remaining-requests": 0}
            raise RateLimited("slow", retry_after=2, rate_limits=told)
        return gp.Response("x")

    with pytest.raises(RateLimited):
        await gp.wrap(model, limit)(gp.Request("x"))
    for _ in range(2):
        await gp.wrap(model, limit)(gp.Request("x"))
    assert times == pytest.approx([0, 2.1, 2.2])
