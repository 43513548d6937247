"""The quality that the documentation states is the quality that is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import genai_pipeline

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "explanation" / "local-model-quality.md"


@pytest.fixture(scope="module")
def measured() -> dict[str, str]:
    """Give the share and interval of each row of the benchmark, in the form of the page."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "local_quality.py")],
        env={**os.environ, "PYTHONPATH": str(Path(genai_pipeline.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, str] = {}
    task = ""
    for line in done.stdout.splitlines():
        if not line.startswith(" "):
            task = line.partition(",")[0]
        elif row := re.match(r" +(.+?) +\d+ of \d+ +(\d+)%  \((\d+)% to (\d+)%\)", line):
            figures[f"{task}: {row[1]}"] = f"{row[2]} % ({row[3]}–{row[4]})"
    return figures


def test_the_page_states_what_is_measured(measured: dict[str, str]) -> None:
    """Every figure of the held-out texts stands in the page, but for the baselines' intervals."""
    page = PAGE.read_text("utf-8").replace("**", "")

    assert len(measured) == 12
    for name, figure in measured.items():
        shown = figure.split(" (")[0] if "always" in name else figure
        assert shown in page, name


@pytest.mark.parametrize("task", ["topic", "support"])
def test_described_labels_beat_guessing_by_far(measured: dict[str, str], task: str) -> None:
    """The lower end of the interval is far above what always choosing one label gets."""
    low = re.search(r"\((\d+)", measured[f"{task}: names, descriptions"])
    guessed = re.match(r"\d+", measured[f"{task}: always one label"])

    assert low is not None
    assert guessed is not None
    assert int(low[0][1:]) > 3 * int(guessed[0])
