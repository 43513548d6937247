"""The provider of a third party is small, is found by its name, and keeps the contract."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest

from tests.examples.command import EXAMPLES, SOURCE, run_python

PROJECT = EXAMPLES / "shouting_provider"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Give a directory that holds the package as an installer would lay it out."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    shutil.copy(PROJECT / "shouting_provider.py", tmp_path)
    metadata = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def test_it_takes_no_more_than_25_lines() -> None:
    """Writing a provider is a matter of minutes: the whole module fits on half a page."""
    assert len((PROJECT / "shouting_provider.py").read_text("utf-8").splitlines()) <= 25


def test_it_is_found_by_its_name(installed: Path) -> None:
    """Once installed, its name leads to its class."""
    code = (
        "import anyio, genai_pipeline as gp; from genai_pipeline import plugins;"
        "Shouting = plugins.load('providers', 'shouting');"
        "print(anyio.run(Shouting(marks=2), gp.Request('hello')).text)"
    )

    printed = run_python(installed, "-c", code, PYTHONPATH=f"{SOURCE}:{installed}")

    assert printed == "HELLO!!\n"


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """The contract test that comes with it passes, run in a directory of its own."""
    shutil.copytree(PROJECT, tmp_path / "project")

    run_python(tmp_path / "project", "-m", "pytest", "-q", "-p", "no:cacheprovider")
