"""The quality that the documentation states is the quality that is measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.token_quality import errors, openai, texts

pytestmark = pytest.mark.extras

PAGE = Path(__file__).parent.parent.parent / "docs" / "explanation" / "token-estimates.md"
NEAR = 0.04
"""Pages and modules, which are among the texts, change."""


def test_the_stated_errors_are_those_that_are_measured() -> None:
    """Each figure of the table for o200k_base is what the estimator does now."""
    page = PAGE.read_text("utf-8")
    exact = openai("o200k_base")
    for kind, pieces in texts().items():
        row = re.search(rf"^\| {kind} \| ([+-]?\d+) → ([+-]?\d+) \|", page, re.MULTILINE)
        assert row is not None, f"no row tells of {kind}"
        stated = tuple(int(number) / 100 for number in row.groups())
        assert errors(pieces, exact) == pytest.approx(stated, abs=NEAR), kind


def test_what_was_learned_makes_it_good() -> None:
    """After 30 answers of its kind, no text is estimated worse than by five percent."""
    exact = openai("cl100k_base")
    for kind, pieces in texts().items():
        assert abs(errors(pieces, exact)[1]) < 0.05, kind
