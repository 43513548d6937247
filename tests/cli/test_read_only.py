"""Journals that cannot be written: what only looks works, and what does not says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.journals import SqliteReader
from tests.cli.journal_jobs import say

LOOKS = (
    ("status",),
    ("runs",),
    ("cost",),
    ("dead", "list"),
    ("held", "list"),
    ("dead", "export", "--all"),
    ("journal", "check"),
)
CHANGES = (
    ("dead", "redrive", "--all"),
    ("held", "release", "--all"),
    ("journal", "vacuum"),
    ("purge", "--older-than", "1d"),
)
NOBODY = 65534


def with_path(command: tuple[str, ...]) -> list[str]:
    """Answer *command* with the path of the journal where it belongs."""
    words = list(command)
    words.insert(2 if words[0] in ("dead", "held", "journal") else 1, "run.db")
    return words


@contextmanager
def nobody() -> Iterator[None]:
    """Be somebody whom the modes of files mean, which for root they do not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def left(crashed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Stand in a folder that everybody may look into, with what a killed run left."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for path in crashed.iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        monkeypatch.chdir(folder)
        yield folder
        folder.chmod(0o700)


@pytest.fixture
def finished(left: Path) -> Path:
    """Stand in such a folder with a journal whose run came to its end."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    return left


def take_away(folder: Path, mode: int = 0o444) -> None:
    """Let nobody write to *folder* and what is in it."""
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(mode)
    folder.chmod(0o555)


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_what_looks_works(finished: Path, command: tuple[str, ...]) -> None:
    """On what cannot be written, all that only looks answers as ever, and leaves no file."""
    expected = say(*with_path(command))
    assert expected.code == 0
    before = sorted(os.listdir(finished))
    take_away(finished)
    with nobody():
        said = say(*with_path(command))
    assert (said.code, said.out) == (0, expected.out), said.err
    assert sorted(os.listdir(finished)) == before


@pytest.mark.parametrize("command", CHANGES, ids=" ".join)
def test_what_changes_says_why_not(finished: Path, command: tuple[str, ...]) -> None:
    """A command that has to write says what it cannot write, and where to."""
    take_away(finished)
    with nobody():
        said = say(*with_path(command))
    assert said.code == 74
    assert "the journal" in said.err
    assert "may be written" in said.err or "may write" in said.err


@pytest.mark.parametrize("command", LOOKS[:3], ids=" ".join)
def test_after_a_crash_it_says_what_to_do(left: Path, command: tuple[str, ...]) -> None:
    """A log cannot be read where nothing can be written: it says what to copy, which then works."""
    take_away(left)
    with nobody():
        said = say(*with_path(command))
    assert said.code == 74
    assert "copy run.db and run.db-wal to a folder that can" in said.err


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_file_that_may_only_be_read(left: Path, command: tuple[str, ...]) -> None:
    """In a folder that may be written, a file that may not is read as ever, with its log."""
    for path in left.iterdir():
        if path.is_file():
            path.chmod(0o444)
    (left / "run.db.lock").unlink(missing_ok=True)
    left.chmod(0o777)
    with nobody():
        said = say(*with_path(command))
    assert said.code == 0, said.err


def test_a_file_that_may_not_be_read(finished: Path) -> None:
    """Who may not read the file is told so."""
    take_away(finished, 0o000)
    with nobody():
        said = say("runs", "run.db")
    assert (said.code, "this user may not read it" in said.err) == (74, True)


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_read_only_disk(
    finished: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A disk that refuses whatever could change it, even if it would not, is read as ever."""
    expected = say(*with_path(command))
    real = os.open

    def refuse(path: object, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_RDWR | os.O_WRONLY):
            refuse(path)
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    said = say(*with_path(command))
    monkeypatch.undo()
    assert (said.code, said.out) == (0, expected.out), said.err


def test_a_journal_that_changes_while_it_cannot_be_locked(finished: Path) -> None:
    """What somebody else writes while it is read without a lock is noticed, and not told half."""
    take_away(finished)

    async def read() -> None:
        async with SqliteReader("run.db") as journal:
            await journal.runs()
            os.utime("run.db", ns=(1, 1))
            with pytest.raises(gp.errors.StorageFailed, match="was changed while it was read"):
                await journal.runs()

    finished.joinpath("run.db").chmod(0o644)
    if os.geteuid() == 0:
        os.chown(finished / "run.db", NOBODY, -1)
    with nobody():
        anyio.run(read)
