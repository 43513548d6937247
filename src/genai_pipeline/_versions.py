"""What a stage's work is known by: its own version, and that of everything in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from genai_pipeline._canonical import digest
from genai_pipeline._lifespan import every_part
from genai_pipeline._options import check
from genai_pipeline._paid import OnUnknown, StageMark

__all__ = ["check_mark", "fingerprint_of", "mark_of"]

_TELL = ("version", "model", "fingerprint")
_POLICIES: tuple[OnUnknown, ...] = ("retry", "reconcile", "hold")
"""The most careful last."""


def mark_of(name: str, stage: object) -> StageMark:
    """
    Answer what the journal knows the calls of *stage* by.

    Its version is made of what it, and whatever it is made of, tells as ``version``, ``model``
    or ``fingerprint``, if that is text. What it does about unknown calls is what the most careful
    part of it does.
    """
    told: list[Any] = []
    on_unknown: OnUnknown = "retry"
    for part in every_part(stage):
        for option in _TELL:
            value = getattr(part, option, None)
            if isinstance(value, str):
                told.append([option, value])
        told_policy = getattr(part, "on_unknown", None)
        for policy in _POLICIES[_POLICIES.index(on_unknown) :]:
            if policy == told_policy:
                on_unknown = policy
    return StageMark(name, digest(told) if told else "1", on_unknown)


def fingerprint_of(marks: Iterable[StageMark]) -> str:
    """Answer what stands for all of a pipeline's stages; another one means: not finished yet."""
    return digest([[mark.stage, mark.version] for mark in marks])


def check_mark(owner: str, version: object, on_unknown: object) -> None:
    """Raise `ConfigurationError` unless both may be given to a stage."""
    fine = isinstance(version, str) and bool(version)
    check(fine, owner, "version", version, 'a text, such as "2"')
    fine = on_unknown in _POLICIES
    check(fine, owner, "on_unknown", on_unknown, '"retry", "reconcile" or "hold"')
