"""`Retry` tries again what may pass, waits as it should, and gives up when it must."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors, events
from genai_pipeline.errors import (
    ConnectionFailed,
    InvalidAnswer,
    Overloaded,
    RateLimited,
)
from genai_pipeline.resilience import Retry, RetryBudget, RetryScheduled, _retry
from genai_pipeline.testing import FakeClock
from genai_pipeline.walk import deadline_at

from .flaky import Flaky, always, cycle, retry

pytestmark = pytest.mark.anyio


async def test_a_failure_that_passes_is_tried_again(clock: FakeClock) -> None:
    """The first good answer is the answer."""
    model = Flaky(clock, Overloaded("busy"), ConnectionFailed("reset"), "fine")
    assert await gp.wrap(model, retry(clock))("prompt") == "fine"
    assert model.waits == [0.5, 1.0]


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
async def test_attempts_are_counted_to_the_one(clock: FakeClock, attempts: int) -> None:
    """A call that always fails is made exactly *attempts* times, and the last error is raised."""
    failures = [Overloaded(f"busy {n}") for n in range(10)]
    model = Flaky(clock, *failures)
    with pytest.raises(Overloaded) as raised:
        await gp.wrap(model, retry(clock, attempts=attempts))("prompt")
    assert model.calls == attempts
    assert raised.value is failures[attempts - 1]


async def test_waits_double_up_to_a_limit(clock: FakeClock) -> None:
    """The longest possible waits are 0.5, 1, 2, 4, 8, 8 … seconds by default."""
    model = Flaky(clock, Overloaded("busy"))
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=8))("prompt")
    assert model.waits == [0.5, 1, 2, 4, 8, 8, 8]


async def test_waits_have_full_jitter(clock: FakeClock) -> None:
    """Chance takes any part of the longest wait, none of it included."""
    model = Flaky(clock, Overloaded("busy"))
    chance = cycle([0.5, 0.0, 0.25])
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=4, random=chance))("prompt")
    assert model.waits == [0.25, 0.0, 0.5]


@pytest.mark.parametrize("kind", [RateLimited, Overloaded, ConnectionFailed, InvalidAnswer])
async def test_a_hint_is_the_least_wait(clock: FakeClock, kind: type[Any]) -> None:
    """No attempt is made before the time the server named, whatever the backoff says."""
    model = Flaky(clock, kind("later", retry_after=20), "fine")
    await gp.wrap(model, retry(clock, random=always(0.0)))("prompt")
    assert model.times == [0, 20]


async def test_a_hint_is_spread(clock: FakeClock) -> None:
    """Those who were told one time come at most half a second, or a quarter of it, later."""
    for hint, latest in ((20.0, 20.5), (1.0, 1.25)):
        model = Flaky(clock, Overloaded("later", retry_after=hint), "fine")
        await gp.wrap(model, retry(clock))("prompt")
        assert model.waits == [pytest.approx(latest)]


async def test_a_hint_shorter_than_the_backoff_does_not_shorten_it(clock: FakeClock) -> None:
    """The wait is the longer of the server's hint and the jittered backoff."""
    model = Flaky(clock, *[Overloaded("later", retry_after=0.1)] * 3, "fine")
    await gp.wrap(model, retry(clock, attempts=4))("prompt")
    assert model.waits == [0.5, 1.0, 2.0]


async def test_rate_limits_use_up_no_attempts(clock: FakeClock) -> None:
    """Pain 6: a storm of rate limits leaves every attempt for real faults."""
    storm = [RateLimited("slow down", retry_after=1)] * 20
    model = Flaky(clock, *storm, Overloaded("busy"), *storm, Overloaded("busy"), "fine")
    assert await gp.wrap(model, retry(clock, random=always(0.0)))("prompt") == "fine"
    assert model.calls == 43


async def test_rate_limits_draw_on_no_budget(clock: FakeClock) -> None:
    """A rate limit is flow control; an empty budget does not make a failure of it."""
    budget = RetryBudget(capacity=1, ratio=0, reserve=0, clock=clock)
    assert budget.withdraw()
    model = Flaky(clock, *[RateLimited("slow down")] * 5, "fine")
    assert await gp.wrap(model, retry(clock, budget=budget))("prompt") == "fine"


async def test_rate_limits_without_a_hint_never_spin(clock: FakeClock) -> None:
    """Half of each backoff is certain, so that chance cannot make a tight loop."""
    model = Flaky(clock, *[RateLimited("slow down")] * 6, "fine")
    await gp.wrap(model, retry(clock, random=always(0.0)))("prompt")
    assert model.waits == [0.25, 0.5, 1, 2, 4, 4]


async def test_even_a_function_cannot_make_a_rate_limit_spin(clock: FakeClock) -> None:
    """A rate limit is waited out for a hundredth of a second at least."""
    model = Flaky(clock, *[RateLimited("slow down")] * 2, "fine")
    await gp.wrap(model, retry(clock, on=lambda _: 0))("prompt")
    assert model.waits == [pytest.approx(0.01)] * 2


async def test_bad_answers_are_counted_apart(clock: FakeClock) -> None:
    """Faults leave the chances of bad answers alone, and the other way round."""
    bad, fault = InvalidAnswer("not JSON"), Overloaded("busy")
    model = Flaky(clock, bad, fault, fault, "fine")
    policy = retry(clock, attempts=3, answer_attempts=2)
    assert await gp.wrap(model, policy)("prompt") == "fine"
    model = Flaky(clock, fault, bad, bad)
    with pytest.raises(InvalidAnswer):
        await gp.wrap(model, policy)("prompt")
    assert model.calls == 3


async def test_bad_answers_get_as_many_chances_as_faults_by_default(clock: FakeClock) -> None:
    """An option that is left out follows *attempts*."""
    model = Flaky(clock, InvalidAnswer("not JSON"))
    with pytest.raises(InvalidAnswer):
        await gp.wrap(model, retry(clock, attempts=5))("prompt")
    assert model.calls == 5


async def test_a_wait_up_to_the_deadline_is_not_begun(clock: FakeClock) -> None:
    """Behaviour 16: a hint that reaches the deadline raises the provider's error at once."""
    for hint, calls in ((9.99, 2), (10.0, 1), (1000.0, 1)):
        model = Flaky(clock, RateLimited("slow down", retry_after=hint), "fine")
        began = clock.now()
        with deadline_at(began + 10):
            if calls == 2:
                assert await gp.wrap(model, retry(clock, random=always(0.0)))("prompt") == "fine"
            else:
                with pytest.raises(RateLimited):
                    await gp.wrap(model, retry(clock, random=always(0.0)))("prompt")
                assert clock.now() == began
        assert model.calls == calls


async def test_a_backoff_past_the_deadline_is_not_begun(clock: FakeClock) -> None:
    """Behaviour 16: a backoff beyond the deadline fails at once, and sleeps not at all."""
    model = Flaky(clock, Overloaded("busy"))
    budget = RetryBudget(capacity=10, ratio=0, reserve=0, clock=clock)
    with deadline_at(1.0), pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=9, budget=budget))("prompt")
    assert model.times == [0, 0.5]
    assert budget.level == 9


@pytest.mark.parametrize("kind", [RateLimited, Overloaded])
async def test_a_hint_beyond_the_limit_parks(clock: FakeClock, kind: type[Any]) -> None:
    """A wait that is longer than `max_server_delay` is left to the pipeline, not slept."""
    error = kind("later", retry_after=60.5)
    model = Flaky(clock, error, "fine")
    with pytest.raises(errors.Rejected, match=r"60\.5 s: .*later") as raised:
        await gp.wrap(model, retry(clock))("prompt")
    assert raised.value.retry_after == 60.5
    assert raised.value.__cause__ is error
    assert (model.calls, clock.now()) == (1, 0)
    model = Flaky(clock, kind("later", retry_after=60), "fine")
    assert await gp.wrap(model, retry(clock))("prompt") == "fine"


@pytest.mark.parametrize("hint", [float("nan"), float("inf"), -1.0, 86_400.5, 1e9])
async def test_a_lying_hint_is_no_hint(clock: FakeClock, hint: float) -> None:
    """A hint that is negative, not a number or more than a day gives way to the backoff."""
    model = Flaky(clock, Overloaded("later", retry_after=hint), "fine")
    await gp.wrap(model, retry(clock))("prompt")
    assert model.waits == [0.5]


async def test_a_day_is_believed(clock: FakeClock) -> None:
    """A daily quota may well name a day."""
    model = Flaky(clock, RateLimited("later", retry_after=86_400))
    with pytest.raises(errors.Rejected) as raised:
        await gp.wrap(model, retry(clock))("prompt")
    assert raised.value.retry_after == 86_400


async def test_patience_ends(clock: FakeClock) -> None:
    """Rate limits are waited out in place for *patience* seconds, and parked then."""
    model = Flaky(clock, RateLimited("slow down", retry_after=10))
    with pytest.raises(errors.Rejected) as raised:
        await gp.wrap(model, retry(clock, patience=30, random=always(0.0)))("prompt")
    assert model.times == [0, 10, 20, 30]
    assert raised.value.retry_after == 10
    assert isinstance(raised.value.__cause__, RateLimited)


async def test_waits_after_faults_use_up_no_patience(clock: FakeClock) -> None:
    """However long faults were waited for, *patience* is left for rate limits in full."""
    model = Flaky(clock, *[Overloaded("busy")] * 3, RateLimited("slow", retry_after=4), "fine")
    policed = gp.wrap(model, retry(clock, attempts=4, patience=5, random=always(1.0)))
    assert await policed("prompt") == "fine"
    assert model.waits == [0.5, 1.0, 2.0, 4.5]


async def test_parking_without_a_hint_names_the_backoff(clock: FakeClock) -> None:
    """The pipeline learns how long to wait even when the server did not say."""
    model = Flaky(clock, RateLimited("slow down"))
    with pytest.raises(errors.Rejected) as raised:
        await gp.wrap(model, retry(clock, patience=1))("prompt")
    assert raised.value.retry_after == 1.0
    assert model.times == [0, 0.5]


async def test_a_rejection_is_waited_out(clock: FakeClock) -> None:
    """What was never called is called when the policy says so, and no attempt is used up."""
    closed = errors.Rejected("circuit open", retry_after=15)
    model = Flaky(clock, closed, closed, closed, closed, "fine")
    policy = retry(clock, attempts=1, random=always(0.0), on=ConnectionFailed)
    assert await gp.wrap(model, policy)("prompt") == "fine"
    assert model.times == [0, 15, 30, 45, 60]


async def test_a_rejection_without_a_hint_backs_off(clock: FakeClock) -> None:
    """A policy that does not know when is asked again after 0.25 to 0.5 s, then later."""
    model = Flaky(clock, *[errors.Rejected("full")] * 3, "fine")
    await gp.wrap(model, retry(clock))("prompt")
    assert model.waits == [0.5, 1.0, 2.0]


async def test_a_rejection_of_no_time_does_not_spin(clock: FakeClock) -> None:
    """A hint of zero waits a hundredth of a second; a short one waits no more than it says."""
    model = Flaky(
        clock, errors.Rejected("", retry_after=0), errors.Rejected("", retry_after=0.02), "fine"
    )
    await gp.wrap(model, retry(clock, random=always(0.0)))("prompt")
    assert model.waits == [pytest.approx(0.01), pytest.approx(0.02)]


async def test_an_outage_uses_up_no_attempts(clock: FakeClock) -> None:
    """Faults that a circuit opened on count no more; the refusal of another policy is no excuse."""
    fault = Overloaded("down")
    opened, full = errors.CircuitOpen("", retry_after=1), errors.BulkheadFull("", retry_after=1)
    model = Flaky(clock, fault, fault, opened, fault, fault, "fine")
    assert await gp.wrap(model, retry(clock, attempts=3))("prompt") == "fine"
    model = Flaky(clock, fault, fault, full, fault, "fine")
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=3))("prompt")


async def test_a_rejection_that_does_not_fit_goes_on_as_it_is(clock: FakeClock) -> None:
    """Past the deadline, the limit or patience, the very rejection is raised at once."""
    closed = errors.Rejected("circuit open", retry_after=15)
    for options, deadline in (({}, 15), ({"max_server_delay": 14.9}, 1e9), ({"patience": 14}, 1e9)):
        model = Flaky(clock, closed)
        with deadline_at(deadline), pytest.raises(errors.Rejected) as raised:
            await gp.wrap(model, retry(clock, random=always(0.0), **options))("prompt")
        assert raised.value is closed
        assert (model.calls, clock.now()) == (1, 0)


async def test_an_empty_budget_ends_retrying(clock: FakeClock) -> None:
    """Without a token the error is raised, after no wait."""
    budget = RetryBudget(capacity=1, ratio=0, reserve=0, clock=clock)
    model = Flaky(clock, Overloaded("busy"))
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=5, budget=budget))("prompt")
    assert model.times == [0, 0.5]


async def test_an_outage_is_not_multiplied(clock: FakeClock) -> None:
    """Behaviour 18: 100 calls of 4 attempts with a budget of 5 + 0.1 a call make 115, not 400."""
    budget = RetryBudget(capacity=5, ratio=0.1, reserve=0, clock=clock)
    model = Flaky(clock, Overloaded("busy"))
    outage = gp.wrap(model, retry(clock, attempts=4, budget=budget))
    for _ in range(100):
        with pytest.raises(Overloaded):
            await outage("prompt")
    assert 110 <= model.calls <= 115


async def test_no_budget_is_no_limit(clock: FakeClock) -> None:
    """With ``budget=None`` only *attempts* limit."""
    model = Flaky(clock, Overloaded("busy"))
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, attempts=600, max_wait=0.5, budget=None))("prompt")
    assert model.calls == 600


async def test_budgets_are_shared_when_given(clock: FakeClock) -> None:
    """Two policies around one provider draw on one budget; by default each has its own."""
    budget = RetryBudget(capacity=1, ratio=0, reserve=0, clock=clock)
    for policy in (retry(clock, budget=budget), retry(clock, budget=budget)):
        with pytest.raises(Overloaded):
            await gp.wrap(Flaky(clock, Overloaded("busy")), policy)("prompt")
    assert budget.level == 0
    first, second = retry(clock), retry(clock)
    assert first.budget is not second.budget
    assert first.budget is not None
    assert first.budget.clock is clock


async def test_concurrent_calls_are_independent(clock: FakeClock) -> None:
    """Behaviour 19: of 1000 concurrent calls through one policy each makes its own attempts."""
    made: dict[int, int] = {}

    async def model(value: int) -> int:
        made[value] = made.get(value, 0) + 1
        await clock.sleep(value % 7)
        if made[value] <= value % 5:
            raise Overloaded(f"{value}")
        return value

    policed = gp.wrap(model, retry(clock, attempts=4, budget=None))
    answers: dict[int, int | Exception] = {}

    async def call(value: int) -> None:
        try:
            answers[value] = await policed(value)
        except Overloaded as error:
            answers[value] = error

    async with anyio.create_task_group() as group:
        for value in range(1000):
            group.start_soon(call, value)
    assert made == {value: min(value % 5 + 1, 4) for value in range(1000)}
    for value, answer in answers.items():
        assert answer == value if value % 5 < 4 else str(answer) == str(value)


async def test_what_is_not_tried_again_costs_nothing_of_tenacity(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 20: an object of tenacity's is made after a failure that is to be tried again."""
    made: list[object] = []

    retrying: Any = vars(_retry)["AsyncRetrying"]

    def spy(**options: Any) -> Any:
        made.append(options)
        return retrying(**options)

    monkeypatch.setattr(_retry, "AsyncRetrying", spy)
    outcomes = "fine", errors.Refused("no"), Overloaded("busy"), "fine"
    policed = gp.wrap(Flaky(clock, *outcomes), retry(clock))
    await policed("prompt")
    with pytest.raises(errors.Refused):
        await policed("prompt")
    assert not made
    await policed("prompt")
    assert len(made) == 1


async def test_what_is_not_named_is_raised_at_once(clock: FakeClock) -> None:
    """An error that *on* does not name ends the call, also after others that it does."""
    model = Flaky(clock, Overloaded("busy"), errors.Refused("no"), "fine")
    with pytest.raises(errors.Refused) as raised:
        await gp.wrap(model, retry(clock))("prompt")
    assert model.calls == 2
    assert raised.value.__notes__ == ["Earlier attempts: Overloaded: busy"]


async def test_retries_are_told(clock: FakeClock) -> None:
    """Listeners hear of each retry: which attempt failed, of what, and how long it waits."""
    heard: list[Any] = []
    closed = errors.Rejected("circuit open", retry_after=4)
    model = Flaky(clock, Overloaded("busy: very"), RateLimited("slow", retry_after=8), closed, 1)
    with gp.listen(heard.append):
        await gp.wrap(model, retry(clock, name="model", random=always(0.0)))("prompt")
    assert heard == [
        RetryScheduled(name="model", attempt=1, wait=0.0, error="Overloaded"),
        events.PolicyWaited(kind="backoff", name="model", seconds=0.0),
        RetryScheduled(name="model", attempt=2, wait=8.0, error="RateLimited"),
        events.PolicyWaited(kind="cooldown", name="model", seconds=8.0),
        events.PolicyWaited(kind="cooldown", name="model", seconds=4.0),
    ]


async def test_a_rejection_says_what_is_waited_for(clock: FakeClock) -> None:
    """The wait for a policy is booked on the kind that its rejection names."""

    class CircuitOpen(errors.Rejected):
        waits_for = "breaker"

    heard: list[Any] = []
    with gp.listen(heard.append):
        await gp.wrap(Flaky(clock, CircuitOpen("", retry_after=1), 1), retry(clock))("prompt")
    assert [event.kind for event in heard] == ["breaker"]


@pytest.mark.parametrize("wait", [0.0, 2.5, 500.0])
async def test_a_function_may_name_the_wait(clock: FakeClock, wait: float) -> None:
    """What `on` answers in seconds is waited to the letter."""
    model = Flaky(clock, Overloaded("busy"), "fine")
    await gp.wrap(model, retry(clock, on=lambda _: wait))("prompt")
    assert model.waits == [wait]


async def test_a_hint_prevails_over_a_shorter_wait_of_a_function(clock: FakeClock) -> None:
    """The server's hint is the least wait, whatever `on` answers."""
    model = Flaky(clock, Overloaded("busy", retry_after=9), "fine")
    await gp.wrap(model, retry(clock, on=lambda _: 2))("prompt")
    assert model.waits == [9]


async def test_a_function_is_asked_once_for_each_failure(clock: FakeClock) -> None:
    """A function with effects of its own sees each error once, in order."""
    asked: list[str] = []

    def ask(error: Exception) -> bool:
        asked.append(str(error))
        return True

    model = Flaky(clock, Overloaded("1"), Overloaded("2"), Overloaded("3"))
    with pytest.raises(Overloaded):
        await gp.wrap(model, retry(clock, on=ask))("prompt")
    assert asked == ["1", "2", "3"]


async def test_a_function_that_answers_nonsense_is_named(clock: FakeClock) -> None:
    """An answer that is neither truth nor seconds raises, on first and on later failures."""
    for nonsense in (None, "yes", -1, float("nan"), float("inf")):
        answers = iter([True, nonsense])
        for on in (lambda _, given=nonsense: given, lambda _, given=answers: next(given)):
            model = Flaky(clock, Overloaded("busy"))
            with pytest.raises(errors.ConfigurationError, match="let it answer") as raised:
                await gp.wrap(model, Retry(on=on, clock=clock))("prompt")
            assert repr(nonsense) in str(raised.value)


async def test_a_foreign_error_is_retried_when_named(clock: FakeClock) -> None:
    """Exceptions of other libraries count as faults."""
    model = Flaky(clock, BrokenPipeError("gone"), TimeoutError("slow"), "fine")
    policed = gp.wrap(model, retry(clock, on=(ConnectionError, TimeoutError)))
    assert await policed("prompt") == "fine"
