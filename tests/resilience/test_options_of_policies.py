"""Every option of every policy is checked when the policy is built."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import resilience
from genai_pipeline.resilience import (
    AdaptiveLimit,
    Bulkhead,
    Cache,
    Canned,
    CircuitBreaker,
    Deadline,
    Degrade,
    Fallback,
    Hedge,
    Journaled,
    LoadBalance,
    MemoryBuckets,
    MemoryCircuits,
    RateLimit,
    ResilientStream,
    Retry,
    RetryBudget,
    SharedBuckets,
    StreamTimeout,
    Throttle,
    Timeout,
    resilient,
    resilient_stream,
)
from genai_pipeline.stores import Memory, RedisQuotas


async def model(request: gp.Request) -> gp.Response:
    """Answer; here it is a handler, and in other places the wrong kind of function."""
    return gp.Response("fine")


async def other(request: gp.Request) -> gp.Response:
    """Be another handler."""
    return gp.Response("other")


QUOTAS = RedisQuotas(url="redis://127.0.0.1:1")

BUILT: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {
    AdaptiveLimit: ((), {}),
    Bulkhead: ((), {"size": 5}),
    Cache: ((), {"store": Memory()}),
    Canned: ((), {"answer": "sorry"}),
    CircuitBreaker: ((), {}),
    Deadline: ((), {"seconds": 5}),
    Degrade: ((model, other), {}),
    Fallback: ((other,), {}),
    Hedge: ((), {}),
    Journaled: ((), {"provider": "double", "model": "double"}),
    LoadBalance: ((), {"targets": {"a": model, "b": other}}),
    MemoryBuckets: ((), {}),
    MemoryCircuits: ((), {}),
    RateLimit: ((), {}),
    Retry: ((), {"on": gp.Transient}),
    RetryBudget: ((), {}),
    SharedBuckets: ((), {"server": QUOTAS, "name": "gpt"}),
    StreamTimeout: ((), {}),
    Throttle: ((), {}),
    Timeout: ((), {"seconds": 5}),
    resilient: ((model,), {}),
    resilient_stream: ((gp.testing.StreamScript(),), {}),
}
"""The least that builds each."""

NO_NUMBER: tuple[Any, ...] = ("5", True, math.nan, math.inf, -math.inf, -1, [])
NO_COUNT: tuple[Any, ...] = (*NO_NUMBER, 1.5, 2.0)
NO_TEXT: tuple[Any, ...] = ("", 5, b"bytes", [])
NO_FUNCTION: tuple[Any, ...] = (5, "text", model, [])
NO_ERRORS: tuple[Any, ...] = (5, "text", model, (), KeyboardInterrupt, (gp.Transient, int), None)
NO_OBJECT: tuple[Any, ...] = (5, "text", object)

WRONG: dict[str, tuple[Any, ...]] = {
    "bool": (0, 1, "yes", None),
    "float": (*NO_NUMBER, None),
    "float | None": NO_NUMBER,
    "int": (*NO_COUNT, None),
    "int | None": NO_COUNT,
    "str": (*NO_TEXT, None),
    "str | None": NO_TEXT,
    "Buckets": (*NO_OBJECT, None, MemoryBuckets),
    "Callable[[], float]": (*NO_FUNCTION, None),
    "Callable[[Any], bool] | None": NO_FUNCTION,
    "Callable[[Any], str | None] | None": NO_FUNCTION,
    "Callable[[LostCall], Awaitable[Found]] | None": (5, "text", []),
    "Callable[[O], bool | Awaitable[bool]] | None": (5, "text", []),
    "Causes": NO_ERRORS,
    "Clock": (*NO_OBJECT, None, gp.SystemClock),
    "Clock | None": (*NO_OBJECT, gp.SystemClock),
    "Cost | None": NO_FUNCTION,
    "CircuitBreaker | None": (*NO_OBJECT, CircuitBreaker),
    "Concurrency | None": (*NO_OBJECT, Bulkhead, Timeout(5)),
    "Counts": (*NO_FUNCTION, None),
    "Deadline | None": (*NO_OBJECT, Deadline),
    "Literal['weight', 'in_flight', 'latency', 'cost']": ("fastest", None, 5, []),
    "Mapping[Any, float] | Mapping[str, Provider]": (5, "text", None, {}),
    "Mapping[str, float] | None": (5, {}, {"a": 1}, *({"a": 1, "b": n} for n in NO_NUMBER)),
    "On": NO_ERRORS,
    "Policy | None": (5, "text", Timeout),
    "RateLimit | None": (*NO_OBJECT, RateLimit),
    "Retry | None": (*NO_OBJECT, Retry),
    "RetryBudget | None": (*NO_OBJECT, RetryBudget),
    "Sequence[CircuitListener]": (5, "text", [5], None),
    "Sequence[int] | None": (5, "12", (1,), (1, 2, 3), *((1, number) for number in NO_COUNT)),
    "SharedCircuits | None": (*NO_OBJECT, MemoryCircuits),
    "SharedQuotas": (*NO_OBJECT, None, RedisQuotas),
    "Store[Any]": (*NO_OBJECT, None, Memory),
    "StreamTimeout | None": (*NO_OBJECT, StreamTimeout),
    "StreamingProvider | Sequence[StreamingProvider] | None": (5, "text", [5]),
    "TokenCounter | None": (*NO_OBJECT, "text", [5], gp.TokenEstimator),
    "str | Callable[[Request], str]": (5, None, model, []),
    "str | Iterable[str]": (5, None, "", [""], [5]),
}
"""By the type of an option, what it must not be."""

ZERO_IS_FINE = {
    *((Bulkhead, "queue"), (AdaptiveLimit, "queue"), (RateLimit, "queue")),
    *((RateLimit, "expected_output"), (RateLimit, "cooldown")),
    *((Retry, "max_server_delay"), (Retry, "patience")),
    *((RetryBudget, "ratio"), (RetryBudget, "reserve"), (CircuitBreaker, "jitter")),
    *((Cache, "stale_for"), (Hedge, "after"), (Hedge, "min_delay")),
    *((LoadBalance, "max_rest"), (SharedBuckets, "lease")),
}

AT_MOST_ONE = {
    *((CircuitBreaker, "failure_rate"), (CircuitBreaker, "slow_rate"), (RateLimit, "share")),
    *((Hedge, "percentile"), (Hedge, "share"), (Degrade, "failure_rate"), (RetryBudget, "ratio")),
}

AT_LEAST_ONE = {(Throttle, "k"), (RetryBudget, "capacity")}

WITH = {(LoadBalance, "prices"): {"by": "cost"}}
"""What an option is of use with."""


def options_of(policy: Any) -> Iterator[tuple[str, str]]:
    """Yield the name and the type of each option."""
    for option, parameter in inspect.signature(policy).parameters.items():
        if option not in {"provider", "stream"} and parameter.kind is not parameter.VAR_POSITIONAL:
            yield option, str(parameter.annotation).replace('"', "'")


def wrong() -> Iterator[Any]:
    """Yield each policy with each of its options and each value that it must not have."""
    for policy in BUILT:
        for option, kind in options_of(policy):
            values = list(WRONG[kind])
            if kind.startswith(("int", "float")) and (policy, option) not in ZERO_IS_FINE:
                values.append(0)
            if (policy, option) in AT_MOST_ONE:
                values.append(1.01)
            if (policy, option) in AT_LEAST_ONE:
                values.append(0.99)
            for number, value in enumerate(values):
                name = f"{policy.__name__}-{option}-{number}"
                yield pytest.param(policy, option, value, id=name)


def build(policy: Any, **options: Any) -> Any:
    """Build *policy* with *options* beside the least it needs."""
    arguments, needed = BUILT[policy]
    return policy(*arguments, **{**needed, **options})


@pytest.mark.parametrize(("policy", "option", "value"), list(wrong()))
def test_a_wrong_value_is_refused_by_name(policy: Any, option: str, value: Any) -> None:
    """Whatever is wrong with an option, the error names policy, option, value and range."""
    with pytest.raises(gp.ConfigurationError) as refused:
        build(policy, **{**WITH.get((policy, option), {}), option: value})
    said, _, allowed = str(refused.value).partition("; give ")
    if option in {"per", "context_sizes"} and isinstance(value, str | list):
        assert said.startswith(f"{policy.__name__}: {option}=")
    else:
        assert said == f"{policy.__name__}: {option}={value!r}"
    assert allowed


@pytest.mark.parametrize(("policy", "option"), sorted(ZERO_IS_FINE, key=str))
def test_zero_is_fine_where_it_means_something(policy: Any, option: str) -> None:
    """No line, no wait, no share: zero is taken where it says something."""
    build(policy, **{option: 0})


@pytest.mark.parametrize(("policy", "option"), sorted(AT_MOST_ONE | AT_LEAST_ONE, key=str))
def test_the_whole_is_a_share_too(policy: Any, option: str) -> None:
    """The end of each range belongs to it."""
    build(policy, **{option: 1})


def test_no_policy_escapes() -> None:
    """Whatever of the public names is called, or waits, is among those tried here."""
    public = [getattr(resilience, name) for name in resilience.__all__]
    policies = {
        thing
        for thing in public
        if isinstance(thing, type)
        and not getattr(thing, "_is_protocol", False)
        and ("__call__" in vars(thing) or "clock" in inspect.signature(thing).parameters)
    }
    made_by_functions = {ResilientStream}
    assert policies - made_by_functions | {resilient, resilient_stream, StreamTimeout} == set(BUILT)
