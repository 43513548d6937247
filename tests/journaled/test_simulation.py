"""Thousands of worlds with faults, in virtual time: what a journal promises holds in each."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .simulated_plan import Fault, WorldPlan, draw
from .simulation import simulate
from .sweep import POINTS, sweep

WORLDS, AT_ONCE = 2000, 500


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
@pytest.mark.thorough
def test_what_a_journal_promises_holds_in_every_world(first: int) -> None:
    """Whatever dies, fails, stops or jumps, nothing is lost, paid for twice or over the cap."""
    wrong, reached = sweep(range(first, first + AT_ONCE))
    assert not wrong, "\n".join(wrong)
    assert [point for point in POINTS if not reached[point]] == []


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_fault_plan_that_breaks_a_promise_is_found_and_made_small(source: random.Random) -> None:
    """Property: no plan that Hypothesis can think of breaks a promise."""
    plan = draw(source)
    assert simulate(plan).found == [], plan


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("nth", [2, 3])
def test_members_are_not_blamed_for_what_failed_their_group(nth: int, in_file: bool) -> None:
    """A group failed for a passing reason, the process died: its members are no less innocent."""
    faults = (Fault("provider", 1, "500"), Fault("end_item", nth, "death"))
    for seed in range(5):
        plan = _two_records("gathered", seed, faults, in_file=in_file)
        assert simulate(plan).found == [], plan


def test_a_power_cut_meets_the_process_that_runs_then() -> None:
    """The next process is not without power for a cut that was due on the disk of a killed one."""
    faults = (Fault("settle", 1, "death after"), Fault("end_item", 4, "power cut"))
    plan = _two_records("gathered twice", 2869805369, faults, in_file=True, retry=True)
    assert simulate(plan).found == [], plan


def _two_records(
    shape: str, seed: int, faults: tuple[Fault, ...], *, in_file: bool, retry: bool = False
) -> WorldPlan:
    return WorldPlan(
        seed=seed,
        shape=shape,
        records=2,
        bad=frozenset(),
        in_file=in_file,
        max_in_flight=4,
        retry=retry,
        cap=None,
        faults=faults,
    )
