"""Files that are no journal, or not to be used: named, with the mend, and left as they are."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.journal_jobs import say, shape

COMMANDS = (
    ("status",),
    ("runs",),
    ("cost",),
    ("dead", "list"),
    ("dead", "export", "--all"),
    ("dead", "redrive", "--all"),
    ("journal", "check"),
    ("journal", "vacuum"),
    ("journal", "backup", "copy.db"),
    ("purge", "--older-than", "1d"),
)


def with_path(command: tuple[str, ...], path: str) -> list[str]:
    """Answer *command* with the path of the journal where it belongs."""
    words = list(command)
    words.insert(2 if words[0] in ("dead", "journal") else 1, path)
    return words


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("key,value\n" * 200)


def _others(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customer (name TEXT)")
        connection.commit()


def _nothing_in_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def _later(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1735420524")
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("make", "code", "reason"),
    [
        (lambda path: None, 2, "there is no journal it.db"),
        (_folder, 2, "the journal it.db is a folder"),
        (Path.touch, 2, "the file it.db is empty"),
        (_text, 74, "file is not a database; it is damaged, or no journal"),
        (_others, 78, "is the file of another program"),
        (_nothing_in_it, 78, "holds no journal"),
        (_later, 78, "was written by a later version of this library (schema 99"),
    ],
    ids=["missing", "folder", "empty", "text", "others", "nothing", "later"],
)
def test_no_journal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    make: Callable[[Path], None],
    code: int,
    reason: str,
) -> None:
    """Each command says what is wrong with the file, and neither changes it nor makes one."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "it.db")
    before, names = shape(tmp_path), sorted(os.listdir(tmp_path))
    said = say(*with_path(command, "it.db"))
    assert (said.code, said.out) == (code, "")
    assert reason in said.err
    assert "it.db" in said.err
    assert (shape(tmp_path), sorted(os.listdir(tmp_path))) == (before, names)


def test_salvage_of_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Salvage of a missing file, or into one that exists, is refused."""
    monkeypatch.chdir(tmp_path)
    assert say("journal", "salvage", "it.db", "new.db").code == 2
    _text(tmp_path / "it.db")
    _text(tmp_path / "new.db")
    said = say("journal", "salvage", "it.db", "new.db")
    assert (said.code, "new.db" in said.err) == (78, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("cost", "run.db", "--by", "tenant,,model"), "'tenant,,model' is no list of names"),
        (("cost", "run.db", "--by", "model,model"), "is no list of names"),
        (("purge", "run.db"), "--older-than"),
        (("purge", "run.db", "--older-than", "30"), "write 90s, 15m, 12h, 30d or 2w"),
        (("dead", "list", "run.db", "--since", "yesterday"), "'yesterday' is no moment"),
        (("dead", "list", "run.db", "--limit", "0"), "'0' is no whole number of 1 or more"),
        (("dead", "run.db"), "invalid choice"),
        (("dead", "list", "run.db", "--category", "odd"), "invalid choice"),
        (("journal", "backup", "run.db"), "TO"),
        (("status",), "JOURNAL"),
        (("plan", "jobs.py", "--walk", "x"), "'x' is no whole number"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], reason: str) -> None:
    """Wrong usage is exit code 2 with a short reason."""
    said = say(*words)
    assert (said.code, said.out) == (2, "")
    assert reason in said.err
