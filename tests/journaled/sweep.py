"""
Run simulated worlds: ``python -m tests.journaled.sweep 100000``; ``1 --first SEED``: one again.

It prints the seed and the plan of each world with something wrong, with the smallest set of its
faults that still makes it so, and fails unless every point of `POINTS` was reached.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import attrs

from .simulated_plan import WorldPlan, draw
from .simulation import World, simulate

__all__ = ["POINTS", "plan_of", "sweep"]

POINTS = (
    *(f"death at {port}" for port in ("claim", "begin_call", "end_call", "end_item", "sink")),
    *(f"death after at {port}" for port in ("begin_call", "end_call", "end_item", "sink")),
    *("death at settle", "death after at settle", "death at provider", "death at a time"),
    *("death at freeze_group", "death after at freeze_group"),
    *("cancel at a time", "stop at a time", "clock back at a time", "clock on at a time"),
    *("401", "429", "500", "lost", "timeout", "unsent", "disk", "power cut"),
    *("power cut at a write", "power cut at a sync", "power cut while it was written"),
    *("a call of unknown outcome", "replayed", "delivered again after its end"),
    *("answer found of a lost call", "void found of a lost call"),
    *("erased before its end", "erased after its end", "an erasure that was interrupted"),
    *("gathered anew, since somebody was erased",),
    *("waited for money", "money used up", "done", "filtered", "dead"),
)
"""What some world of every sweep of 500 must come to."""


_AT_ONCE = 1000


def plan_of(seed: int) -> WorldPlan:
    """Answer the plan of the world *seed*."""
    return draw(random.Random(seed))


def story(seed: int, world: World) -> str:
    """Tell what is wrong with a world, and how to see it again."""
    plan = _smaller(world.plan)
    return (
        f"world {seed}: {'; '.join(world.found)}\n  {world.plan}\n  enough of it: {plan.faults}\n"
        f"  again: python -m tests.journaled.sweep 1 --first {seed}"
    )


def _smaller(plan: WorldPlan) -> WorldPlan:
    for fault in plan.faults:
        fewer = attrs.evolve(plan, faults=tuple(each for each in plan.faults if each != fault))
        if simulate(fewer).found:
            return _smaller(fewer)
    return plan


def sweep(seeds: Iterable[int]) -> tuple[list[str], Counter[str]]:
    """Run worlds, one in a hundred twice; answer what is wrong, and the points reached."""
    wrong, reached = [], Counter[str]()
    for seed in seeds:
        try:
            world = simulate(plan_of(seed))
        except Exception as error:
            error.add_note(f"in world {seed}: {plan_of(seed)}")
            raise
        reached += world.seen
        if world.found:
            wrong.append(story(seed, world))
        if seed % 100 == 0 and simulate(plan_of(seed)).log != world.log:
            wrong.append(f"world {seed}: run again, it went another way")
    return wrong, reached


def main() -> int:
    """Sweep over as many worlds as the command asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", type=int)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    failed, total = False, Counter[str]()
    end = given.first + given.worlds
    parts = [range(at, min(at + _AT_ONCE, end)) for at in range(given.first, end, _AT_ONCE)]
    with ProcessPoolExecutor() as processes:
        # One part alone is swept here, where a debugger reaches it.
        swept = processes.map(sweep, parts) if len(parts) > 1 else map(sweep, parts)
        for part, (wrong, reached) in zip(parts, swept, strict=True):
            told = f"worlds {part[0]} to {part[-1]}: {len(wrong)} wrong"
            print(*wrong, told, sep="\n", flush=True)
            failed, total = failed or bool(wrong), total + reached
    print(*(f"{total[point]:8} {point}" for point in sorted(total)), sep="\n")
    never = [point for point in POINTS if not total[point]] if given.worlds >= 500 else []
    print(f"{given.worlds} worlds; never reached: {never}")
    return int(failed or bool(never))


if __name__ == "__main__":
    sys.exit(main())
