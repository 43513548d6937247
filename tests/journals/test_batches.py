"""What is asked for at once comes to what it comes to one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline._journal import CallEnd, Claim
from genai_pipeline._journal_tables import TableRows
from genai_pipeline.clock import SystemClock
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals import Encryption, LocalKeys
from genai_pipeline.journals import _erase as erasing
from genai_pipeline.journals import _sql_calls as calls
from genai_pipeline.journals import _sql_records as records
from genai_pipeline.journals._ballast import Ballast
from genai_pipeline.journals._file import JournalFile
from genai_pipeline.journals._operation import Bulk, Operation
from genai_pipeline.journals._sql_rows import open_table
from genai_pipeline.journals._tables import Tables
from tests.journals.disk import Disk
from tests.journals.script import TABLE, answered, ended, intent, item, run_info

Batch: TypeAlias = tuple[Bulk, Sequence[Any]]

_KEYS = "abcdefghijklmnopqrst"
_SUBJECTS = (None, "ann", "bob")
_TABLES = ("run", "ending", "call", "answer", "budget", "cap", "word", "erased")
_ITEMS = (
    "SELECT item, latest, pipeline, key, state, run, reuses_from, fingerprint, resumes, attempts, "
    "environment, crashes, ended, owner IS NULL, "
    "(SELECT min(other.item) FROM item AS other WHERE other.owner = item.owner) FROM item "
    "ORDER BY item"
)
"""Which records are of the same subject, whose number is drawn by lot."""


def _ends(state: Any) -> st.SearchStrategy[CallEnd]:
    if state == "answered":
        return st.builds(answered, st.sampled_from((0, 256)), st.integers(0, 20))
    return st.just(CallEnd(state=state, at=3.0, error="Refused"))


def _ended_call(call: int, end: CallEnd) -> calls.EndedCall:
    return calls.EndedCall(call, end, None if end.answer is None else (end.answer.body, None))


def _ended_item(key: str, state: Any, left: dict[str, int] | None) -> records.EndedItem:
    end = ended(state)
    letter = None if end.letter is None else (end.letter, None)
    # Of each size, the table takes one row.
    rows = [] if left is None else [TableRows(TABLE, tuple((k, k, n) for k, n in left.items()))]
    return records.EndedItem(item(key), end, letter, rows)


def _several(bulk: Bulk, one: st.SearchStrategy[Any]) -> st.SearchStrategy[Batch]:
    return st.tuples(st.just(bulk), st.lists(one, min_size=1, max_size=90))


_CLAIMS = _several(
    records.claims, st.tuples(st.integers(1, 2), st.sampled_from(_KEYS), st.sampled_from(_SUBJECTS))
)
_INTENTS = _several(
    calls.begin_calls, st.builds(intent, st.sampled_from(_KEYS), st.integers(0, 300))
)
_CALL_ENDS = _several(
    calls.end_calls,
    st.builds(
        _ended_call,
        st.integers(1, 60),
        st.sampled_from(("answered", "void", "unknown", "abandoned")).flatmap(_ends),
    ),
)
_ITEM_ENDS = _several(
    records.end_items,
    st.builds(
        _ended_item,
        st.sampled_from(_KEYS),
        st.sampled_from(("ready", "done", "dead")),
        st.none() | st.dictionaries(st.sampled_from("xyz"), st.integers(0, 40), max_size=2),
    ),
)


def _file(folder: Path, disk: Disk | None = None, codec: Encryption | None = None) -> JournalFile:
    disk = disk or Disk()
    file = JournalFile(
        path=folder / "run.db",
        connect=disk.connect,
        clock=SystemClock(),
        ballast=Ballast(folder / "ballast", 0),
        checkpoint_bytes=8 << 20,
        codec=codec,
    )
    file.open()
    return file


def _begin(tables: Tables) -> None:
    records.begin_run(tables, run_info())
    open_table(tables, TABLE)
    tables.do("CREATE UNIQUE INDEX once ON out (size)")


def _carried_out(folder: Path, batches: Sequence[Batch], *, at_once: bool) -> list[object]:
    """Answer what came of each operation, and the tables in the end."""
    folder.mkdir(exist_ok=True)
    file = _file(folder)
    asked = [Operation(_begin)]
    for bulk, several in batches:
        asked += [Operation(None, bulk=bulk, given=each) for each in several]
    try:
        if at_once:
            file.carry_out(asked[:1])
            begin = 1
            for _, several in batches:
                file.carry_out(asked[begin : begin + len(several)])
                begin += len(several)
        else:
            for each in asked:
                file.carry_out([each])
        return [
            *((each.result, type(each.error), str(each.error)) for each in asked),
            *(file.tables.all(f"SELECT * FROM {table}") for table in _TABLES),
            file.tables.all(_ITEMS),
            file.tables.all("SELECT count(*) FROM owner"),
            file.tables.all("SELECT * FROM out ORDER BY key"),
        ]
    finally:
        file.crash()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_CLAIMS, _CLAIMS, _INTENTS, _CALL_ENDS, _ITEM_ENDS), max_size=8))
def test_a_batch_is_as_good_as_its_parts(tmp_path_factory: Any, batches: list[Batch]) -> None:
    """Asked for together or one by one: answers, refusals, money and rows are the same."""
    folder = tmp_path_factory.mktemp("journals")
    together = _carried_out(folder / "together", batches, at_once=True)
    alone = _carried_out(folder / "alone", batches, at_once=False)
    assert together == alone


def test_a_batch_that_fails_halfway_is_done_again_one_by_one(folder: Path) -> None:
    """What one operation breaks is its own loss, also when others of its kind are with it."""
    file = _file(folder)

    def keep(tables: Tables, given: Sequence[str]) -> list[int]:
        numbers = [tables.name(text) for text in given]
        if "bad" in given:
            raise AccountingError("on purpose")
        return numbers

    try:
        asked = [Operation(None, bulk=keep, given=text) for text in ("good", "bad", "better")]
        file.carry_out(asked)
        assert [type(each.error) for each in asked] == [type(None), AccountingError, type(None)]
        assert file.tables.known("bad") == 0
        assert file.tables.known("better") == asked[2].result
    finally:
        file.crash()


@pytest.mark.parametrize("codec", [None, Encryption(LocalKeys(bytes(32)))])
def test_what_is_erased_is_told_apart_in_a_batch(folder: Path, codec: Encryption | None) -> None:
    """Claimed together with others, what was erased is passed by, and the rest is kept."""
    disk = Disk()
    file = _file(folder, disk, codec)
    before = _claimed(file, {"a": "ann", "b": "bob", "z": None}, begin=True)
    ends = [records.EndedItem(each.item, ended("done")) for each in before.values()]
    file.carry_out([Operation(None, bulk=records.end_items, given=each) for each in ends])
    file.carry_out([Operation(_erase_ann)])
    assert file.tables.has_erased
    found = _claimed(file, {"a": None, "b": "bob", "c": "ann", "d": None, "e": "eve"})
    states = {key: claim.state for key, claim in found.items()}
    assert states == {"a": "filtered", "b": "done", "c": "claimed", "d": "claimed", "e": "claimed"}
    file.crash()
    again = _file(folder, disk, codec)
    try:
        rows = dict(again.tables.all("SELECT item, key FROM item WHERE state = 'ready'"))
        keys = {records.key_of(again.tables, each, kept) for each, kept in rows.items()}
        assert keys == {"c", "d", "e"}
    finally:
        again.crash()


def _claimed(
    file: JournalFile, subjects: Mapping[str, str | None], *, begin: bool = False
) -> dict[str, Claim]:
    """Claim records at once; answer what came of each."""
    if begin:
        file.carry_out([Operation(lambda tables: records.begin_run(tables, run_info()))])
    asked = [
        Operation(None, "intent", bulk=records.claims, given=(1, key, subject))
        for key, subject in subjects.items()
    ]
    file.carry_out(asked)
    return {key: each.outcome() for key, each in zip(subjects, asked, strict=True)}


def _erase_ann(tables: Tables) -> None:
    owner = erasing.begin(tables, "ann")
    assert owner is not None
    told = records.claims(tables, [(1, "new", "ann"), (1, "newer", "ann")])
    assert [getattr(each, "state", each) for each in told] == ["filtered", "filtered"]
    assert erasing.erase_unless_carried(tables, owner, "ann") is not None
    erasing.end(tables, owner)
