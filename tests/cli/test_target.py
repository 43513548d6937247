"""TARGET finds a pipeline, or says what there is instead."""

from __future__ import annotations

import queue
import sys
from pathlib import Path

import pytest

from genai_pipeline.cli import main
from genai_pipeline.cli._target import LoadFailed, UsageError, find
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.pipeline import Pipeline

_HEAD = "import genai_pipeline as gp\nfrom jobs import Numbers, Lines, slowly\n"
_MAKE = "gp.Pipeline(source=Numbers(1), stage=gp.map(slowly), sink=Lines('x'))\n"


def written(folder: Path, code: str, name: str = "mine.py") -> str:
    """Put *code* into a file; answer its name."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(_HEAD + code)
    return name


@pytest.mark.parametrize("target", ["jobs.py", "jobs", "./jobs.py", "jobs.py:pipeline"])
def test_ways_to_say_it(jobs: Path, target: str) -> None:
    """A file, a path and a module are ways to name the same."""
    found = find(target).found
    assert isinstance(found, Pipeline)
    assert found is sys.modules["jobs"].pipeline


def test_absolute_path(jobs: Path) -> None:
    """A file is found from anywhere, and so are the modules beside it."""
    written(jobs, f"pipeline = {_MAKE}", "deep/er/mine.py")
    (jobs / "deep/er/jobs.py").write_text((jobs / "jobs.py").read_text())
    assert isinstance(find(str(jobs / "deep/er/mine.py")).found, Pipeline)


def test_name_inside_an_object(jobs: Path) -> None:
    """The name may lead into an object."""
    target = written(jobs, f"class Jobs:\n    nightly = {_MAKE}")
    assert isinstance(find(f"{target}:Jobs.nightly").found, Pipeline)


def test_only_pipeline(jobs: Path) -> None:
    """The only pipeline of a module needs no name, whatever it is called."""
    found = find(written(jobs, f"tickets = also = {_MAKE}"))
    assert (type(found.found), found.name) == (Pipeline, "mine:tickets")


def test_name_of_a_standard_module(jobs: Path) -> None:
    """A file called as a module of the standard library is the file, and harms nobody."""
    found = find(written(jobs, f"pipeline = {_MAKE}", "queue.py"))
    assert isinstance(found.found, Pipeline)
    assert str(jobs) not in str(queue.__file__)
    assert sys.modules["queue"] is queue


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"a = {_MAKE}b = {_MAKE}", "several pipelines; name one .* after a colon: a, b"),
        ("def make():\n    pass", "no 'pipeline'; it has no gp.Pipeline either; .* name it: make"),
        ("x = 1", r"no gp.Pipeline at all; write one as pipeline = gp.Pipeline\(...\)"),
    ],
)
def test_candidates(jobs: Path, code: str, reason: str) -> None:
    """When the default is not there, the message lists what could be meant."""
    with pytest.raises(UsageError, match=reason):
        find(written(jobs, code))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("absent.py", "the file absent.py does not exist"),
        ("absent", "no module 'absent' in .*; for a file, give its path: absent.py"),
        ("absent.inner", "no module 'absent.inner'"),
        ("not a module", "neither a Python file nor the name of a module"),
        ("jobs.py:nightly", "jobs.py has no 'nightly'; name one of its pipelines .*: pipeline, s"),
        ("jobs.py:", "names nothing"),
        (".", "neither a Python file"),
    ],
)
@pytest.mark.usefixtures("jobs")
def test_not_there(target: str, reason: str) -> None:
    """What is not there is said to be not there, with where it was looked for."""
    with pytest.raises(UsageError, match=reason):
        find(target)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("1 / 0", r"ZeroDivisionError: division by zero \(.*mine.py, line 3\)"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def broken(:", r"SyntaxError: .*mine.py, line 3\)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("how", ["file", "module"])
def test_code_that_raises(jobs: Path, code: str, reason: str, how: str) -> None:
    """What the user's own code raises while it is imported is told with its place."""
    name = written(jobs, code)
    with pytest.raises(LoadFailed, match=reason):
        find(name if how == "file" else "mine")


def test_our_own_errors_pass(jobs: Path) -> None:
    """A wrong option of a pipeline made at the top of a module stays what it is."""
    with pytest.raises(ConfigurationError, match="grace=-1"):
        find(written(jobs, f"pipeline = {_MAKE.rstrip()[:-1]}, grace=-1)"))


def test_import_again_after_a_failure(jobs: Path) -> None:
    """A module that failed is not left behind half-made."""
    with pytest.raises(LoadFailed):
        find(written(jobs, "1 / 0"))
    assert isinstance(find(written(jobs, f"pipeline = {_MAKE}")).found, Pipeline)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["jobs.py:dead"], 2, "is a list, neither a gp.Pipeline nor a function that answers one"),
        (["jobs.py:wrong"], 2, "answered a int; it must answer a gp.Pipeline"),
        (["jobs.py", "-p", "end=3"], 2, "is no function, so -p has nothing to set"),
        (["jobs.py:raises"], 1, "raised LookupError: no such customer"),
        (["absent.py"], 2, "does not exist"),
    ],
)
def test_exit_code(
    jobs: Path, arguments: list[str], code: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage is exit code 2, the user's own failing code 1; both say why in a line."""
    assert main(["run", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("genai-pipeline: error: ")
    assert reason in line
