"""`resilient`: the usual policies around a provider, in the order that works."""

from __future__ import annotations

from typing import Any, TypeAlias

from genai_pipeline import _options
from genai_pipeline._lifespan import every_part
from genai_pipeline._options import apply, check
from genai_pipeline._wrap import Wrapped, name_of, wrap
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.messages import Request, Response
from genai_pipeline.resilience._breaker import CircuitBreaker
from genai_pipeline.resilience._journaled import Journaled, records_calls
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._timeout import Timeout
from genai_pipeline.resilience._usual import USUAL, given_or_usual
from genai_pipeline.types import Middleware, Provider

__all__ = ["resilient"]

Policy: TypeAlias = Middleware[Request, Response]


def resilient(
    provider: Provider,
    *,
    deadline: Policy | None = None,
    cache: Policy | None = None,
    fallback: Policy | None = None,
    hedge: Policy | None = None,
    retry: Policy | None = USUAL,
    rate_limit: Policy | None = USUAL,
    concurrency: Policy | None = USUAL,
    breaker: Policy | None = USUAL,
    timeout: Policy | None = USUAL,
    clock: Clock | None = None,
) -> Wrapped[Request, Response]:
    """
    Put the usual policies around *provider*, in the order in which they work together.

    A call passes, from the outside in: *deadline*, *cache*, *fallback*, *hedge*, *retry* (five
    attempts for what is `Transient`, with a budget of a fifth of the traffic), *rate_limit* (what
    the provider tells of its quota), *concurrency* (as many calls at once as the provider bears),
    *breaker* (which also refuses a call before it queues), *timeout* (120 s for an attempt). A call
    that the provider's wish to slow down met in the queue for a slot waits once more. A provider
    that does not record its calls itself has `Journaled` around it, the innermost.

    Give a policy by its keyword to have it instead of the usual one, or `None` to go without.
    The first four are left out unless given. Policies that are shared, such as a `RateLimit` for
    the key that several models use, are given to each. `describe` shows what came of it. *clock*
    is for the policies made here.
    """
    apply(_options.optional(_options.clock), "resilient", "clock", clock)
    time = SystemClock() if clock is None else clock
    name = name_of(provider)
    told = getattr(provider, "model", None)
    model = told if isinstance(told, str) else ""
    retry, rate_limit, concurrency, breaker = given_or_usual(
        retry, rate_limit, concurrency, breaker, name=name, clock=time
    )
    if timeout is USUAL:
        timeout = Timeout(120, clock=time)
    _check(deadline=deadline, cache=cache, fallback=fallback, hedge=hedge, retry=retry)
    _check(rate_limit=rate_limit, concurrency=concurrency, breaker=breaker, timeout=timeout)
    first: Policy | None = breaker.check_first if isinstance(breaker, CircuitBreaker) else None
    again: Policy | None = rate_limit.check_again if isinstance(rate_limit, RateLimit) else None
    order = (
        *(deadline, cache, fallback, hedge, retry),
        *(first, rate_limit, concurrency, again, breaker, timeout),
        None if records_calls(provider) else _journaled(provider, name, model or name),
    )
    return wrap(provider, *(policy for policy in order if policy is not None))


def _journaled(provider: Provider, name: str, model: str) -> Journaled:
    found: Any = None
    for part in every_part(provider):
        find = getattr(part, "find", None)
        if found is None and callable(find):
            found = find
    return Journaled(provider=name, model=model, find=found)


def _check(**policies: Policy | None) -> None:
    for option, policy in policies.items():
        fine = policy is None or (callable(policy) and not isinstance(policy, type))
        check(fine, "resilient", option, policy, "a policy, no class, or None for none")
