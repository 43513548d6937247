"""Which deadlines bind a call: the caller's, but not the mere end of the run."""

from __future__ import annotations

import math

from genai_pipeline.walk import current_deadline, current_walk

__all__ = ["binding_deadline", "is_end_of_run"]


def is_end_of_run(deadline: float) -> bool:
    """
    Tell whether *deadline* is no earlier than the end of the run.

    When a run's time is up it hands back by itself what is in flight. A policy that raised an
    error for it, perhaps a moment too early, would make a failure of what is none.
    """
    walk = current_walk()
    return walk is not None and deadline >= walk.run.deadline


def binding_deadline() -> float:
    """Answer when a call made here must be over; ``math.inf`` without a deadline."""
    deadline = current_deadline()
    return math.inf if is_end_of_run(deadline) else deadline
