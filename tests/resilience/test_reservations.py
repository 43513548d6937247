"""What a rate limit reserves for a call, how it is settled, and what is learned from its end."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import RateLimited
from genai_pipeline.events import PolicyWaited
from genai_pipeline.resilience import CooldownBegan, QuotaLearned, RateLimit
from genai_pipeline.testing import FakeClock

from .moments import a_moment
from .test_rate_limit import answering, failing, left

pytestmark = pytest.mark.anyio

ASK = gp.Request("x" * 32, max_output_tokens=100)  # 8, and 6 around them, and 100


async def _need(limit: RateLimit, value: object) -> Any:
    """Answer what a call would reserve, and give it back."""
    reservation = await limit.reserve(value)
    reservation.refund()
    return reservation.need


async def _answers(limit: RateLimit, count: int, request: gp.Request, output: int) -> None:
    for _ in range(count):
        await gp.wrap(partial(answering, 14, output), limit)(request)


async def _told(limit: RateLimit, *words: dict[str, object]) -> None:
    """Let one answer after another tell *words*."""

    async def model(told: dict[str, object]) -> gp.Response:
        return gp.Response("x", attributes={"rate_limits": told})

    for told in words:
        await gp.wrap(model, limit)(told)


async def test_without_a_line_what_is_free_is_given(clock: FakeClock) -> None:
    """With queue=0 nobody waits, but whoever finds quota goes on, without an event."""
    limit = RateLimit(requests=60, queue=0, clock=clock)
    heard: list[Any] = []
    with gp.listen(heard.append):
        for _ in range(5):
            await limit.reserve(1)
    assert not [event for event in heard if isinstance(event, PolicyWaited)]


async def test_each_model_has_its_own_estimates(clock: FakeClock) -> None:
    """After 20 answers the output expected of a model is what its own answers took."""
    limit = RateLimit(tokens=10**9, clock=clock)
    small, large = (
        gp.Request("x" * 32, max_output_tokens=100, extra={"model": name}) for name in "sl"
    )
    await _answers(limit, 20, small, 6)
    assert await _need(limit, small) == {"tokens": 20}
    assert await _need(limit, large) == {"tokens": 114}
    assert await _need(limit, ASK) == {"tokens": 114}
    odd = gp.Request("x" * 32, max_output_tokens=100, extra={"model": ["no", "name"]})
    assert await _need(limit, odd) == {"tokens": 114}


async def test_estimates_of_few_models_are_kept(clock: FakeClock) -> None:
    """However many models a limit sees, its memory stays bounded; the latest are known."""
    limit = RateLimit(tokens=10**9, clock=clock)
    for number in range(150):
        await _need(limit, gp.Request("x", extra={"model": str(number)}))
    assert len(limit._reservations._outputs) <= 100
    assert "149" in limit._reservations._outputs


async def test_the_input_is_corrected_by_what_answers_tell(clock: FakeClock) -> None:
    """After some answers the reservation is what the provider counts; each model has its own."""
    limit = RateLimit(input_tokens=10**9, clock=clock)
    assert await _need(limit, ASK) == {"input_tokens": 14}
    for _ in range(100):
        await gp.wrap(partial(answering, 21, 5), limit)(ASK)
    assert await _need(limit, ASK) == {"input_tokens": 21}
    other = gp.Request("x" * 32, extra={"model": "other"})
    assert await _need(limit, other) == {"input_tokens": 14}
    cut = await limit.reserve(ASK)
    cut.left_early(5)
    (known,) = limit.estimator.snapshot().values()
    assert known["answers"] == 100, "what was left early teaches nothing"


async def test_what_comes_of_a_stream_is_counted_alike(clock: FakeClock) -> None:
    """A piece of an answer has the tokens of its characters, corrected for the model."""
    limit = RateLimit(tokens=10**9, clock=clock)
    assert (await limit.reserve(ASK)).tokens_of("x" * 40) == 10
    for _ in range(100):
        await gp.wrap(partial(answering, 28, 5), limit)(ASK)
    assert (await limit.reserve(ASK)).tokens_of("x" * 40) == 20


class Characters:
    """A tokenizer of an application's own, to which a character is a token."""

    def count(self, content: Any, /, *, model: str = "") -> int:
        return len(content.prompt)


async def test_a_tokenizer_may_count(clock: FakeClock) -> None:
    """Any counter takes the place of the estimate, and is corrected as well."""
    limit = RateLimit(input_tokens=10**9, counter=Characters(), clock=clock)
    assert await _need(limit, ASK) == {"input_tokens": 32}
    for _ in range(100):
        await gp.wrap(partial(answering, 40, 5), limit)(ASK)
    assert await _need(limit, ASK) == {"input_tokens": 40}


async def test_limits_may_share_what_is_learned(clock: FakeClock) -> None:
    """Given to two limits, an estimator learns from both, and can be one of an earlier run."""
    known = {"": {"ratio": 1.5, "size": 14, "answers": 100}}
    shared = gp.TokenEstimator(known=known)
    first, second = (RateLimit(input_tokens=10**9, counter=shared, clock=clock) for _ in "ab")
    assert first.estimator is second.estimator is shared
    assert await _need(first, ASK) == await _need(second, ASK) == {"input_tokens": 21}
    for _ in range(400):
        await gp.wrap(partial(answering, 14, 5), first)(ASK)
    assert await _need(second, ASK) == {"input_tokens": 14}


async def test_requests_to_embed_have_tokens_too(clock: FakeClock) -> None:
    """They reserve the tokens of their texts and no output, and are settled by their answers."""
    ask = gp.EmbeddingRequest(["x" * 40, "x" * 60])

    async def embedder(request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        return gp.EmbeddingResponse([[1.0], [1.0]], usage=gp.Usage(input_tokens=50))

    limit = RateLimit(tokens=6000, burst=60, clock=clock)
    assert await _need(limit, ask) == {"tokens": 25}
    await gp.wrap(embedder, limit)(ask)
    assert left(limit) == {"tokens": 5950}
    for _ in range(60):
        await gp.wrap(embedder, limit)(ask)
    assert await _need(limit, ask) == {"tokens": 50}
    assert await _need(limit, gp.Request("x" * 40)) == {"tokens": 32 + 500}, "no output was learned"


async def test_cached_input_counts_unless_told(clock: FakeClock) -> None:
    """Input out of the provider's cache counts by default; all of it may be left out."""

    async def model(request: gp.Request) -> gp.Response:
        return gp.Response("x", usage=gp.Usage(input_tokens=900, cached_tokens=900))

    for count_cached, used in ((True, 900), (False, 0)):
        limit = RateLimit(input_tokens=6000, burst=60, count_cached=count_cached, clock=clock)
        await gp.wrap(model, limit)(gp.Request("Hello"))
        assert left(limit) == {"input_tokens": 6000 - used}


async def test_other_values_are_settled_by_their_answers(clock: FakeClock) -> None:
    """A value that is no request reserves what cost= says, or no tokens; its answer settles."""
    limit = RateLimit(tokens=6000, burst=60, cost=lambda _: (0, 0), clock=clock)
    assert await _need(limit, "text") == {"tokens": 0}
    answer: Any = partial(answering, 100, 50)
    await gp.wrap(answer, limit)("text")
    assert left(limit) == {"tokens": 5850}
    plain = RateLimit(tokens=6000, requests=60, clock=clock)
    assert await _need(plain, "text") == {"tokens": 0, "requests": 1}


async def test_a_cost_tells_the_input_and_leaves_the_output(clock: FakeClock) -> None:
    """One number is for the input alone; a pair is for both."""
    limit = RateLimit(tokens=6000, cost=lambda _: 7, clock=clock)
    assert await _need(limit, ASK) == {"tokens": 107}
    limit = RateLimit(tokens=6000, cost=lambda _: (7, 5), clock=clock)
    assert await _need(limit, ASK) == {"tokens": 12}


async def test_nobody_takes_more_than_there_ever_is(clock: FakeClock) -> None:
    """Input of the whole quota is sent, and whatever output is guessed, no more is reserved."""
    limit = RateLimit(tokens=100, cost=lambda _: (100, 50), clock=clock)
    assert await _need(limit, "text") == {"tokens": 100}


async def test_a_burst_of_hints_counts_as_one(clock: FakeClock) -> None:
    """Calls refused together, each with a hint, let a cooldown without one begin where it was."""
    heard: list[Any] = []
    limit = RateLimit(requests=6000, clock=clock, random=lambda: 0.0)
    held = [await limit.reserve(1) for _ in range(5)]
    with gp.listen(heard.append):
        for hint, reservation in zip((20, 20, 5, 20, 30), held, strict=True):
            await reservation.failed(RateLimited("slow", retry_after=hint))
        with pytest.raises(RateLimited):
            await gp.wrap(partial(failing, RateLimited("slow")), limit)(gp.Request("x"))
    began = [event.seconds for event in heard if isinstance(event, CooldownBegan)]
    assert began == [20, 30, 2], "those that change nothing are not told"


async def test_after_a_cooldown_a_whole_request_comes_in_first(clock: FakeClock) -> None:
    """However small the burst, the first call after a cooldown waits for one request's worth."""
    limit = RateLimit(requests=6, burst=1, clock=clock)
    await limit.buckets.block(1)
    await limit.reserve(1)
    assert clock.now() == pytest.approx(11)


async def test_what_remains_is_told_of_some_and_not_of_others(clock: FakeClock) -> None:
    """With calls on their way, words on requests alone leave the tokens as they are."""
    limit = RateLimit(requests=600, tokens=60_000, clock=clock)

    async def model(request: gp.Request) -> gp.Response:
        return gp.Response("x", attributes={"rate_limits": {"remaining-requests": 9}})

    first = await limit.reserve(ASK)
    await limit.reserve(ASK)
    first.answered(await model(ASK))
    assert left(limit) == {"requests": 8, "tokens": 5000 - 228}


async def test_limits_are_told_once_and_then_again(clock: FakeClock) -> None:
    """An answer may leave out a limit, or repeat it beside a new one: what is new is learned."""
    heard: list[Any] = []
    limit = RateLimit(requests=6000, clock=clock)
    with gp.listen(heard.append):
        await _told(
            limit,
            {"limit-requests": 600},
            {"remaining-requests": 500},
            {"limit-requests": 600, "limit-tokens": 6000},
            {"limit-requests": 600, "limit-tokens": 6000},
        )
    learned = [(each.dimension, each.limit) for each in heard if isinstance(each, QuotaLearned)]
    assert learned == [("requests", 600), ("tokens", 6000)]


@pytest.mark.parametrize(
    ("dimension", "used"),
    [("input-tokens", 14), ("output-tokens", 100), ("tokens", 114), ("requests", 1)],
)
async def test_each_quota_of_a_day_counts_what_it_is_of(
    dimension: str, used: int, clock: FakeClock
) -> None:
    """A day's quota that the provider tells is one of input, of output, of both or of requests."""
    limit = RateLimit(clock=clock)
    day = {f"limit-{dimension}": 86_400, f"remaining-{dimension}": 86_000}
    await _told(limit, {**day, f"reset-{dimension}": 400})
    name = dimension.replace("-", "_") + "_per_day"
    assert left(limit) == {name: 86_000}
    await limit.reserve(ASK)
    assert left(limit) == {name: 86_000 - used}


async def test_who_waits_is_told_of_a_cooldown_that_begins(clock: FakeClock) -> None:
    """A wait that a cooldown lengthened is told as both, each for as long as it was."""
    heard: list[Any] = []
    limit = RateLimit(requests=60, burst=1, clock=clock, random=lambda: 0.0)
    on_its_way = await limit.reserve(1)

    async def wait() -> None:
        await limit.reserve(1)

    with gp.listen(heard.append):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)
            await a_moment()
            await clock.sleep(0.5)
            await on_its_way.failed(RateLimited("slow", retry_after=10))
    waits = [each for each in heard if isinstance(each, PolicyWaited)]
    assert [each.kind for each in waits] == ["cooldown", "limiter"] * 2
    assert [each.seconds for each in waits] == pytest.approx([10, 1.5, 10, 2.5])


async def test_a_stream_that_is_left_settles_by_what_came(clock: FakeClock) -> None:
    """The output that had come counts, with the input's estimate; nothing is learned from it."""
    limit = RateLimit(tokens=6000, burst=60, clock=clock)
    for _ in range(20):
        reservation = await limit.reserve(ASK)
        reservation.left_early(6)
        reservation.left_early(50)
    assert left(limit) == {"tokens": 6000 - 20 * 20}
    assert await _need(limit, ASK) == {"tokens": 114}
