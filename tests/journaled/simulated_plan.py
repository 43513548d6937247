"""Worlds as data: what is run, and which faults meet it when."""

from __future__ import annotations

import random

import attrs

__all__ = ["SHAPES", "Fault", "WorldPlan", "draw"]

SHAPES = ("one", "three", "split", "sift", "gathered", "gathered twice")

PROVIDER = ("429", "500", "401", "timeout", "lost", "unsent")
GROUPS = ("freeze_group", "freeze_group", "group_of")
JOURNAL = ("begin_run", "claim", "begin_call", "end_call", "end_item", *GROUPS)
FIND = ("unknown", "500", "death")
PORTS = (*JOURNAL[:5], *JOURNAL[2:5], "sink", "settle", "provider", "provider", "provider")
TIMED = ("death", "cancel", "stop", "clock back", "clock on")


@attrs.frozen
class Fault:
    """What happens at the *nth* use of a port, or, of the port ``time``, at that second."""

    port: str
    nth: int
    kind: str


@attrs.frozen
class WorldPlan:
    """One world; the same plan makes the same world."""

    seed: int
    """Decides on schedules, latencies, and the order in which the queue delivers."""

    shape: str
    records: int
    bad: frozenset[int]
    """Records that the stage cannot bear."""

    in_file: bool
    """Whether the journal is a file, on a disk in memory, or in memory itself."""

    max_in_flight: int
    retry: bool
    cap: int | None
    """Nano-dollars that may be spent at first; more is granted when they are used up."""

    faults: tuple[Fault, ...]

    reconciles: bool = False
    """Whether the model is asked for calls whose answers were lost."""

    subjects: int = 0
    """Whose data the records are, in turn; 0 for nobody's."""

    erasures: tuple[tuple[int, int], ...] = ()
    """Before the nth process, or when all has ended, which subject is erased."""

    @property
    def gathers(self) -> bool:
        """Whether several records become one."""
        return self.shape.startswith("gathered")


def draw(source: random.Random) -> WorldPlan:
    """Draw a world; from a Random that Hypothesis made, it shrinks."""
    shape = source.choice(SHAPES)
    records = source.randint(1, 5)
    in_file = source.random() < 0.5
    faults = tuple(_fault(source, shape, in_file) for _ in range(source.randint(0, 4)))
    plan = WorldPlan(
        seed=source.randrange(1 << 32),
        shape=shape,
        records=records,
        bad=frozenset(
            n for n in range(records) if "gathered" not in shape and source.random() < 0.08
        ),
        in_file=in_file,
        max_in_flight=source.randint(1, 4),
        retry=source.random() < 0.7,
        cap=source.randint(100_000, 1_000_000) if source.random() < 0.6 else None,
        faults=faults,
        reconciles=source.random() < 0.3,
    )
    return plan if source.random() < 0.7 else _with_subjects(plan, source)


def _with_subjects(plan: WorldPlan, source: random.Random) -> WorldPlan:
    subjects = source.randint(1, 3)
    erasures = tuple(
        (source.randint(0, 3), source.randrange(subjects)) for _ in range(source.randint(0, 2))
    )
    kinds = ("death", "death after", "disk", *(("power cut",) * 3 if plan.in_file else ()))
    faults = plan.faults
    if erasures and source.random() < 0.5:
        faults = (*faults, Fault("erase", source.randint(1, 2), source.choice(kinds)))
    return attrs.evolve(plan, subjects=subjects, erasures=erasures, faults=faults)


def _fault(source: random.Random, shape: str, in_file: bool) -> Fault:
    if source.random() < 0.05:
        return Fault("find", source.randint(1, 2), source.choice(FIND))
    if source.random() < 0.25:
        return Fault("time", source.randint(0, 8), source.choice(TIMED))
    port = source.choice((*PORTS, *GROUPS, *GROUPS) if "gathered" in shape else PORTS)
    kinds = ["death", "death after"]
    if port == "provider":
        kinds = [*PROVIDER, "death"]
    elif port in JOURNAL:
        kinds += ["disk", "power cut", "power cut"] if in_file else ["disk"]
    return Fault(port, source.randint(1, 3 if port in GROUPS else 8), source.choice(kinds))
