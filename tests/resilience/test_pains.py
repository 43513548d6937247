"""What users of other systems suffer, and what keeps it from happening here; numbered as known."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import Overloaded, PipelineError, QuotaExhausted, RateLimited, Rejected
from genai_pipeline.events import StopRequested
from genai_pipeline.providers._failures import Failure, to_error
from genai_pipeline.resilience import resilient
from genai_pipeline.testing import FakeClock, Script

pytestmark = pytest.mark.anyio

BACKENDS = st.sampled_from(["asyncio", "trio"])
ASK = gp.Request("hello")


def answer(request: gp.Request) -> gp.Response:
    """Answer so that everybody sees what was asked."""
    return gp.Response(request.prompt.upper())


@attrs.define
class Outcome:
    """What came of a run."""

    report: gp.Report
    written: list[tuple[str, str]]
    dead: list[gp.DeadLetter]


async def run_over(
    texts: Iterator[str] | list[str], model: gp.Provider, clock: FakeClock, **options: Any
) -> Outcome:
    """Run a pipeline that asks *model* about each of *texts*."""

    async def ask(text: str) -> tuple[str, str]:
        return text, (await model(gp.Request(text))).text

    sink: gp.sinks.Collect[tuple[str, str]] = gp.sinks.Collect()
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()
    pipeline = gp.Pipeline(
        source=gp.sources.Values(texts),
        stage=gp.map(ask),
        sink=sink,
        dead_letters=dead,
        clock=clock,
        **options,
    )
    return Outcome(await pipeline.run(), sink.values, dead.values)


def numbered(count: int) -> list[str]:
    """Answer so many different texts."""
    return [f"text {number}" for number in range(count)]


async def test_a_bulk_run_needs_no_loop_around_it(clock: FakeClock) -> None:
    """Pain 1: a run of any size keeps to the quota by itself; the provider refuses nothing."""
    began: list[float] = []

    async def strict(request: gp.Request) -> gp.Response:
        began.append(clock.now())
        await clock.sleep(0.5)
        return answer(request)

    limit = gp.RateLimit(requests=600, burst=5, clock=clock)
    outcome = await run_over(
        numbered(1500), resilient(strict, rate_limit=limit, clock=clock), clock, max_in_flight=64
    )
    assert outcome.report.written == 1500
    assert clock.now() <= 1.05 * 1500 / 10
    for first in range(0, 1500, 7):
        within = sum(1 for when in began[first:] if when < began[first] + 60)
        assert within <= 600 + 50


async def test_all_calls_of_a_quota_wait_for_the_hint_of_one(clock: FakeClock) -> None:
    """Pain 2: after a 429 that says 90 s, nobody who uses that quota calls before."""
    began: list[float] = []

    async def limited(request: gp.Request) -> gp.Response:
        began.append(clock.now())
        await clock.sleep(0.1)
        if clock.now() < 1:
            raise RateLimited("429", retry_after=90)
        return answer(request)

    quota = gp.RateLimit(requests=6000, clock=clock)
    models = [resilient(limited, rate_limit=quota, clock=clock) for _ in range(2)]

    async def either(request: gp.Request) -> gp.Response:
        return await models[hash(request.prompt) % 2](request)

    outcome = await run_over(numbered(100), either, clock, max_in_flight=20)
    assert outcome.report.written == 100
    assert not [when for when in began if 0.1 < when < 90]


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_the_number_of_attempts_is_what_was_set(clock: FakeClock, attempts: int) -> None:
    """Pain 3: what is set has its effect, to the one; what is no option is refused."""
    model = Script(Overloaded("503"), then="repeat", clock=clock)
    retry = gp.Retry(on=gp.Transient, attempts=attempts, clock=clock)
    with pytest.raises(Overloaded):
        await resilient(model, retry=retry, clock=clock)(ASK)
    assert model.calls == attempts
    unknown: dict[str, Any] = {"max_retries": attempts}
    with pytest.raises(TypeError, match="max_retries"):
        gp.Retry(on=gp.Transient, **unknown)
    with pytest.raises(TypeError, match="max_retries"):
        resilient(model, **unknown)


@settings(max_examples=40, deadline=None)
@given(hint=st.floats(0, 20_000), deadline=st.none() | st.floats(1, 20_000), backend=BACKENDS)
def test_a_hint_is_obeyed_or_the_record_fails_at_once(
    hint: float, deadline: float | None, backend: str
) -> None:
    """Pain 5: however long the hint: no call before it, and no sleep into a deadline."""

    async def main() -> None:
        async with FakeClock() as clock:
            model = Script(RateLimited("429", retry_after=hint), "fine", clock=clock)
            began: list[float] = []

            async def timed(request: gp.Request) -> gp.Response:
                began.append(clock.now())
                return await model(request)

            wrapped = resilient(timed, clock=clock)
            outcome = await run_over(["a"], wrapped, clock, record_timeout=deadline)
            if outcome.dead:
                assert deadline is not None
                assert hint * 1.25 + 1 >= deadline
                # Within a tenth more than the hint, by which the cooldown is spread, it may wait.
                assert clock.now() == 0 or (clock.now() >= hint and deadline > hint)
                assert began == [0]
            else:
                assert outcome.report.written == 1
                assert began[1] >= hint

    anyio.run(main, backend=backend)


async def test_a_quota_that_is_used_up_is_not_waited_for(clock: FakeClock) -> None:
    """Pain 5: `QuotaExhausted` is a class of its own: raised at once, with one call made."""
    model = Script(QuotaExhausted("429 insufficient_quota"), then="repeat", clock=clock)
    with pytest.raises(QuotaExhausted):
        await resilient(model, clock=clock)(ASK)
    assert (model.calls, clock.now()) == (1, 0)


async def test_a_storm_of_429s_is_one_cooldown_for_all(clock: FakeClock) -> None:
    """Pain 6: in a storm of 429s 64 workers call as often as one would, and no record dies."""
    calls = 0

    async def stormy(request: gp.Request) -> gp.Response:
        nonlocal calls
        calls += 1
        await clock.sleep(0.1)
        if clock.now() < 300:
            raise RateLimited("429", retry_after=5)
        return answer(request)

    model = resilient(stormy, clock=clock)
    outcome = await run_over(numbered(200), model, clock, max_in_flight=64)
    assert outcome.report.written == 200
    assert not outcome.dead
    assert calls <= 200 + 1.8 * 300 / 5


async def test_trouble_stops_neither_progress_nor_what_was_written(clock: FakeClock) -> None:
    """Pain 7: a provider that bears eight calls is kept busy; an outage costs what it lasts."""
    now = 0
    written_before = 0
    sink: gp.sinks.Collect[str] = gp.sinks.Collect()
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()

    async def weak(request: gp.Request) -> gp.Response:
        nonlocal now, written_before
        now += 1
        try:
            if now > 8:
                raise Overloaded("503")
            await clock.sleep(1)
        finally:
            now -= 1
        if 30 <= clock.now() < 600:
            written_before = written_before or len(sink.values)
            raise Overloaded("503")
        return answer(request)

    breaker = gp.CircuitBreaker(clock=clock, random=lambda: 0.5)
    model = resilient(weak, breaker=breaker, clock=clock)

    async def ask(text: str) -> str:
        return (await model(gp.Request(text))).text

    report = await gp.Pipeline(
        source=gp.sources.Values(numbered(600)),
        stage=gp.map(ask),
        sink=sink,
        dead_letters=dead,
        max_in_flight=64,
        clock=clock,
    ).run()
    assert (report.written, report.dead) == (600, 0)
    assert written_before >= 30 * 4, "written while it ran, at more than half of what it bears"
    assert clock.now() <= 600 + breaker.open_for_max + 2 * 600 / 8


async def test_quota_is_reserved_by_what_answers_take(clock: FakeClock) -> None:
    """Pain 8: a generous max_output_tokens does not keep throughput far below the quota."""

    async def terse(request: gp.Request) -> gp.Response:
        await clock.sleep(1)
        usage = gp.Usage(input_tokens=10, output_tokens=90)
        return attrs.evolve(answer(request), usage=usage)

    limit = gp.RateLimit(tokens=6000, clock=clock)
    model = gp.wrap(terse, limit)

    async def generous(request: gp.Request) -> gp.Response:
        return await model(attrs.evolve(request, max_output_tokens=3000))

    outcome = await run_over(numbered(300), generous, clock, max_in_flight=32)
    assert outcome.report.written == 300
    assert clock.now() <= 1.15 * 300 * 100 / (6000 / 60), "reserving 3,000 each takes 150 minutes"


PASSING = {408, 409, 421, 424, 425, 429, 499, *range(500, 600)} - {501, 505}
ACCOUNT = {401, 402, 403, 407}


@settings(max_examples=200, deadline=None)
@given(
    status=st.integers(100, 599) | st.sampled_from(sorted(PASSING | ACCOUNT | {400, 404, 422})),
    wish=st.sampled_from([None, None, True, False]),
    on=st.sampled_from([gp.Transient, Exception, (gp.Transient, OSError)]),
    backend=BACKENDS,
)
def test_what_is_retried_is_a_table(status: int, wish: bool | None, on: Any, backend: str) -> None:
    """Pain 10, 15: status, and ``x-should-retry`` before it, decide, whatever class *on* names."""
    no_answer = 100 <= status < 300  # a success whose body is no answer
    expected = status in PASSING or no_answer
    if wish is False:
        expected = False
    elif wish and (400 <= status < 500 or status in {501, 505}) and status not in ACCOUNT:
        expected = True

    async def main() -> None:
        async with FakeClock() as clock:
            error = to_error(Failure(status=status, message="said", should_retry=wish), "model")
            model = Script(error, "fine", clock=clock)
            retry = gp.Retry(on=on, clock=clock)
            try:
                await gp.wrap(model, retry)(ASK)
            except PipelineError as raised:
                assert raised is error
            assert model.calls == (2 if expected else 1)

    anyio.run(main, backend=backend)


FOREIGN: list[tuple[type[Exception], bool]] = [
    *((kind, True) for kind in (ConnectionError, ConnectionResetError, TimeoutError)),
    *((kind, False) for kind in (ValueError, KeyError, OSError, RuntimeError, UnicodeError)),
]


@pytest.mark.parametrize(("kind", "passes"), FOREIGN)
async def test_foreign_errors_are_classified_too(
    clock: FakeClock, kind: type[Exception], passes: bool
) -> None:
    """Pain 10: of foreign exceptions, timeouts and broken connections pass, others do not."""

    async def model(value: int) -> int:
        raise kind

    def passing(error: Exception) -> bool:
        return gp.errors.classify(error) == "transient"

    calls = 0

    async def counting(value: int, call_next: Any) -> Any:
        nonlocal calls
        calls += 1
        return await call_next(value)

    with pytest.raises(kind):
        await gp.wrap(model, gp.Retry(on=passing, attempts=2, clock=clock), counting)(1)
    assert calls == (2 if passes else 1)


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_wrong_account_stops_the_run_once(clock: FakeClock, status: int) -> None:
    """Pain 11: of 1,000 records those in flight are called, once each; the run stops once."""
    error = to_error(Failure(status=status, message="said"), "model")
    model = Script(error, then="repeat", latency=1, clock=clock)
    stops: list[Any] = []

    def hear(event: object) -> None:
        if isinstance(event, StopRequested):
            stops.append(event)

    with gp.listen(hear), pytest.raises(gp.RunFailed) as failed:
        await run_over(numbered(1000), resilient(model, clock=clock), clock, max_in_flight=8)
    report = failed.value.report
    assert model.calls == report.handed_back <= 8
    assert report.dead == 0
    assert len(stops) == 1


async def test_an_outage_pauses_the_source(clock: FakeClock) -> None:
    """Pain 12: one breaker for all workers: few probes, and nothing is read meanwhile."""
    began: list[float] = []
    read: list[float] = []

    def source() -> Iterator[str]:
        for text in numbered(500):
            read.append(clock.now())
            yield text

    async def down(request: gp.Request) -> gp.Response:
        began.append(clock.now())
        await clock.sleep(0.5)
        if 5 < clock.now() < 3600:
            raise Overloaded("503")
        return answer(request)

    model = resilient(down, clock=clock)
    outcome = await run_over(source(), model, clock, max_in_flight=16)
    assert (outcome.report.written, outcome.report.dead) == (500, 0)
    probes = [when for when in began if 60 < when < 3600]
    assert 1 <= len(probes) <= 3600 / 15
    assert not [when for when in read if 60 < when < 3600]


async def test_cleanup_is_neither_cut_off_nor_told_as_an_error(clock: FakeClock) -> None:
    """Pain 14: a loser's cleanup that takes two seconds, and then fails, disturbs no answer."""
    cleaned: list[str] = []

    async def slow(request: gp.Request) -> gp.Response:
        try:
            await clock.sleep(100)
        finally:
            with anyio.CancelScope(shield=True), clock.cancel_at(clock.now() + 5):
                await clock.sleep(2)
                cleaned.append(request.prompt)
            raise OSError("cannot close")
        return answer(request)

    quick = Script("fine", latency=1, clock=clock)
    model = gp.wrap(slow, gp.Hedge(quick, after=1, clock=clock), gp.Timeout(50, clock=clock))
    assert (await model(ASK)).text == "fine"
    assert cleaned == ["hello"]
    assert clock.now() == 4


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_killed_run_leaks_no_slot(backend: str) -> None:
    """Pain 17: policies whose calls died with their event loop work in the next, in full."""
    stuck = True
    going = 0

    async def provider(request: gp.Request) -> gp.Response:
        nonlocal going
        going += 1
        if stuck:
            await anyio.sleep_forever()
        return answer(request)

    limit = gp.RateLimit(requests=6000)
    slots = gp.Bulkhead(3)
    breaker = gp.CircuitBreaker()
    model = resilient(provider, rate_limit=limit, concurrency=slots, breaker=breaker)

    async def ask(number: int) -> None:
        await model(gp.Request(str(number)))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(ask, number)
            while stuck and not (going == 3 and slots.waiting == 3):
                await anyio.lowlevel.checkpoint()
            if stuck:
                raise KeyboardInterrupt

    with pytest.raises(BaseException) as killed:
        anyio.run(main, backend=backend)
    assert "KeyboardInterrupt" in repr(killed.value)
    assert (limit.in_flight, limit.waiting, slots.in_use, slots.waiting) == (0, 0, 0, 0)
    stuck, going = False, 0
    anyio.run(main, backend=backend)
    assert going == 6


@settings(max_examples=40, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["well", "down", "limited", "refused"]), max_size=30),
    latencies=st.lists(st.sampled_from([0.1, 0.5, 2.0]), min_size=1, max_size=8),
    size=st.integers(1, 6),
    backend=BACKENDS,
)
def test_results_belong_to_their_records(
    fates: list[str], latencies: list[float], size: int, backend: str
) -> None:
    """Pain 38: with retries, each output is that of its input, in order; never more at once."""

    async def main() -> None:
        async with FakeClock() as clock:
            fate = iter(fates)

            def respond(request: gp.Request) -> str:
                match next(fate, "well"):
                    case "down":
                        raise Overloaded("503")
                    case "limited":
                        raise RateLimited("429", retry_after=1)
                    case "refused":
                        raise Rejected("not now", retry_after=1)
                return request.prompt.upper()

            script = Script.of(
                respond,
                latency=lambda request: latencies[len(request.prompt) % len(latencies)],
                clock=clock,
            )
            model = gp.wrap(
                script,
                gp.Retry(on=gp.Transient, attempts=40, clock=clock),
                gp.Bulkhead(size, clock=clock),
            )

            async def ask(text: str) -> tuple[str, str]:
                return text, (await model(gp.Request(text))).text

            sink: gp.sinks.Collect[tuple[str, str]] = gp.sinks.Collect()
            texts = ["x" * random.Random(each).randint(1, 9) + str(each) for each in range(20)]
            report = await gp.Pipeline(
                source=gp.sources.Values(texts),
                stage=gp.map(ask),
                sink=gp.in_order(sink),
                max_in_flight=10,
                clock=clock,
            ).run()
            assert report.written == 20
            assert sink.values == [(text, text.upper()) for text in texts]
            assert script.most_in_flight <= size

    anyio.run(main, backend=backend)


async def test_equal_inputs_have_each_their_result(clock: FakeClock) -> None:
    """Pain 38: records that are equal are as many results, though one call may serve them all."""
    script = Script.of(lambda request: request.prompt.upper(), latency=1, clock=clock)
    cache = gp.Cache(store=gp.stores.Memory(clock=clock), clock=clock)
    texts = ["a", "b", "a", "a", "b"] * 4
    outcome = await run_over(texts, gp.wrap(script, cache), clock, max_in_flight=8)
    assert Counter(outcome.written) == Counter((text, text.upper()) for text in texts)
    assert script.calls == 2
