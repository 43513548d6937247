"""Each order of policies that is known to do harm is warned of, and no other."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline._stack import _HARM
from genai_pipeline.testing import Script

MAKE: dict[str, Any] = {
    "AdaptiveLimit": gp.AdaptiveLimit,
    "Bulkhead": lambda: gp.Bulkhead(5),
    "Cache": lambda: gp.Cache(store=gp.stores.Memory()),
    "CircuitBreaker": gp.CircuitBreaker,
    "Deadline": lambda: gp.Deadline(60),
    "Degrade": lambda: gp.Degrade(("a", Script("a")), ("b", Script("b"))),
    "Fallback": lambda: gp.Fallback(Script("other")),
    "Hedge": gp.Hedge,
    "LoadBalance": lambda: gp.LoadBalance({"a": Script("a")}),
    "RateLimit": gp.RateLimit,
    "Retry": lambda: gp.Retry(on=gp.Transient),
    "Throttle": gp.Throttle,
    "Timeout": lambda: gp.Timeout(5),
}

GOOD = (
    *("Deadline", "Cache", "Fallback", "Hedge", "Retry", "Throttle"),
    *("RateLimit", "AdaptiveLimit", "Bulkhead", "CircuitBreaker", "Timeout"),
)
"""The order that works, of all policies."""


def stack(*names: str) -> Any:
    """Put policies of these names around each other, outermost first; a route is a handler."""
    *around, inside = (MAKE[name]() for name in names)
    if names[-1] in {"LoadBalance", "Degrade"}:
        return gp.wrap(inside, *around)
    return gp.wrap(Script("hi"), *around, inside)


@pytest.mark.parametrize(("outer", "inner"), sorted(_HARM))
def test_a_harmful_order_is_warned_of(outer: str, inner: str) -> None:
    """The warning names both, and says what to put where; `describe` says the same."""
    with pytest.warns(gp.MisorderedStack) as caught:
        model = stack(outer, inner)
    (warning,) = caught
    said = str(warning.message)
    assert said.startswith(f"{inner} behind {outer}: ")
    assert "{" not in said
    assert f" !  {said}" in gp.describe(model)


def test_what_is_between_hides_nothing() -> None:
    """Two in a harmful order are found with another between them."""
    with pytest.warns(gp.MisorderedStack, match="Cache behind Retry"):
        stack("Retry", "Fallback", "Cache")


@pytest.mark.parametrize("left_out", range(len(GOOD)))
def test_the_order_that_works_is_not_warned_of(left_out: int) -> None:
    """All policies in the order of the documentation, or any without one of them, are fine."""
    names = [name for place, name in enumerate(GOOD) if place != left_out]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack(*names)


def test_no_two_are_harmful_both_ways() -> None:
    """For any two policies at least one order is fine, so that a warning can be obeyed."""
    for one, other in itertools.combinations(MAKE, 2):
        assert not {(one, other), (other, one)} <= set(_HARM)


def test_a_timeout_of_all_attempts_is_fine_beside_one_of_each() -> None:
    """A timeout outside of the retry does harm only where no attempt has its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack("Timeout", "Retry", "Timeout")
    with pytest.warns(gp.MisorderedStack, match="Retry behind CircuitBreaker"):
        stack("Timeout", "CircuitBreaker", "Retry", "Timeout")
    with pytest.warns(gp.MisorderedStack, match="RateLimit behind Timeout"):
        stack("Timeout", "Timeout", "RateLimit")
