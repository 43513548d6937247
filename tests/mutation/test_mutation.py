"""The tool that asks what the tests would not notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.mutation.mutants import mutants_of

ROOT = Path(__file__).parents[2]

MODULE = '''
"""Sums."""

from typing import TypeVar

T = TypeVar("T")
LEAST = 3


def checked(total: int, *, most: int = 9) -> bool:
    """Whether it is fine."""
    if total < LEAST and not total:
        raise ValueError(f"{total + 1} is bad")
    return max(total, 4) <= most
'''

TESTS = """
import pytest
from sums import checked

def test_small_sums_are_fine():
    assert checked(3)

def test_sums_may_be_nine_at_most():
    assert checked(9)
    assert not checked(10)

def test_nothing_is_bad():
    with pytest.raises(ValueError):
        checked(0)
"""

OTHER_TESTS = """
from limits import MOST

def test_the_most():
    assert MOST == 9
"""


def test_each_change_is_told_as_it_is_made(tmp_path: Path) -> None:
    """Conditions, operators, numbers, results and statements change; texts and types do not."""
    (tmp_path / "sums.py").write_text(MODULE)
    told = [(mutant.line, mutant.change) for mutant in mutants_of(tmp_path / "sums.py")]
    assert told == [
        (7, "3 -> 4"),
        (7, "3 -> 0"),
        (10, "9 -> 10"),
        (10, "9 -> 0"),
        (12, "if total < LEAST and (not total) -> if True"),
        (12, "if total < LEAST and (not total) -> if False"),
        (12, "total < LEAST and (not total) -> total < LEAST or not total"),
        (12, "total < LEAST -> total <= LEAST"),
        (12, "not total -> total"),
        (13, "raise ValueError(f'{total + 1} is bad') -> pass"),
        (14, "return max(total, 4) <= most -> return None"),
        (14, "max(total, 4) <= most -> max(total, 4) < most"),
        (14, "max -> min"),
        (14, "4 -> 5"),
        (14, "4 -> 0"),
    ]


def test_survivors_are_told(tmp_path: Path) -> None:
    """What no test notices is printed with its place, and counted beside what is killed."""
    package = tmp_path / "src" / "genai_pipeline"
    package.mkdir(parents=True)
    (package / "sums.py").write_text(MODULE)
    (package / "limits.py").write_text("MOST = 9")
    (tmp_path / "pytest.ini").write_text("[pytest]")  # the root, also within another project
    for folder, tests in (("sums", TESTS), ("others", OTHER_TESTS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "conftest.py").touch()
        (tmp_path / folder / f"test_{folder}.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "sums", "limits", "--tests", "sums", "others"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        (
            "src/genai_pipeline/sums.py:12:8: survived: "
            "total < LEAST and (not total) -> total < LEAST or not total"
        ),
        "src/genai_pipeline/sums.py:12:8: survived: total < LEAST -> total <= LEAST",
        "src/genai_pipeline/sums.py:14:23: survived: 4 -> 5",
        "src/genai_pipeline/sums.py:14:23: survived: 4 -> 0",
        "src/genai_pipeline/sums.py:7:9: survived: 3 -> 4",
        "src/genai_pipeline/sums.py: 15 mutants: 10 killed, 5 survived",
        "src/genai_pipeline/limits.py: 2 mutants: 2 killed",
    ]
