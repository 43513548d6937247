"""The targets among which a balancer chooses, and what it knows of each."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

import attrs

from genai_pipeline._options import check
from genai_pipeline._wrap import name_of
from genai_pipeline.types import Handler

__all__ = ["Target", "decayed", "for_key", "targets_of", "weighted"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

_NEW_SHARE = 0.3


@attrs.define(eq=False)
class Target(Generic[I, O]):
    """One handler among several, with the figures that decide on its share."""

    name: str
    handler: Handler[I, O]
    weight: float = 1.0
    in_flight: int = 0
    latency: float | None = None
    """Smoothed seconds of a call, as of `seen`; `None` before the first."""

    seen: float = -math.inf
    rests_until: float = -math.inf

    def saw(self, seconds: float, now: float) -> None:
        """Note how long a call took."""
        if self.latency is None:
            self.latency = seconds
        else:
            self.latency += _NEW_SHARE * (seconds - self.latency)
        self.seen = now

    def failed(self, seconds: float, now: float) -> None:
        """Note a failure, lest one that fails at once look quick."""
        self.saw(max(seconds, 2 * (self.latency or seconds)), now)


def targets_of(owner: object, given: Mapping[Any, Any]) -> tuple[Target[Any, Any], ...]:
    """Read ``{handler: weight}`` or ``{name: handler}``."""
    allowed = "{handler: weight} or {name: handler}, at least one"
    check(isinstance(given, Mapping) and bool(given), owner, "targets", given, allowed)
    targets = [_target(owner, key, item, allowed) for key, item in given.items()]
    seen: dict[str, int] = {}
    for target in targets:
        seen[target.name] = seen.get(target.name, 0) + 1
        if seen[target.name] > 1:
            target.name = f"{target.name}-{seen[target.name]}"
    return tuple(targets)


def _target(owner: object, key: Any, item: Any, allowed: str) -> Target[Any, Any]:
    if isinstance(key, str):
        fine = bool(key) and callable(item) and not isinstance(item, type)
        check(fine, owner, f"targets[{key!r}]", item, allowed)
        return Target(key, cast("Handler[Any, Any]", item))
    fine = callable(key) and not isinstance(key, type)
    check(fine, owner, "targets", key, allowed)
    fine = isinstance(item, int | float) and not isinstance(item, bool) and 0 < item < math.inf
    check(fine, owner, f"targets[{name_of(key)}]", item, "a weight above 0")
    return Target(name_of(key), cast("Handler[Any, Any]", key), float(item))


def weighted(targets: Sequence[Target[I, O]], chance: float) -> Target[I, O]:
    """Choose by weight; *chance* is from 0 up to 1."""
    left = chance * sum([target.weight for target in targets])
    for target in targets:
        left -= target.weight
        if left < 0:
            return target
    return targets[-1]


def for_key(targets: Sequence[Target[I, O]], key: str) -> Target[I, O]:
    """
    Choose by *key* alone: the same everywhere, and for few keys another when one is missing.

    Weighted rendezvous hashing (Thaler and Ravishankar, 1998; weights by Schindelhauer).
    """

    def score(target: Target[I, O]) -> float:
        text = f"{len(key)} {key} {target.name}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "big")
        return -target.weight / math.log((number + 0.5) / 2**48)

    return max(targets, key=score)


def decayed(
    targets: Sequence[Target[I, O]], now: float, memory: float
) -> Callable[[Target[I, O]], float]:
    """
    Answer what tells the seconds to expect of a target, with what is in flight there.

    What was seen long ago counts less, so that a slow one is tried again; one never seen is
    tried once, and until its answer is taken for one like the others.
    """
    known = [target.latency for target in targets if target.latency is not None]
    usual = sum(known) / len(known) if known else 1.0

    def expected(target: Target[I, O]) -> float:
        if target.latency is None:
            latency = usual if target.in_flight else 0.0
        else:
            latency = target.latency * math.exp((target.seen - now) / memory)
        return latency * (target.in_flight + 1) / target.weight

    return expected
