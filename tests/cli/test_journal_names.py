"""Commands for a journal say which name is not there, and answer nothing in its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.journal_jobs import say


@pytest.mark.parametrize(
    "command",
    [
        "runs run.db",
        "cost run.db",
        "dead list run.db",
        "dead show run.db 4",
        "dead export run.db",
        "dead redrive run.db",
        "dead redrive run.db --dry-run",
        "held list run.db",
        "held release run.db",
        "purge run.db --older-than 1d",
        "purge run.db --older-than 1d --dry-run",
    ],
)
@pytest.mark.usefixtures("crashed")
def test_a_pipeline_that_is_not_there(command: str) -> None:
    """A misspelt pipeline is no empty answer; those that are there are named."""
    said = say(*command.split(), "--pipeline", "aksed")
    assert (said.code, said.out) == (2, "")
    assert "--pipeline aksed: no run of it is in run.db; there is asked" in said.err
    assert say(*command.split(), "--pipeline", "asked").code == 0


@pytest.mark.usefixtures("crashed")
def test_a_run_and_an_attribute_that_are_not_there() -> None:
    """Costs of a run that never was are refused; an attribute that no record has is told."""
    said = say("cost", "run.db", "--run", "99")
    assert (said.code, said.out) == (2, "")
    assert "--run 99: no such run; `runs run.db` lists them" in said.err
    said = say("cost", "run.db", "--by", "tennant,model")
    assert said.code == 0
    assert said.err.startswith("no call has the attribute 'tennant'")
    assert say("cost", "run.db", "--by", "tenant,model", "--run", "1").err == ""


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.usefixtures("crashed")
def test_keys_that_are_not_there(dry: tuple[str, ...]) -> None:
    """Records that are there are redriven, and a key that is not is told by the exit code."""
    said = say("dead", "redrive", "run.db", "--key", "4", "--key", "nope", *dry)
    assert said.code == 2
    assert "1 record (ValueError)".replace("(", "(1 ") in said.err
    assert "no dead record has the key 'nope'" in said.err


@pytest.mark.usefixtures("crashed")
def test_a_choice_that_is_given_twice() -> None:
    """Of two errors the first would be forgotten, so that is refused."""
    said = say("dead", "list", "run.db", "--error", "KeyError", "--error", "ValueError")
    assert (said.code, said.out) == (2, "")
    assert "argument --error: given twice; give one" in said.err


@pytest.mark.usefixtures("crashed")
def test_an_export_names_its_own_option() -> None:
    """A file of another kind is refused by the option that was given."""
    said = say("dead", "export", "run.db", "--all", "--output", "dead.csv")
    assert said.code == 2
    assert "--output dead.csv: the name must end in .jsonl" in said.err


def test_the_file_of_another_program_is_not_salvaged(crashed: Path) -> None:
    """Nothing is made of it that looks like a journal."""
    with closing(sqlite3.connect(crashed / "other.db")) as other:
        other.execute("CREATE TABLE run (name TEXT)")
    said = say("journal", "salvage", "other.db", "new.db")
    assert said.code == 78
    assert "other.db' is the file of another program" in said.err
    assert not (crashed / "new.db").exists()
