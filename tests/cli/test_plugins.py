"""Plug-ins are found by name, loaded when asked for, and blamed by name when broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genai_pipeline import plugins
from genai_pipeline.errors import ConfigurationError


def install(folder: Path, name: str, points: str, code: str = "class Acme:\n    pass\n") -> None:
    """Put a distribution with entry *points* into *folder*."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{module}-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answer an empty folder that is looked in for distributions."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(plugins.OFF_SWITCH, raising=False)
    return tmp_path


def test_found_and_loaded(site: Path) -> None:
    """A class is found by its kind and name, and known without importing it."""
    install(site, "acme-one", "[genai_pipeline.providers]\nacme = acme_one:Acme\n")
    (plugin,) = [each for each in plugins.installed("providers") if each.name == "acme"]
    assert (plugin.target, plugin.distribution) == ("acme_one:Acme", "acme-one 1.2")
    assert "acme_one" not in sys.modules
    assert plugins.load("providers", "acme").__name__ == "Acme"
    assert "acme" in [each.name for each in plugins.installed()]


def test_not_installed(site: Path) -> None:
    """A name that is not there is told with those that are."""
    install(site, "acme-two", "[genai_pipeline.stores]\nacme2 = acme_two:Acme\n")
    with pytest.raises(ConfigurationError, match=r"'other' of stores is not installed; .*'acme2'"):
        plugins.load("stores", "other")


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("acme_three:Acme", "import missing_thing", "acme-three 1.2.*No module named"),
        ("acme_three:Absent", "", "cannot be imported: AttributeError"),
        ("acme_three:number", "number = 3", "is a int; .* must name a class"),
    ],
)
def test_broken(site: Path, target: str, code: str, reason: str) -> None:
    """A plug-in that cannot be loaded is named with its distribution and the off switch."""
    install(site, "acme-three", f"[genai_pipeline.sinks]\nacme = {target}\n", code)
    sys.modules.pop("acme_three", None)
    with pytest.raises(ConfigurationError, match=reason):
        plugins.load("sinks", "acme")


def test_two_claims(site: Path) -> None:
    """A name that two distributions claim is nobody's."""
    install(site, "acme-four", "[genai_pipeline.sources]\nacme = acme_four:Acme\n")
    install(site, "acme-five", "[genai_pipeline.sources]\nacme = acme_five:Acme\n")
    with pytest.raises(ConfigurationError, match=r"claimed by acme-five 1.2 .* and acme-four 1.2"):
        plugins.load("sources", "acme")


@pytest.mark.parametrize(("value", "on"), [("1", False), ("yes", False), ("0", True), ("", True)])
def test_off_switch(site: Path, monkeypatch: pytest.MonkeyPatch, value: str, *, on: bool) -> None:
    """The environment can keep every plug-in out."""
    install(site, "acme-six", "[genai_pipeline.sources]\nsix = acme_six:Acme\n")
    monkeypatch.setenv(plugins.OFF_SWITCH, value)
    assert plugins.enabled() == on
    assert ("six" in [each.name for each in plugins.installed("sources")]) == on
    if not on:
        with pytest.raises(ConfigurationError, match=f"unset {plugins.OFF_SWITCH}"):
            plugins.load("sources", "six")


def test_unknown_kind() -> None:
    """A kind that does not exist is refused with those that do."""
    with pytest.raises(ConfigurationError, match="kind='models'; give one of 'providers'"):
        plugins.load("models", "acme")  # type: ignore[arg-type]
