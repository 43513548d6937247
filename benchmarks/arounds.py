"""
The same policies by several libraries: each function here puts one around a handler.

Called inside the event loop, since some are bound to the loop they are made in. What is not
installed with the library is imported where it is used.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pybreaker
import tenacity

import genai_pipeline as gp
from benchmarks.costs import Call

Around = Callable[[Call], Call]

PLENTY = 10**6
"""Calls a minute: no limiter here lets anyone wait."""

SECONDS = 120.0
ATTEMPTS = 3


def nothing(handler: Call) -> Call:
    """Call the handler as it is."""
    return handler


# Retry: what is Transient, at once.


def our_retry(handler: Call) -> Call:
    """Without a budget, since in the benchmark every call fails once; 0 is no wait."""
    retry = gp.Retry(on=gp.Transient, attempts=ATTEMPTS, budget=None, random=lambda: 0.0)
    return gp.wrap(handler, retry)


def tenacity_retry(handler: Call) -> Call:
    """As its decorator."""
    retry = tenacity.retry(
        retry=tenacity.retry_if_exception_type(gp.Transient),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_none(),
        reraise=True,
    )
    return retry(_function(handler))


def stamina_retry(handler: Call) -> Call:
    """As its decorator, without its hooks: ours has no listeners either."""
    import stamina.instrumentation  # noqa: PLC0415

    stamina.instrumentation.set_on_retry_hooks([])
    retry = stamina.retry(
        on=gp.Transient, attempts=ATTEMPTS, wait_initial=0, wait_jitter=0, wait_max=0
    )
    return retry(_function(handler))


def hyx_retry(handler: Call) -> Call:
    """As its decorator."""
    from hyx.retry import retry  # noqa: PLC0415

    around: Around = retry(on=gp.Transient, attempts=ATTEMPTS, backoff=0.0)
    return around(handler)


# Circuit breaker.


def our_breaker(handler: Call) -> Call:
    """As a middleware."""
    return gp.wrap(handler, gp.CircuitBreaker())


def pybreaker_breaker(handler: Call) -> Call:
    """As its context manager: what else it has for coroutines needs tornado."""
    breaker = pybreaker.CircuitBreaker()

    async def call(value: object) -> object:
        with breaker.calling():
            return await handler(value)

    return call


def purgatory_breaker(handler: Call) -> Call:
    """As its context manager."""
    from purgatory import AsyncCircuitBreakerFactory  # noqa: PLC0415

    breakers = AsyncCircuitBreakerFactory()

    async def call(value: object) -> object:
        async with await breakers.get_breaker("model"):
            return await handler(value)

    return call


def hyx_breaker(handler: Call) -> Call:
    """As its context manager."""
    from hyx.circuitbreaker import consecutive_breaker  # noqa: PLC0415

    breaker = consecutive_breaker()

    async def call(value: object) -> object:
        async with breaker:
            return await handler(value)

    return call


# Rate limit, by requests.


def our_rate_limit(handler: Call) -> Call:
    """As a middleware."""
    return gp.wrap(handler, gp.RateLimit(requests=PLENTY))


def aiolimiter_rate_limit(handler: Call) -> Call:
    """As its context manager."""
    from aiolimiter import AsyncLimiter  # noqa: PLC0415

    limiter = AsyncLimiter(PLENTY, 60)

    async def call(value: object) -> object:
        async with limiter:
            return await handler(value)

    return call


# Timeout.


def our_timeout(handler: Call) -> Call:
    """As a middleware."""
    return gp.wrap(handler, gp.Timeout(SECONDS))


def anyio_timeout(handler: Call) -> Call:
    """By ``fail_after``."""

    async def call(value: object) -> object:
        with anyio.fail_after(SECONDS):
            return await handler(value)

    return call


def asyncio_timeout(handler: Call) -> Call:
    """By ``asyncio.timeout``."""

    async def call(value: object) -> object:
        async with asyncio.timeout(SECONDS):
            return await handler(value)

    return call


# All together.


def our_stack(handler: Call) -> Call:
    """With its defaults but for the retry, which is as in the others here."""
    retry = gp.Retry(on=gp.Transient, attempts=ATTEMPTS, budget=None, random=lambda: 0.0)
    return gp.resilient(handler, retry=retry)  # type: ignore[arg-type]


def stack_by_hand(handler: Call) -> Call:
    """Retry by stamina, limit by aiolimiter, semaphore, breaker by purgatory, asyncio's timeout."""
    slots = asyncio.Semaphore(256)

    def in_slot(inner: Call) -> Call:
        async def call(value: object) -> object:
            async with slots:
                return await inner(value)

        return call

    return stamina_retry(
        aiolimiter_rate_limit(in_slot(purgatory_breaker(asyncio_timeout(handler))))
    )


def _litellm(handler: Call) -> Any:
    """Answer litellm with a provider of our own, ``local``, which needs no network."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network
    litellm: Any = importlib.import_module("litellm")
    message = {"role": "assistant", "content": "yes"}
    answer = litellm.ModelResponse(
        choices=[{"message": message, "finish_reason": "stop", "index": 0}],
        usage={"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13},
    )

    async def acompletion(*_: object, **__: object) -> object:
        await handler(None)
        return answer

    local = type("Local", (litellm.CustomLLM,), {"acompletion": staticmethod(acompletion)})()
    litellm.custom_provider_map = [{"provider": "local", "custom_handler": local}]
    litellm.suppress_debug_info = True
    return litellm


def litellm_alone(handler: Call) -> Call:
    """Make one call without retries or router."""
    litellm = _litellm(handler)
    messages = [{"role": "user", "content": "Is it?"}]

    async def call(value: object) -> object:
        return await litellm.acompletion(model="local/model", messages=messages)

    return call


def litellm_router(handler: Call) -> Call:
    """Make the call by its router, with retries, cooldowns, a timeout and a limit."""
    litellm = _litellm(handler)
    options = {"model": "local/model", "api_key": "none", "rpm": PLENTY}
    router = litellm.Router(
        model_list=[{"model_name": "model", "litellm_params": options}],
        num_retries=ATTEMPTS - 1,
        retry_after=0,
        timeout=SECONDS,
    )
    messages = [{"role": "user", "content": "Is it?"}]

    async def call(value: object) -> object:
        return await router.acompletion(model="model", messages=messages)

    return call


def _function(handler: Call) -> Callable[[object], Awaitable[object]]:
    async def call(value: object) -> object:
        return await handler(value)

    return call
