"""What each policy, and the usual stack of them, costs a call that needs none of their help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import genai_pipeline as gp
from benchmarks.costs import ANSWER, Call, added, added_in_pipeline, model
from benchmarks.harness import Goal, Table, take_turns

_PLENTY = 10**9
_TELLING = gp.Response(
    ANSWER.text,
    usage=ANSWER.usage,
    attributes={
        "rate_limits": {
            f"{what}-{of}": 1.0 if what == "reset" else float(_PLENTY)
            for of in ("requests", "tokens")
            for what in ("limit", "remaining", "reset")
        }
    },
)


async def passing(
    request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]
) -> gp.Response:
    """Pass on: the least that a middleware does."""
    return await call_next(request)


async def telling(request: gp.Request) -> gp.Response:
    """Answer at once, and tell the limits, as a provider does by its headers."""
    return _TELLING


async def other(request: gp.Request) -> gp.Response:
    """Answer at once, elsewhere."""
    return ANSWER


def _policies() -> dict[str, Call]:
    """Answer `model` behind each policy, one at a time."""
    breaker = gp.CircuitBreaker()
    return {
        "passes on": gp.wrap(model, passing),
        "Retry": gp.wrap(model, gp.Retry(on=gp.Transient)),
        "Timeout": gp.wrap(model, gp.Timeout(60)),
        "Deadline": gp.wrap(model, gp.Deadline(60)),
        "CircuitBreaker": gp.wrap(model, breaker),
        "CircuitBreaker.check_first": gp.wrap(model, breaker.check_first),
        "Bulkhead": gp.wrap(model, gp.Bulkhead(10)),
        "AdaptiveLimit": gp.wrap(model, gp.AdaptiveLimit()),
        "Throttle": gp.wrap(model, gp.Throttle()),
        "RateLimit, nothing known": gp.wrap(model, gp.RateLimit()),
        "RateLimit, requests": gp.wrap(model, gp.RateLimit(requests=_PLENTY)),
        "RateLimit, tokens too": gp.wrap(model, gp.RateLimit(requests=_PLENTY, tokens=_PLENTY)),
        "Fallback": gp.wrap(model, gp.Fallback(other)),
        "LoadBalance": gp.LoadBalance({"here": model, "there": other}),
        "Degrade": gp.Degrade(("full", model), ("small", other)),
    }


def _busy() -> dict[str, Call]:
    """Answer what does more than watch: it makes tasks, reads and writes a store, or reads text."""
    return {
        "Hedge": gp.wrap(model, gp.Hedge(after=60)),
        "Cache, a hit": gp.wrap(model, gp.Cache(store=gp.stores.Memory(), scope="a")),
        # What is kept has expired at once, so that every call is made, and kept, anew.
        "Cache, a miss": gp.wrap(model, gp.Cache(store=gp.stores.Memory(), scope="a", ttl=1e-9)),
        "RateLimit, told by each answer": gp.wrap(telling, gp.RateLimit()),
    }


def _stacks() -> dict[str, Call]:
    return {
        "passes on": gp.wrap(model, passing),
        "gp.resilient": gp.resilient(model),
        "gp.resilient, told by each answer": gp.resilient(telling),
        "gp.resilient, a deadline too": gp.resilient(model, deadline=gp.Deadline(300)),
    }


def _equal(count: int) -> list[gp.Request]:
    """Answer equal requests, each an object of its own, as a source would lead to."""
    text = "Classify this review as good or bad: it did what it promised, and then it broke. " * 5
    return [
        gp.Request(text, system="Answer with one word.", max_output_tokens=5, temperature=0)
        for _ in range(count)
    ]


def _everywhere(
    cases: dict[str, Call], values: Sequence[gp.Request]
) -> dict[str, Callable[[], float]]:
    return {
        f"{name}{where}": partial(measured, call, values)
        for name, call in cases.items()
        for where, measured in (("", added), (", in a pipeline", added_in_pipeline))
    }


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure each policy alone, and the usual ones together, outside a pipeline and inside."""
    count, repeats = (100, 1) if smoke else (20_000, 7)
    unit = "µs of CPU added to a call"
    policies, stacks = _policies(), _stacks()
    few = _equal(count // 10)
    plain = _equal(count)
    on_trio = {
        "gp.resilient, on trio": partial(added, stacks["gp.resilient"], plain, backend="trio")
    }
    return [
        Table(
            title="Policies that only watch: a call that needs none of their help",
            unit=unit,
            runs=take_turns(_everywhere(policies, plain), repeats),
            baseline="passes on",
            goals=tuple(Goal(name, at_most=1) for name in policies),
        ),
        Table(
            title="Policies that do something for each call",
            unit=unit,
            runs=take_turns(_everywhere(_busy(), few), repeats),
            baseline="Cache, a hit",
        ),
        Table(
            title="The whole stack: retry, check, rate limit, adaptive limit, breaker, timeout",
            unit=unit,
            runs=take_turns(_everywhere(stacks, plain) | on_trio, repeats),
            baseline="passes on",
            goals=tuple(
                Goal(name, at_most=60)
                for name in ("gp.resilient", "gp.resilient, in a pipeline", *on_trio)
            ),
        ),
    ]
