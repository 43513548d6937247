"""What can go wrong with a call, and which of it does: `Fault` and the seeded dice."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import attrs

from genai_pipeline._options import check, one_of

__all__ = ["KINDS", "Dice", "Fault", "Kind", "Range", "check_rates"]

Kind: TypeAlias = Literal[
    "transient", "rate_limited", "rejected", "permanent", "hang", "lost", "duplicate"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

Range: TypeAlias = tuple[float, float]
"""The least and the most, in seconds."""


@attrs.frozen
class Fault:
    """What `Chaos` does to one call."""

    kind: Kind | None = attrs.field(default=None, validator=one_of(None, *KINDS))
    """
    ``transient``, ``rate_limited``, ``rejected`` and ``permanent`` raise before the call is
    made; ``hang`` waits until it is cancelled; ``lost`` makes the call and then raises
    `ConnectionFailed`; ``duplicate`` makes it twice. `None` lets it pass.
    """

    latency: float = attrs.field(default=0.0, kw_only=True)
    """Seconds to wait first."""

    slow: bool = attrs.field(default=False, kw_only=True)
    """Whether the latency is far above the usual, and counted as ``slow``."""

    retry_after: float | None = attrs.field(default=None, kw_only=True)
    """What the error says about when to try again."""


class Dice:
    """Decides the fault of each call by a seed and the number of the call."""

    def __init__(
        self,
        seed: int,
        *,
        rates: Mapping[Kind, float],
        slow: float,
        slowness: Range,
        latency: Range,
        retry_after: Range | None,
    ) -> None:
        check(isinstance(seed, int), "Chaos", "seed", seed, "a whole number")
        check_rates(rates, "Chaos")
        check_rates({"slow": slow}, "Chaos")
        total = math.fsum(rates.values())
        chosen = ", ".join(f"{kind}={rate}" for kind, rate in rates.items() if rate)
        fine = total <= 1 or math.isclose(total, 1)
        check(fine, "Chaos", "rates", chosen, "rates that are at most 1 together")
        ranges = {"slowness": slowness, "latency": latency, "retry_after": retry_after}
        for name, ends in ranges.items():
            check(ends is None or _is_range(ends), "Chaos", name, ends, "(least, most) seconds")
        self._seed = seed
        self._rates = tuple(rates.items())
        self._slow = slow
        self._slowness = slowness
        self._latency = latency
        self._retry_after = retry_after

    def __call__(self, number: int) -> Fault:
        # Seeded by a text, hence by its hash: neighbouring numbers give unrelated draws.
        chance = random.Random(f"{self._seed}/{number}")  # noqa: S311 - no secret
        kind = self._kind(chance.random())
        latency = chance.uniform(*self._latency)
        slow = chance.random() < self._slow
        latency += chance.uniform(*self._slowness) * slow
        told = chance.random() < 0.5
        retry_after = chance.uniform(*(self._retry_after or (0, 0)))
        tells = kind in ("rate_limited", "rejected") or (kind == "transient" and told)
        return Fault(
            kind,
            latency=latency,
            slow=slow,
            retry_after=retry_after if tells and self._retry_after else None,
        )

    def _kind(self, draw: float) -> Kind | None:
        for kind, rate in self._rates:
            if draw < rate:
                return kind
            draw -= rate
        return None


def check_rates(rates: Mapping[Any, float], owner: str) -> None:
    """Raise `ConfigurationError` unless each rate is from 0 to 1."""
    for name, rate in rates.items():
        number = isinstance(rate, int | float) and not isinstance(rate, bool)
        check(number and 0 <= rate <= 1, owner, name, rate, "a share of calls, 0 to 1")


def _is_range(ends: object) -> bool:
    if not isinstance(ends, tuple) or len(ends) != 2:
        return False
    return all(isinstance(end, int | float) for end in ends) and 0 <= ends[0] <= ends[1] < math.inf
