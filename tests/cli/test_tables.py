"""What people read and write on the command line: tables, times and amounts."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.cli._table import dollars, table
from genai_pipeline.cli._times import duration, moment

_CELLS = st.text(st.characters(exclude_categories=["Mn", "Cf"]), max_size=60)


@given(
    st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=5),
    st.integers(1, 120),
    st.sets(st.integers(0, 1)),
)
def test_tables_are_lines(rows: list[tuple[str, str, str]], width: int, right: set[int]) -> None:
    """Whatever is in the cells, each row is one printable line, and only its last cell is cut."""
    lines = list(table(["A", "B", "C"], rows, right=right, width=width))
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)
    for row, line in zip(rows, lines[1:], strict=True):
        for cell in row[:2]:
            flat = " ".join(cell.split())
            assert not flat.isprintable() or flat in line


def test_a_table_fits() -> None:
    """The last column takes what the others leave, and shows that it was cut."""
    lines = list(table(["KEY", "N", "WHY"], [["a", "10", "word " * 40]], right={1}, width=40))
    assert lines[0] == "KEY   N  WHY"
    assert lines[1].startswith("a    10  word word")
    assert lines[1].endswith("…")
    assert len(lines[1]) == 40


def test_figures_are_never_cut() -> None:
    """A last column of figures is whole, however narrow the terminal is."""
    lines = list(table(["WHAT", "COST"], [["x" * 50, "1" * 20]], right={1}, width=40))
    assert lines[1].endswith("1" * 20)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1.5h", 5400), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are a number with a unit."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "1 d", "inf", "٣d"])
def test_no_durations(text: str) -> None:
    """Anything else is refused, with what to write."""
    with pytest.raises(ArgumentTypeError, match="write 90s"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-26", datetime(2026, 11, 26, tzinfo=UTC)),
        ("2026-11-26T14:30", datetime(2026, 11, 26, 14, 30, tzinfo=UTC)),
        ("2026-11-26T14:30+02:00", datetime(2026, 11, 26, 12, 30, tzinfo=UTC)),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    """Dates and times are in UTC unless they say otherwise."""
    assert moment(text) == expected.timestamp()


def test_moments_ago() -> None:
    """A duration is so long ago."""
    before = datetime.now(UTC).timestamp()
    assert before - 3600 <= moment("1h") <= datetime.now(UTC).timestamp() - 3600


@given(st.integers(0, 10**18))
def test_dollars_are_exact(nano: int) -> None:
    """Amounts for programs are plain decimals to the nano-dollar, whatever their size."""
    whole, _, part = dollars(nano).partition(".")
    assert int(whole) * 10**9 + int(part) == nano
