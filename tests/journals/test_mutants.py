"""The tests can tell: what would break a promise of the file or of a sink fails one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest

from genai_pipeline import _ledger
from genai_pipeline._journal import CallEnd
from genai_pipeline._ledger import Change
from genai_pipeline.errors import PipelineError
from genai_pipeline.journals import Memory, _book, _sql_calls
from genai_pipeline.journals._owner import OwnerLock
from genai_pipeline.sinks._line_file import LineFile
from genai_pipeline.testing import JournalContract
from tests.journals import test_disk_faults, test_sqlite
from tests.sinks import test_disk_faults as test_sinks

Patch = pytest.MonkeyPatch


class _Contract(JournalContract):
    __test__ = False

    def make(self) -> Any:
        return Memory()

    async def die(self, journal: Any, /) -> Any:
        journal.crash()
        return journal


def test_a_late_answer_that_is_rejected_is_noticed(monkeypatch: Patch) -> None:
    """Were an answer turned away that comes after its call was given up, it would show (M4)."""
    real = _ledger.settle

    def settle(state: Any, hold: int | None, charged: int, end: CallEnd) -> Change | None:
        return None if state == "unknown" else real(state, hold, charged, end)

    for module in (_book, _sql_calls):
        monkeypatch.setattr(module, "settle", settle)
    with pytest.raises(AssertionError):
        _Contract().test_a_call_ends_once_but_answers_may_be_late("asyncio")


def test_a_journal_that_is_taken_from_its_owner_is_noticed(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    """Were a journal in use let in whoever comes, it would show (M5)."""
    monkeypatch.setattr(OwnerLock, "acquire", lambda *_: None)
    with pytest.raises((AssertionError, PipelineError)):
        anyio.run(test_sqlite.test_a_second_opener_is_told_who_has_it, tmp_path)


def test_a_file_that_is_renamed_before_it_is_synced_is_noticed(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    """Were a sink's file published before its lines are on the disk, it would show (M8)."""
    monkeypatch.setattr(LineFile, "sync", lambda _: None)
    with pytest.raises((AssertionError, ValueError)):
        anyio.run(test_sinks.test_file_is_the_old_or_the_new_one, tmp_path, "power cut", True)


def test_a_failed_commit_that_is_believed_is_noticed(monkeypatch: Patch, folder: Path) -> None:
    """Were what a failed commit held taken for kept, it would show (M10)."""
    monkeypatch.setattr("genai_pipeline.journals._file.JournalFile._mend", lambda *_: None)
    with pytest.raises((AssertionError, PipelineError)):
        test_disk_faults.test_one_failure_is_decided_by_reading(folder, "sync", apsw.IOError)
