"""Prints tables that fit the terminal, and plain JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from genai_pipeline.cli._explain import one_line
from genai_pipeline.money import from_nano

__all__ = ["dollars", "iso", "minute", "print_json", "print_table", "say", "table"]

_LEAST = 16
_GAP = "  "


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> None:
    """Print *rows* under *header*; the columns numbered in *right* end at their right."""
    width = shutil.get_terminal_size((80, 24)).columns
    for line in table(header, rows, right=right, width=width):
        print(line)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    width: int = 80,
) -> Iterator[str]:
    """
    Yield the lines of a table.

    A last column of text is cut to what *width* leaves; the others are as wide as they need to be,
    since figures, keys and names have to be whole to be used.
    """
    lines = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    room = max(_LEAST, width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1))
    for line in lines:
        cells = [
            cell.rjust(widths[place]) if place in right else cell.ljust(widths[place])
            for place, cell in enumerate(line)
        ]
        last = cells[-1].rstrip()
        if len(last) > room and len(widths) - 1 not in right:
            cells[-1] = f"{last[: room - 1]}…"
        yield _GAP.join(cells).rstrip()


def print_json(found: object) -> None:
    """Print *found* as JSON, which any terminal and any encoding bears."""
    print(json.dumps(found, indent=2))


def dollars(nano: int) -> str:
    """Answer nano-dollars as dollars for programs: plain, exact, ``0.000720000``."""
    return f"{from_nano(nano):f}"


def iso(wall: float | None) -> str | None:
    """Answer a wall time as ISO 8601 in UTC."""
    return None if wall is None else datetime.fromtimestamp(wall, UTC).isoformat()


def minute(wall: float | None) -> str:
    """Answer a wall time in UTC for people: ``2026-11-26 06:54``."""
    return "-" if wall is None else f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M}"


def say(text: str) -> None:
    """Print what is said beside the result, to stderr."""
    print(text, file=sys.stderr)
