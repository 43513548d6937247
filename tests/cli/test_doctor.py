"""The doctor tells what is there, names what is missing, and never a secret."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.cli import _machine as machine
from genai_pipeline.cli import main
from tests.cli.test_plugins import install

Captured = pytest.CaptureFixture[str]

_DECLARED = [
    "anyio<5,>=4.14.2",
    "surely-missing>=1",
    "pytest>=8; extra == 'cli'",
    "never-there>=1; extra == 'zstd'",
    "pytest>=8; extra == 'all'",
]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Answer a function that sets what our metadata says we need."""

    def set_to(lines: list[str]) -> None:
        monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)

    return set_to


def diagnosis(capsys: Captured) -> tuple[int, dict[str, dict[str, Any]]]:
    """Answer the exit code and the findings by their names."""
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["fine"] == (code == 0)
    return code, {finding["name"]: finding for finding in found["findings"]}


def test_all_is_there(declare: Callable[[list[str]], None], capsys: Captured) -> None:
    """When nothing that is needed is missing, the exit code is 0."""
    declare(["anyio>=4"])
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for part in ("versions", platform.python_version(), "CPUs", "open files", "asyncio"):
        assert part in out
    assert out.endswith("Nothing that is needed is missing.\n")


def test_missing_requirement(declare: Callable[[list[str]], None], capsys: Captured) -> None:
    """A package that is needed and not there is listed with the command that installs it."""
    declare(_DECLARED)
    assert main(["doctor"]) == 1
    missing = capsys.readouterr().out.partition("Missing:")[2]
    assert "surely-missing: not installed; pip install surely-missing" in missing
    assert "never-there" not in missing


def test_extras(declare: Callable[[list[str]], None], capsys: Captured) -> None:
    """An extra that is not there is a note with its command, and no fault."""
    declare([line for line in _DECLARED if "surely" not in line])
    code, found = diagnosis(capsys)
    assert code == 0
    assert found["cli"]["state"] == "fine"
    assert found["zstd"]["state"] == "note"
    assert found["zstd"]["mend"] == "pip install 'genai_pipeline[zstd]'"


def test_broken_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """A plug-in that cannot be imported is named, and is a fault."""
    install(tmp_path, "acme-ill", "[genai_pipeline.sinks]\nill = acme_ill:Acme\n", "1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    code, found = diagnosis(capsys)
    assert code == 1
    assert "acme-ill 1.2" in found["ill"]["text"]
    assert "ZeroDivisionError" in found["ill"]["text"]


def test_secrets_stay_secret(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """Environment variables are told by name; no value is ever printed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("GENAI_PIPELINE_ANYTHING", "sk-very-secret")
    main(["doctor"])
    out = capsys.readouterr().out
    assert "OPENAI_API_KEY" in out
    assert "GENAI_PIPELINE_ANYTHING" in out
    assert "sk-very-secret" not in out


def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of open files too low for a run is a fault, with the mend."""
    resource = pytest.importorskip("resource", reason="the limit exists on POSIX systems only")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 4096))
    found = {measure.name: measure for measure in machine.measures()}["open files"]
    assert (found.state, found.text) == ("missing", "100, enough for about 36 connections at once")
    assert found.mend == "raise it with: ulimit -n 4096 (at most 4096 here)"


def test_limits_of_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a container may use is told beside what the machine has."""
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    found = {measure.name: measure.text for measure in machine.measures()}
    assert "limited to 0.5 by the control group" in found["CPUs"]
    assert "limited to 1.00 MiB by the control group" in found["memory"]


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with hardly any space left is a fault."""

    class Usage:
        free = 1 << 20

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    found = {measure.name: measure for measure in machine.measures()}["current folder"]
    assert (found.state, found.mend) == ("missing", "free some space")
