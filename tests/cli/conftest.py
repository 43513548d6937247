"""A folder with jobs in it, and an interpreter that forgets what tests imported."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import JOBS
from tests.cli.journal_jobs import killed


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget at the end what was imported from the test's folder."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: None) -> Path:
    """Stand in a folder that has a file ``jobs.py``; answer the folder."""
    (tmp_path / "jobs.py").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _remains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    killed(folder)
    return folder


@pytest.fixture
def crashed(_remains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modules: None) -> Path:
    """Stand in a folder in which a run with a journal was killed in the middle of a call."""
    folder = tmp_path / "crashed"
    shutil.copytree(_remains, folder)
    monkeypatch.chdir(folder)
    return folder
