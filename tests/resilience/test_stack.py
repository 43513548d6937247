"""The usual policies, in the order that works, and warnings of those that do not."""

from __future__ import annotations

import warnings
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.resilience import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    Deadline,
    RateLimit,
    Retry,
    Timeout,
    resilient,
)
from genai_pipeline.testing import FakeClock, Script

pytestmark = pytest.mark.anyio

Order = list[str]


def order_of(handler: object) -> Order:
    """Answer the kinds of the layers, outermost first."""
    lines = gp.describe(handler).splitlines()
    return [line[4:].split("(")[0] for line in lines if not line.startswith(" !")]


def test_the_usual_policies_stand_in_the_usual_order() -> None:
    """Retry sees attempts, waiting comes before the breaker's permit, the timeout is inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = resilient(Script("hi"))
    kinds = [type(layer).__name__ for layer in model.middlewares]
    assert kinds == [
        "Retry",
        "method",
        "RateLimit",
        "AdaptiveLimit",
        "method",
        "CircuitBreaker",
        "Timeout",
    ]


def test_each_policy_is_replaced_or_left_out_by_its_keyword() -> None:
    """What is given stands in its place; None is nothing."""
    retry, limit = Retry(on=gp.errors.RateLimited, attempts=9), Bulkhead(3)
    model = resilient(
        Script("hi"),
        deadline=Deadline(9),
        retry=retry,
        rate_limit=None,
        concurrency=limit,
        breaker=None,
        timeout=None,
    )
    assert order_of(model)[:3] == ["Deadline", "Retry", "Bulkhead"]
    assert model.middlewares[1] is retry
    assert model.middlewares[2] is limit


def test_the_usual_policies_have_the_usual_figures() -> None:
    """Five attempts of two minutes each, unless others are given."""
    told = gp.describe(resilient(Script("hi")))
    assert "attempts=5" in told
    assert "Timeout(seconds=120)" in told
    timeout = Timeout(3)
    assert resilient(Script("hi"), timeout=timeout).middlewares[-1] is timeout


def test_the_clock_is_that_of_all_usual_policies() -> None:
    """With a clock given, nothing that is made here goes by another."""
    clock = FakeClock()
    usual = resilient(Script("hi"), clock=clock).middlewares
    clocks = [layer.clock for layer in usual if hasattr(layer, "clock")]
    assert len(clocks) == 5
    assert all(each is clock for each in clocks)


OPTIONS = ("deadline", "cache", "fallback", "hedge", "retry", "rate_limit", "concurrency")


@pytest.mark.parametrize("option", [*OPTIONS, "breaker", "timeout"])
@pytest.mark.parametrize("wrong", [3, Retry])
def test_what_is_no_policy_is_refused(option: str, wrong: Any) -> None:
    """A number, or a class instead of an object, is named when the stack is built."""
    with pytest.raises(ConfigurationError, match=f"resilient: {option}="):
        resilient(Script("hi"), **{option: wrong})
    wrong_clock: Any = 3
    with pytest.raises(ConfigurationError, match="resilient: clock=3"):
        resilient(Script("hi"), clock=wrong_clock)


def test_a_description_numbers_the_layers_and_ends_with_the_handler() -> None:
    """Anyone can read what a call passes through."""
    model = gp.wrap(gp.wrap(Script("hi"), Timeout(5)), Deadline(60))
    first, second, last = gp.describe(model).splitlines()
    assert first.startswith(" 1  Deadline(seconds=60")
    assert second.startswith(" 2  Timeout(seconds=5")
    assert last.startswith("->  <Script")


@pytest.mark.parametrize(
    ("outer", "inner", "harm"),
    [
        (Timeout(5), Retry(on=gp.Transient), "put Timeout behind Retry"),
        (RateLimit(requests=5), Retry(on=gp.Transient), "put Retry before it"),
        (Bulkhead(5), Retry(on=gp.Transient), "not the attempts that are really made"),
        (CircuitBreaker(), Retry(on=gp.Transient), "put Retry before it"),
        (Timeout(5), RateLimit(requests=5), "put Timeout behind RateLimit"),
        (Timeout(5), AdaptiveLimit(), "put Timeout behind AdaptiveLimit"),
        (Timeout(5), CircuitBreaker(), "never open on a provider"),
        (Bulkhead(5), RateLimit(requests=5), "put RateLimit before Bulkhead"),
        (Retry(on=gp.Transient), Deadline(5), "put Deadline before Retry"),
    ],
)
def test_a_harmful_order_is_warned_of_with_its_reason(outer: Any, inner: Any, harm: str) -> None:
    """`wrap` warns, also when the two are in different wraps, and `describe` says it again."""
    with pytest.warns(gp.MisorderedStack, match=harm):
        together = gp.wrap(Script("hi"), outer, inner)
    with pytest.warns(gp.MisorderedStack, match=harm):
        gp.wrap(gp.wrap(Script("hi"), inner), outer)
    assert harm in gp.describe(together)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gp.wrap(Script("hi"), inner, outer)


async def test_many_faults_lose_nothing_and_cost_few_attempts(clock: FakeClock) -> None:
    """With 5 % 429, 2 % 500 and some resets every record is answered, with few attempts."""
    calls: dict[str, int] = {}
    began: dict[str, list[float]] = {}
    not_before: dict[str, float] = {}
    number = 0

    async def faulty(request: gp.Request) -> gp.Response:
        nonlocal number
        number += 1
        mine = number
        key = request.prompt
        assert clock.now() >= not_before.get(key, 0.0)
        calls[key] = calls.get(key, 0) + 1
        began.setdefault(key, []).append(clock.now())
        await clock.sleep(0.05)
        if mine % 20 == 0:
            not_before[key] = clock.now() + 2
            raise gp.errors.RateLimited("429", retry_after=2)
        if mine % 50 == 7:
            raise gp.errors.Overloaded("500")
        if mine % 90 == 5:
            raise gp.errors.ConnectionFailed("reset")
        return gp.Response(f"answer to {key}")

    model = resilient(faulty, clock=clock)

    async def ask(text: str) -> tuple[str, str]:
        return text, (await model(gp.Request(text))).text

    sink: gp.sinks.Collect[Any] = gp.sinks.Collect()
    dead: gp.sinks.Collect[Any] = gp.sinks.Collect()
    texts = [f"text {each}" for each in range(2000)]
    with anyio.fail_after(50):
        report = await gp.Pipeline(
            source=gp.sources.Values(texts),
            stage=gp.map(ask),
            sink=sink,
            dead_letters=dead,
            max_in_flight=256,
            clock=clock,
        ).run()
    assert dead.values == []
    assert report.written == 2000
    assert sorted(sink.values) == sorted((text, f"answer to {text}") for text in texts)
    assert sum(calls.values()) / 2000 <= 1.15


async def test_a_probe_that_fails_uses_up_no_attempt_of_its_record(clock: FakeClock) -> None:
    """One call alone lives through any number of failed probes, since the circuit counts them."""
    fails = 30

    async def ill(request: gp.Request) -> gp.Response:
        nonlocal fails
        fails -= 1
        if fails > 0:
            raise gp.errors.Overloaded("503")
        return gp.Response("well")

    model = gp.wrap(
        ill,
        Retry(on=gp.Transient, attempts=3, patience=10**6, max_server_delay=10**6, clock=clock),
        CircuitBreaker(consecutive=2, clock=clock),
    )
    assert (await model(gp.Request("hi"))).text == "well"
