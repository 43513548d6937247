"""Both journals keep what every journal promises."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from genai_pipeline._journal import Journal
from genai_pipeline.journals import Encryption, LocalKeys, Memory, Sqlite
from genai_pipeline.testing import JournalContract
from tests.journals.disk import Disk


class TestMemory(JournalContract):
    """The journal in memory, which is the model of the others."""

    def make(self) -> Journal:
        return Memory()

    async def die(self, journal: Any, /) -> Journal:
        journal.crash()
        return journal  # type: ignore[no-any-return]


class TestSqliteInline(JournalContract):
    """The journal in a file, on a disk in memory, in the caller's thread."""

    trials = settings(max_examples=40, stateful_step_count=40, deadline=None)

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.files = (folder / f"{number}.db" for number in itertools.count())

    def make(self) -> Journal:
        return Sqlite(next(self.files), writer="inline", connect=Disk().connect, ballast=0)

    async def die(self, journal: Any, /) -> Journal:
        journal.crash()
        return journal  # type: ignore[no-any-return]


class TestSqliteEncrypted(TestSqliteInline):
    """The journal in an encrypted file."""

    def make(self) -> Journal:
        return Sqlite(
            next(self.files),
            writer="inline",
            connect=Disk().connect,
            ballast=0,
            codec=Encryption(LocalKeys(bytes(32))),
        )


class TestSqliteThread(JournalContract):
    """The journal in a file, on a disk in memory, with its writer's thread."""

    trials = settings(max_examples=6, stateful_step_count=15, deadline=None)

    @pytest.fixture(autouse=True)
    def _folder(self, folder: Path) -> None:
        self.files = (folder / f"{number}.db" for number in itertools.count())

    def make(self) -> Journal:
        return Sqlite(next(self.files), connect=Disk().connect, ballast=0)

    async def die(self, journal: Any, /) -> Journal:
        journal.crash()
        return journal  # type: ignore[no-any-return]
