"""What becomes of a record when it is taken up, ends, is left behind, or is redriven."""

from __future__ import annotations

import attrs

from genai_pipeline._journal import ItemEnd, ItemState

__all__ = ["ENDED", "FINISHED", "Life", "ended", "left_behind", "put_back", "taken_up"]

ENDED: tuple[ItemState, ...] = ("done", "filtered", "dead")
"""States in which nobody need look at a record again."""

FINISHED: tuple[ItemState, ...] = ("done", "filtered")
"""States that hold under one fingerprint only."""


@attrs.frozen
class Life:
    """What decides on a record's way."""

    state: ItemState = "ready"
    run: int = 0
    """The run that took it up last."""

    fingerprint: str = ""
    """Of the pipeline it ended under."""

    resumes: bool = False
    """Whether a later run takes it up by itself although it is held."""

    attempts: int = 0
    environment: int = 0
    crashes: int = 0


def taken_up(life: Life, run: int, fingerprint: str) -> Life | None:
    """
    Answer *life* carried for *run* under *fingerprint*; `None` when it is not to be taken up.

    Finished under the same fingerprint it stays finished, dead it stays dead; held it waits for
    a person, or for a later run; carried by another worker it is that worker's.
    """
    free = (
        life.state == "ready"
        or (life.state in FINISHED and life.fingerprint != fingerprint)
        or (life.state == "held" and life.resumes and life.run != run)
    )
    return attrs.evolve(life, state="claimed", run=run) if free else None


def ended(life: Life, end: ItemEnd) -> Life | None:
    """Answer *life* after *end*; `None` when nobody carried it: it keeps the end it has."""
    if life.state != "claimed":
        return None
    return Life(
        state=end.state,
        run=life.run,
        fingerprint=end.fingerprint,
        resumes=end.resumes,
        attempts=life.attempts + end.own_fault,
        environment=life.environment + end.environment_fault,
        crashes=life.crashes,
    )


def left_behind(life: Life, *, died: bool) -> Life:
    """Answer a carried record whose owner is gone: ready, a suspect if the owner *died*."""
    return attrs.evolve(life, state="ready", crashes=life.crashes + died)


def put_back(life: Life) -> Life:
    """Answer a record that is to be worked on again, with all its counts."""
    return attrs.evolve(life, state="ready", resumes=False)
