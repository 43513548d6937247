"""The usual policies, for whoever does not give others."""

from __future__ import annotations

from typing import Any, TypeVar

from genai_pipeline.clock import Clock
from genai_pipeline.errors import Transient
from genai_pipeline.resilience._adaptive_limit import AdaptiveLimit
from genai_pipeline.resilience._breaker import CircuitBreaker
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._retry import Retry

__all__ = ["USUAL", "given_or_usual"]

B = TypeVar("B")
C = TypeVar("C")
L = TypeVar("L")
R = TypeVar("R")


class _Usual:
    def __repr__(self) -> str:
        return "<the usual>"


USUAL: Any = _Usual()
"""Stands for a policy that is not given."""


def given_or_usual(
    retry: R, rate_limit: L, concurrency: C, breaker: B, *, name: str, clock: Clock
) -> tuple[R | Retry, L | RateLimit, C | AdaptiveLimit, B | CircuitBreaker]:
    """Answer the policies that are given, and in place of each `USUAL` the usual one."""
    return (
        Retry(on=Transient, attempts=5, clock=clock) if retry is USUAL else retry,
        RateLimit(name=name, clock=clock) if rate_limit is USUAL else rate_limit,
        AdaptiveLimit(name=name, clock=clock) if concurrency is USUAL else concurrency,
        CircuitBreaker(name=name, clock=clock) if breaker is USUAL else breaker,
    )
