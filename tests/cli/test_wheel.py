"""The command works from the built wheel, without the repository."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.command import JOBS, environment

_ROOT = Path(__file__).parents[2]
_UNMEASURED = dict.fromkeys(("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"))
"""What is run is a copy, and no part of what coverage is measured of."""

_ENTRY = """
import sys
from importlib.metadata import entry_points
(command,) = {e for e in entry_points(group="console_scripts") if e.name == "genai-pipeline"}
sys.exit(command.load()())
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel; answer a folder that holds what installing it would put there."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        timeout=50,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def installed(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as the wheel's entry point does."""
    return subprocess.run(
        [sys.executable, "-c", _ENTRY, *arguments],
        cwd=cwd,
        env=environment(PYTHONPATH=str(site), **_UNMEASURED),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_version(site: Path, tmp_path: Path) -> None:
    """The version is the wheel's."""
    (metadata,) = site.glob("genai_pipeline-*.dist-info")
    version = metadata.name.removeprefix("genai_pipeline-").removesuffix(".dist-info")
    assert installed(site, "--version", cwd=tmp_path).stdout == f"genai_pipeline {version}\n"


def test_run(site: Path, tmp_path: Path) -> None:
    """A pipeline in a file is run."""
    (tmp_path / "jobs.py").write_text(JOBS)
    done = installed(site, "run", "jobs.py", "--report", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "out.txt").read_text().split()) == 10
    assert json.loads((tmp_path / "r.json").read_text())["written"] == 10


def test_doctor(site: Path, tmp_path: Path) -> None:
    """The doctor knows from the wheel's metadata what is needed and what the extras are."""
    done = installed(site, "doctor", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)["findings"]
    needed = {each["name"] for each in found if each["section"] == "versions"}
    assert {"anyio", "attrs", "httpx", "structlog", "tenacity"} <= needed
    extras = {each["name"] for each in found if each["section"] == "extras"}
    assert {"cli", "local", "trio", "zstd"} == extras


def test_reference_prices(site: Path) -> None:
    """The wheel holds the prices that come with the library."""
    assert json.loads((site / "genai_pipeline/money/reference_prices.json").read_text("utf-8"))


def test_reference_models(site: Path, tmp_path: Path) -> None:
    """The wheel holds the catalogue of models that comes with the library."""
    done = installed(site, "models", "gpt-4o-2024-08-06", "--json", cwd=tmp_path)
    assert [each["model"] for each in json.loads(done.stdout)["models"]] == ["gpt-4o"]


def test_typed(site: Path) -> None:
    """The wheel says that it is typed, and holds no tests."""
    assert (site / "genai_pipeline/py.typed").exists()
    assert not (site / "tests").exists()
