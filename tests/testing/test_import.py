"""The test kit loads what it needs, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from genai_pipeline import testing

CODE = """
import sys
for name in ("pytest", "_pytest", "hypothesis", "trio"):
    sys.modules[name] = None
from genai_pipeline.testing import Chaos, FakeClock, Fault, Script, ScriptError
import anyio, genai_pipeline as gp

async def main():
    async with FakeClock() as clock:
        model = gp.wrap(Script("a", clock=clock, latency=9), Chaos.planned("lost", clock=clock))
        try:
            await model(gp.Request("x"))
        except gp.Transient:
            print(clock.now())

anyio.run(main)
try:
    import genai_pipeline.testing.strategies
except ImportError as error:
    print(error)
"""


def test_doubles_need_neither_pytest_nor_hypothesis() -> None:
    """Clock, script and chaos work in a bare installation; strategies say what they need."""
    path = ":".join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        check=False,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "9.0",
        "genai_pipeline.testing.strategies needs Hypothesis; pip install hypothesis",
    ]


def test_the_names_are_sorted_and_listed() -> None:
    """What the package exports is what it shows."""
    assert sorted(testing.__all__) == testing.__all__ == dir(testing)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name is named."""
    with pytest.raises(AttributeError, match=r"'genai_pipeline\.testing' has no attribute 'Scrpt'"):
        testing.Scrpt
