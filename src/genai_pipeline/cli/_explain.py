"""Says what went wrong: what, where and the mend, in a few lines; and the exit code of it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._target import LoadFailed, UsageError
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.report import RunFailed
from genai_pipeline.telemetry._mends import mend

__all__ = ["exit_of", "explain", "failures", "one_line"]

_LONGEST = 600
_KINDS_TOLD = 5


def exit_of(error: BaseException) -> Exit:
    """Answer the exit code that *error* stands for; in a group, the gravest counts."""
    errors = list(_leaves(error))
    if isinstance(error, UsageError):
        return Exit.USAGE
    if any(isinstance(each, StorageFailed) for each in errors):
        return Exit.STORAGE
    if any(isinstance(each, ConfigurationError) for each in errors):
        return Exit.CONFIGURATION
    return Exit.FAILED


def explain(error: BaseException, stream: TextIO, *, verbose: bool) -> None:
    """Print *error* for people to *stream*, with the traceback if *verbose*."""
    if verbose and not isinstance(error, UsageError):
        traceback.print_exception(error, file=stream)
    for line in _lines(error):
        print(line, file=stream)


def failures(error: BaseException) -> list[dict[str, object]]:
    """Answer what went wrong, by class, as plain JSON types; the most frequent first."""
    by_class: dict[str, list[BaseException]] = {}
    for each in _leaves(error):
        by_class.setdefault(type(each).__name__, []).append(each)
    counted = error.report.errors if isinstance(error, RunFailed) else {}
    found: list[dict[str, object]] = [
        {
            "error": name,
            "count": max(len(errors), counted.get(name, 0)),
            "message": one_line(str(errors[0])),
            "where": _where(errors[0]),
            "mend": mend(errors[0]),
        }
        for name, errors in by_class.items()
    ]
    return sorted(found, key=lambda each: -int(str(each["count"])))


def one_line(text: str) -> str:
    """Answer *text* on one line, safe to print to a terminal, and not too long."""
    flat = " ".join(text.split())
    safe = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in flat)
    return safe if len(safe) <= _LONGEST else f"{safe[: _LONGEST - 1]}…"


def _lines(error: BaseException) -> Iterator[str]:
    if isinstance(error, UsageError | LoadFailed):
        yield f"genai-pipeline: error: {one_line(str(error))}"
        return
    if not isinstance(error, BaseExceptionGroup):
        yield f"genai-pipeline: error: {type(error).__name__}: {one_line(str(error))}"
        place, advice = _where(error), mend(error)
        if place:
            yield f"  raised in {place}"
        if advice and not isinstance(error, ConfigurationError):
            yield f"  {advice}"
        return
    found = failures(error)
    noun = "the run failed" if isinstance(error, RunFailed) else "failed"
    yield f"genai-pipeline: error: {noun}"
    for each in found[:_KINDS_TOLD]:
        times = f"{each['count']} times " if each["count"] != 1 else ""
        yield f"  {times}{each['error']}: {each['message']}"
        if each["where"]:
            yield f"      raised in {each['where']}"
        if each["mend"]:
            yield f"      {each['mend']}"
    if len(found) > _KINDS_TOLD:
        yield f"  and {len(found) - _KINDS_TOLD} other kinds; see --report, or -v"
    if isinstance(error, RunFailed) and error.report.handed_back and error.report.errors:
        yield "  --dead-letters PATH sets records that fail aside, and lets the run end well"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _where(error: BaseException) -> str | None:
    """Answer file and line of the user's own code that raised, if it did."""
    home = str(Path(__file__).parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or "site-packages" in frames[-1].filename:
        return None
    last = frames[-1]
    own = not last.filename.startswith((home, "<"))
    return f"{last.name}, {last.filename}, line {last.lineno}" if own else None
