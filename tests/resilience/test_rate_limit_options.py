"""The options of a rate limit: what they are when not given, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.resilience import MemoryBuckets, RateLimit


@pytest.mark.parametrize(
    ("option", "wrong", "least"),
    [
        *((name, 0, 1) for name in ("requests", "tokens", "input_tokens", "output_tokens")),
        *((name, 0, 1) for name in ("requests_per_day", "tokens_per_day")),
        ("tokens", 0.5, 1),
        ("per", 0, 0.001),
        ("burst", 0, 0.001),
        ("share", 0, 0.001),
        ("expected_output", -1, 0),
        ("cooldown", -1, 0),
        ("queue", -1, 0),
    ],
)
def test_the_least_that_is_allowed(option: str, wrong: Any, least: Any) -> None:
    """Each number may be as low as makes sense, and no lower; the message names it."""
    RateLimit(**{option: least})
    with pytest.raises(ConfigurationError, match=rf"RateLimit: {option}={wrong};"):
        RateLimit(**{option: wrong})


def test_the_defaults_are_those_documented() -> None:
    """Without options the provider's words rule; by the minute, in bursts of five seconds."""
    limit = RateLimit()
    assert (limit.per, limit.burst, limit.share, limit.cooldown) == (60, 5, 1, 1)
    assert (limit.expected_output, limit.queue) == (500, 10_000)
    assert (limit.strict, limit.count_cached, limit.learn) == (False, True, True)
    assert limit.waiting == limit.in_flight == 0


def test_any_one_limit_is_enough_without_learning() -> None:
    """With learn=False each of the limits does alone."""
    for name in ("requests", "tokens", "requests_per_day", "input_tokens"):
        options: Any = {name: 1, "learn": False}
        RateLimit(**options)


@pytest.mark.anyio
async def test_shared_buckets_live_as_long_as_the_whole() -> None:
    """Buckets that need a connection are entered and left with what the limit stands around."""
    log: list[str] = []

    class Connected(MemoryBuckets):
        async def __aenter__(self) -> None:
            log.append("enter")

        async def __aexit__(self, *raised: object) -> None:
            log.append("leave")

    async def model(value: int) -> str:
        return str(value)

    async with gp.wrap(model, RateLimit(requests=5, buckets=Connected())) as limited:
        assert log == ["enter"]
        assert await limited(3) == "3"
    assert log == ["enter", "leave"]


def test_a_wrong_clock_is_the_limits_own() -> None:
    """The message names the limit, whose option it is, and not what it makes of it."""
    wrong: Any = 3
    with pytest.raises(ConfigurationError, match="RateLimit: clock=3"):
        RateLimit(clock=wrong)


@pytest.mark.parametrize(
    "option",
    ["strict", "count_cached", "cost", "learn", "clock", "buckets", "name", "random"],
)
def test_what_is_no_number_is_checked_too(option: str) -> None:
    """A switch, a function, a name: what is given must be of its kind."""
    with pytest.raises(ConfigurationError, match=f"RateLimit: {option}=3"):
        RateLimit(**{option: 3})  # type: ignore[arg-type]
