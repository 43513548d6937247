"""The catalogue of the standard library is whole, sensible, and the same every time."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.examples.command import EXAMPLES, rows, run_example, run_python

pytestmark = pytest.mark.extras

SCRIPT = "stdlib_catalogue.py"


@attrs.frozen
class Catalogue:
    """What one run of the example left behind."""

    file: Path
    report: dict[str, Any]
    entries: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Run the example once."""
    file = tmp_path_factory.mktemp("catalogue") / "stdlib_catalogue.jsonl"
    report = run_example(file.parent, SCRIPT)
    return Catalogue(file, report, {entry["module"]: entry for entry in rows(file)})


def documented(directory: Path) -> set[str]:
    """Answer the top-level modules that can be imported here and have a docstring."""
    code = (
        "import importlib, sys\n"
        "for name in sys.stdlib_module_names - {'antigravity', 'this'}:\n"
        "    try:\n"
        "        text = importlib.import_module(name).__doc__\n"
        "    except ImportError:\n"
        "        continue\n"
        "    if text and text.strip():\n"
        "        print(name)\n"
    )
    return set(run_python(directory, "-W", "ignore", "-c", code).split())


def test_every_documented_module_has_an_entry(catalogue: Catalogue, tmp_path: Path) -> None:
    """All top-level modules that can be imported and have a docstring are in, and submodules."""
    assert documented(tmp_path) - set(catalogue.entries) == set()
    assert {"asyncio.events", "encodings.utf_8", "json.decoder"} <= set(catalogue.entries)


def test_the_account_adds_up(catalogue: Catalogue) -> None:
    """Each module is an entry or was filtered for want of a docstring; none failed."""
    report = catalogue.report

    assert report["written"] == len(catalogue.entries) > 400
    assert report["read"] == report["written"] + report["filtered"]
    assert report["dead"] == report["handed_back"] == report["pending"] == 0
    assert len(rows(catalogue.file)) == report["written"]


def test_each_entry_is_a_topic_and_one_line(catalogue: Catalogue) -> None:
    """Topics are those of the example, summaries are words in one line, modules are in order."""
    topics = runpy.run_path(str(EXAMPLES / SCRIPT))["TOPICS"]

    assert [*catalogue.entries] == sorted(catalogue.entries)
    for entry in catalogue.entries.values():
        assert [*entry] == ["module", "topic", "summary"]
        assert entry["topic"] in topics
        assert entry["summary"] == " ".join(entry["summary"].split()) != ""


def test_well_known_modules_are_filed_where_a_reader_looks(catalogue: Catalogue) -> None:
    """A reader finds the modules everybody knows under their topics."""
    expected = {
        "csv": "data formats",
        "encodings.cp1252": "text and encodings",
        "hashlib": "security",
        "http.server": "internet",
        "random": "numbers and dates",
        "threading": "concurrency",
        "unittest.main": "testing and debugging",
    }

    assert {name: catalogue.entries[name]["topic"] for name in expected} == expected


def test_a_second_run_replaces_the_first(catalogue: Catalogue) -> None:
    """Running again in the same place leaves the same file, and nothing beside it."""
    first = catalogue.file.read_bytes()

    run_example(catalogue.file.parent, SCRIPT)

    assert catalogue.file.read_bytes() == first
    assert [path.name for path in catalogue.file.parent.iterdir()] == [catalogue.file.name]
