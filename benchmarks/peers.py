"""The same work by other libraries: retry, breaker, rate limit, timeout, and all together."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from functools import partial

import anyio

import genai_pipeline as gp
from benchmarks import arounds
from benchmarks.arounds import Around
from benchmarks.costs import ANSWER, Call, model, timed
from benchmarks.harness import Table, take_turns
from genai_pipeline.errors import Overloaded

Make = Callable[[], Call]

_OURS = "genai_pipeline"
_DISTRIBUTIONS = {"a stack by hand": ("stamina", "aiolimiter", "purgatory")}

_RETRIES: dict[str, Around] = {
    _OURS: arounds.our_retry,
    "tenacity": arounds.tenacity_retry,
    "stamina": arounds.stamina_retry,
    "hyx": arounds.hyx_retry,
}
_BREAKERS: dict[str, Around] = {
    _OURS: arounds.our_breaker,
    "pybreaker": arounds.pybreaker_breaker,
    "purgatory": arounds.purgatory_breaker,
    "hyx": arounds.hyx_breaker,
}
_RATE_LIMITS: dict[str, Around] = {
    _OURS: arounds.our_rate_limit,
    "aiolimiter": arounds.aiolimiter_rate_limit,
}
_TIMEOUTS: dict[str, Around] = {
    _OURS: arounds.our_timeout,
    "anyio.fail_after": arounds.anyio_timeout,
    "asyncio.timeout": arounds.asyncio_timeout,
}
_STACKS: dict[str, Around] = {
    _OURS: arounds.our_stack,
    "a stack by hand": arounds.stack_by_hand,
    "litellm": arounds.litellm_alone,
    "litellm.Router": arounds.litellm_router,
}
# litellm waits between attempts whatever it is told, for minutes in all.
_RETRYING_STACKS = {name: _STACKS[name] for name in (_OURS, "a stack by hand")}


class Faltering:
    """Answers at once, but first fails for every so many calls: each, or one in *every*."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._made = 0

    async def __call__(self, request: object) -> gp.Response:
        self._made += 1
        if self._made % (self._every + 1) == 0:
            raise Overloaded("try again")
        return ANSWER


def measure(*, smoke: bool = False) -> list[Table]:
    """Measure each around a model that answers at once, and retries around one that falters."""
    logging.getLogger("LiteLLM Router").setLevel(logging.CRITICAL)

    def table(title: str, cases: dict[str, Around], handler: Make, count: int) -> Table:
        return _table(title, cases, handler, 20 if smoke else count, 1 if smoke else 7)

    return [
        table("a retry, nothing fails", _RETRIES, _well, 5000),
        table("a retry, each call fails once", _RETRIES, partial(Faltering, 1), 2000),
        table("a circuit breaker, nothing fails", _BREAKERS, _well, 5000),
        table("a rate limit, nobody waits", _RATE_LIMITS, _well, 5000),
        table("a timeout, nothing is late", _TIMEOUTS, _well, 5000),
        table("all together, nothing fails", _STACKS, _well, 500),
        table("all together, one call in ten fails once", _RETRYING_STACKS, _one_in_ten, 500),
    ]


def _well() -> Call:
    return model


def _one_in_ten() -> Call:
    return Faltering(10)


def _table(title: str, cases: dict[str, Around], handler: Make, count: int, repeats: int) -> Table:
    there = {name: around for name, around in cases.items() if _is_installed(name)}
    measured = {
        name: partial(_microseconds, around, handler, count) for name, around in there.items()
    }
    return Table(
        title=f"Beside others: {title}",
        unit="µs of CPU for a call",
        runs=take_turns(measured, repeats),
        baseline=_OURS,
        notes=tuple(f"{name}: not installed, not measured" for name in cases if name not in there),
    )


def _is_installed(name: str) -> bool:
    top = name.partition(".")[0]
    names = _DISTRIBUTIONS.get(name, () if top == _OURS else (top,))
    return all(importlib.util.find_spec(each) is not None for each in names)


def _microseconds(around: Around, handler: Make, count: int) -> float:
    request = gp.Request("Is it?")

    async def run() -> float:
        return await timed(around(handler()), [request] * count)

    return anyio.run(run)
