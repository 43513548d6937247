"""Client-side throttling: who is refused, how often, and when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import CircuitOpen, InvalidRequest, Overloaded, RateLimited, Throttled
from genai_pipeline.events import listen
from genai_pipeline.resilience import CallThrottled, Throttle, is_turned_away
from genai_pipeline.testing import FakeClock

from .calls import answer
from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio


async def tried(throttle: Throttle, error: BaseException | None) -> str:
    """Make a call that ends so; answer how it ended for the caller."""

    async def callee(value: str) -> str:
        if error is not None:
            raise error
        return value

    try:
        return await gp.wrap(callee, throttle)("ok")
    except (gp.PipelineError, KeyError) as raised:
        return type(raised).__name__


def throttle_on(clock: FakeClock, **options: Any) -> Throttle:
    """Answer a throttle that refuses whatever has any chance to be refused."""
    return Throttle(clock=clock, **{"random": lambda: 0.0, **options})


async def test_the_probability_is_the_published_formula(clock: FakeClock) -> None:
    """(requests - k * accepts) / (requests + 1), and a refused call counts as a request."""
    draws: list[float] = []
    throttle = throttle_on(clock, random=lambda: draws.pop(0))
    for _ in range(3):
        assert await tried(throttle, None) == "ok"
    for failures in range(1, 4):
        draws = [1.0]
        assert await tried(throttle, RateLimited("429")) == "RateLimited"
        assert throttle.probability == 0.0, failures
    draws = [1.0]
    await tried(throttle, RateLimited("429"))
    assert throttle.probability == (7 - 2 * 3) / 8
    draws = [1 / 8]
    assert await tried(throttle, None) == "ok"  # exactly the probability is let through
    assert throttle.probability == 0.0
    draws = [1.0, 1.0]
    for _ in range(2):
        await tried(throttle, Overloaded("503"))
    assert throttle.probability == (10 - 2 * 4) / 11
    draws = [0.18]
    assert await tried(throttle, None) == "Throttled"
    assert throttle.probability == (11 - 2 * 4) / 12


async def test_refused_calls_are_told_why_and_when(clock: FakeClock) -> None:
    """The refusal names the share and the counts, says when to come again, and is an event."""
    throttle = throttle_on(clock, name="tiny-1", pause=2.5)
    heard: list[CallThrottled] = []
    with listen(lambda event: heard.append(event)):
        await tried(throttle, Overloaded("503"))
        with pytest.raises(
            Throttled, match="tiny-1 refuses 50% of the calls: 0 of the last 1 were accepted"
        ) as caught:
            await gp.wrap(answer, throttle)("x")
    assert caught.value.retry_after == 2.5
    assert heard == [CallThrottled(name="tiny-1", probability=0.5)]


async def test_nothing_is_refused_while_half_is_accepted(clock: FakeClock) -> None:
    """With k = 2, a callee that turns every other call away is left alone."""
    throttle = throttle_on(clock)
    for error in [None, Overloaded("503")] * 200:
        assert await tried(throttle, error) != "Throttled"


@pytest.mark.parametrize("k", [1.0, 1.5, 3.0])
async def test_k_says_how_many_calls_for_each_accepted(clock: FakeClock, k: float) -> None:
    """A lower k refuses sooner, a higher one later."""
    throttle = throttle_on(clock, k=k)
    for error in [None] * 10 + [Overloaded("503")] * 5:
        await tried(throttle, error)
        if throttle.probability:
            break
    assert throttle.probability == pytest.approx(max(0, {1.0: 1 / 12, 1.5: 0, 3.0: 0}[k]))


async def test_what_says_nothing_counts_as_nothing(clock: FakeClock) -> None:
    """Wrong requests, bugs, refusals inside and cancelled calls move no counter."""
    throttle = throttle_on(clock)
    for error in [InvalidRequest("400"), KeyError("bug"), CircuitOpen("inside")] * 20:
        assert await tried(throttle, error) != "Throttled"
    for exit_ in (KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(exit_)):
            await tried(throttle, exit_)
    await tried(throttle, gp.Refused("an answer all the same"))
    assert throttle._recent() == (1, 1)


async def test_refusals_inside_never_count(clock: FakeClock) -> None:
    """What a policy inside refused was not turned away by the callee, whatever counts one says."""
    throttle = throttle_on(clock, counts=lambda _: True)
    for _ in range(20):
        assert await tried(throttle, CircuitOpen("inside")) == "CircuitOpen"


async def test_a_good_past_is_forgotten(clock: FakeClock) -> None:
    """However many calls were accepted before the window, an outage after it is noticed."""
    throttle = throttle_on(clock, window_seconds=120)
    for _ in range(1000):
        await tried(throttle, None)
    clock.advance(130)
    await tried(throttle, Overloaded("503"))
    assert await tried(throttle, None) == "Throttled"


async def test_memory_does_not_grow_with_calls(clock: FakeClock) -> None:
    """Of ten thousand calls in a window it keeps sixty sums or so."""
    throttle = throttle_on(clock, window_seconds=100)
    for _ in range(10_000):
        clock.advance(0.01)
        await tried(throttle, None)
    assert 50 <= len(throttle._slices) <= 61


def test_default_classes() -> None:
    """Being turned away is an outage's error, or too many requests."""
    assert is_turned_away(RateLimited("429")) is True
    assert is_turned_away(Overloaded("503")) is True
    assert is_turned_away(gp.Truncated("cut")) is False
    assert is_turned_away(InvalidRequest("400")) is None


async def test_many_calls_under_way_are_no_refusals(clock: FakeClock) -> None:
    """Calls count when they end, so a thousand slow ones at once are all let through."""
    throttle = throttle_on(clock)
    answers: list[str] = []

    async def slow(value: str) -> str:
        await clock.sleep(60)
        return value

    async def call() -> None:
        answers.append(await gp.wrap(slow, throttle)("x"))

    async with anyio.create_task_group() as tasks:
        for _ in range(1000):
            tasks.start_soon(call)
    assert len(answers) == 1000


async def test_the_window_forgets(clock: FakeClock) -> None:
    """After the window nothing is refused any more, and a second before it still is."""
    throttle = throttle_on(clock, window_seconds=120)
    await tried(throttle, Overloaded("503"))
    clock.advance(119)
    assert throttle.probability == 0.5
    clock.advance(4)
    assert throttle.probability == 0.0
    assert await tried(throttle, None) == "ok"


@given(
    st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from([None, Overloaded("503"), KeyError("x")])),
        max_size=60,
    ),
    st.sampled_from([60.0, 120.0]),
)
@settings(deadline=None)
def test_counts_equal_a_recount_to_within_a_slice(
    steps: list[tuple[int, Exception | None]], window: float
) -> None:
    """What is younger than the window is counted, what is a slice older is not."""
    clock = FakeClock()
    throttle = Throttle(clock=clock, window_seconds=window, random=lambda: 1.0)
    past: list[tuple[float, bool]] = []
    for seconds, error in steps:
        clock.advance(seconds)
        call = tried(throttle, error)
        with pytest.raises(StopIteration):
            call.send(None)
        if not isinstance(error, KeyError):
            past.append((clock.now(), error is None))
        accepted, requests = throttle._recent()
        least = [good for then, good in past if then > clock.now() - window]
        most = [good for then, good in past if then >= clock.now() - window * (1 + 1 / 60)]
        assert len(least) <= requests <= len(most)
        assert sum(least) <= accepted <= sum(most)


async def test_an_outage_and_its_end(clock: FakeClock) -> None:
    """In an outage few calls in a window get through; when it ends, traffic grows back."""
    numbers = iter(range(10**9))
    throttle = Throttle(clock=clock, random=lambda: (next(numbers) * 0.618033988749895) % 1)

    async def second(*, well: bool) -> int:
        """Make ten calls a second; answer how many got through."""
        ends = [await tried(throttle, None if well else Overloaded("503")) for _ in range(10)]
        await clock.sleep(1)
        return 10 - ends.count("Throttled")

    for _ in range(120):
        assert await second(well=True) == 10
    in_outage = [await second(well=False) for _ in range(600)]
    assert sum(in_outage[:60]) > 500  # it notices when a window's accepts are outnumbered
    assert sum(in_outage[-120:]) <= 5
    recovery = [await second(well=True) for _ in range(600)]
    assert recovery[-60:] == [10] * 60


async def test_cancelling_at_every_wait_counts_nothing(clock: FakeClock) -> None:
    """Wherever a call is cancelled, its scope catches it, and no counter moves."""

    async def callee(value: str) -> str:
        await clock.sleep(1)
        await clock.sleep(0)
        return value

    seen: list[tuple[int, int]] = []

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        throttle = throttle_on(clock)
        yield lambda: gp.wrap(callee, throttle)("x")
        seen.append(throttle._recent())

    assert await cancel_at_every_wait(scenario) == 2
    assert seen == [(0, 0), (0, 0), (1, 1)]


def test_defaults_are_those_documented() -> None:
    """Two calls for each that is accepted, over two minutes; the refused come again in a second."""
    shown = "Throttle(name='throttle', k=2.0, window_seconds=120.0, pause=1.0,"
    assert repr(Throttle()).startswith(shown)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0.9}, "Throttle: k=0.9; give a number, 1 or more"),
        ({"k": "2"}, "Throttle: k='2'; give a number above 0"),
        ({"window_seconds": 0}, "Throttle: window_seconds=0; give a number above 0"),
        ({"pause": -1}, "Throttle: pause=-1; give a number above 0"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """An option out of its range is refused when the throttle is built."""
    with pytest.raises(gp.ConfigurationError) as caught:
        Throttle(**options)
    assert str(caught.value) == message
