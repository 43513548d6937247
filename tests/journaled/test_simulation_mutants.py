"""The simulation can tell: each way to break a promise on purpose is found within a few worlds."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

import attrs
import pytest

from genai_pipeline import _ledger, _lives, _recorder
from genai_pipeline._journal import CallEnd, CallState, Group, Intent, ItemEnd
from genai_pipeline._journal_tables import PendingRows
from genai_pipeline._journaled import JournaledCarrier
from genai_pipeline._ledger import Change
from genai_pipeline._lives import Life
from genai_pipeline._recorder import Recorder
from genai_pipeline._run_journal import RunJournal
from genai_pipeline.journals import Sqlite, _book, _erase, _recovery
from genai_pipeline.journals._file import JournalFile
from genai_pipeline.journals._sql_rows import EndedRows, put_rows

from . import simulated_ports, simulation
from .simulation import simulate
from .sweep import plan_of

WORLDS = 300

Patch = pytest.MonkeyPatch


def sync_nothing(patch: Patch) -> None:
    """Do not wait until a commit has reached the disk (M1)."""
    real = simulated_ports.Life.open_journal

    def open_journal(self: simulated_ports.Life) -> None:
        real(self)
        if isinstance(self.inner, Sqlite):
            self.inner.synchronous = "NORMAL"

    patch.setattr(simulated_ports.Life, "open_journal", open_journal)


def try_a_failed_commit_again(patch: Patch) -> None:
    """Commit once more after the disk failed, and believe it (M10)."""

    def mend(self: JournalFile, *_: object) -> None:
        with suppress(sqlite3.Error):
            self.tables.connection.execute("COMMIT")

    patch.setattr(JournalFile, "_mend", mend)


def hold_nothing_after_a_crash(patch: Patch) -> None:
    """Give the money of calls that were under way at a crash back (M2)."""

    def given_up(hold: int | None) -> Change:
        return Change("unknown", 0, -(hold or 0), 0)

    patch.setattr(_book, "given_up", given_up)
    patch.setattr(_recovery, "given_up", given_up)


def hold_nothing_for_lost_answers(patch: Patch) -> None:
    """Let calls of unknown outcome cost nothing."""
    real = _ledger._charge
    patch.setattr(
        _ledger, "_charge", lambda end, held: 0 if end.state == "unknown" else real(end, held)
    )


def hold_too_little(patch: Patch) -> None:
    """Hold an eighth of what a call can cost."""
    real = Recorder._intent

    def intent(self: Recorder, *given: Any) -> Intent:
        made = real(self, *given)
        return attrs.evolve(made, hold=None if made.hold is None else made.hold // 8)

    patch.setattr(Recorder, "_intent", intent)


def read_before_keeping(patch: Patch) -> None:
    """Give answers out first, and keep them when the record ends (M6)."""
    waiting: dict[int, list[tuple[Any, ...]]] = {}
    end_call, settle = RunJournal.end_call, JournaledCarrier._settle

    async def later(self: RunJournal, call: int, end: CallEnd, *given: Any) -> Any:
        if end.state != "answered":
            return await end_call(self, call, end, *given)
        waiting.setdefault(id(self), []).append((call, end, *given))
        return None

    async def now(self: JournaledCarrier, *given: Any) -> None:
        for each in waiting.pop(id(self.journal), ()):
            await end_call(self.journal, *each)
        await settle(self, *given)

    patch.setattr(RunJournal, "end_call", later)
    patch.setattr(JournaledCarrier, "_settle", now)


def gather_anew(patch: Patch) -> None:
    """Form groups anew when a run goes on (M9)."""

    async def none(self: Recorder, member: bytes, /) -> Group | None:
        return None

    patch.setattr(Recorder, "group_of", none)


def blame_the_record(patch: Patch) -> None:
    """Count faults of the environment against the record (M11)."""
    real = JournaledCarrier._item_end

    def item_end(self: JournaledCarrier, *given: Any) -> ItemEnd:
        end = real(self, *given)
        return attrs.evolve(end, own_fault=end.own_fault or end.environment_fault)

    patch.setattr(JournaledCarrier, "_item_end", item_end)


def leave_behind(patch: Patch) -> None:
    """Do not look for what a dead process left behind (M12)."""

    def left_behind(life: Life, *, died: bool) -> Life:
        return life

    patch.setattr(_book, "left_behind", left_behind)
    patch.setattr(_recovery, "left_behind", left_behind)


def claim_twice(patch: Patch) -> None:
    """Give a record that is carried to whoever asks, journal and engine alike (M3)."""
    real = _lives.taken_up

    def taken_up(life: Life, run: int, fingerprint: str) -> Life | None:
        return life if life.state == "claimed" else real(life, run, fingerprint)

    patch.setattr(_book, "taken_up", taken_up)

    class Forgetful(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            return False

        def pop(self, key: str, default: Any = None) -> Any:
            return super().pop(key, default)

    init = JournaledCarrier.__init__

    def forgetful(self: JournaledCarrier, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        object.__setattr__(self, "_carried", Forgetful())

    patch.setattr(JournaledCarrier, "__init__", forgetful)


def buy_again(patch: Patch) -> None:
    """Do not look for answers that are kept."""
    patch.setattr(Recorder, "_take", lambda *_: None)


def tell_the_source_first(patch: Patch) -> None:
    """Tell the source of an end before the journal has it."""
    real = JournaledCarrier._settle

    async def settle(self: JournaledCarrier, *given: Any) -> None:
        delivery, _, outcome, error, _ = given
        await delivery.settle(error if outcome == "handed_back" else None)
        await real(self, *given)

    patch.setattr(JournaledCarrier, "_settle", settle)


def end_before_the_sink(patch: Patch) -> None:
    """Note a record as done before its output is written."""
    real = JournaledCarrier._work

    async def work(self: JournaledCarrier, walk: Any) -> Any:
        await self.journal.end_item(walk.recorder.item, self._item_end(walk, "written", None))
        return await real(self, walk)

    patch.setattr(JournaledCarrier, "_work", work)


def let_cancellation_through(patch: Patch) -> None:
    """Let a cancelled run drop an answer that it has in hand."""
    patch.setattr(Sqlite, "_do_surely", Sqlite._do)


def forget_an_unknown_call(patch: Patch) -> None:
    """Take a call whose answer was lost for one that was never made."""

    def failed(error: BaseException, *, unknown: bool, at: float) -> CallEnd:
        state: CallState = "void"
        return CallEnd(state=state, at=at, error=type(error).__name__)

    patch.setattr(_recorder, "_failed", failed)


def write_rows_apart(patch: Patch) -> None:
    """Note the end of a record, and write its rows in another commit."""

    async def write(inner: Any, item: bytes, rows: Any) -> None:
        if isinstance(inner, Sqlite):
            told = [EndedRows(item, rows, known=True)]
            await inner._ask(lambda tables: put_rows(tables, told))
        else:
            for each in rows:
                inner._book.tables[each.table.name].put(item, each)

    class Apart(simulated_ports.JournalPort):
        async def end_item(self, item: bytes, end: ItemEnd, /, *, rows: Any = ()) -> None:
            await super().end_item(item, end)
            await self.life.use("end_item", lambda: write(self.life.inner, item, rows))

    patch.setattr(simulation, "JournalPort", Apart)


def write_rows_of_lists_with_records(patch: Patch) -> None:
    """Note a list as done, and write its rows with the end of the record that carried it."""
    patch.setattr(PendingRows, "of_group", lambda self, _: self._in_tables([]))
    patch.setattr(PendingRows, "of_record", lambda self, _: self._in_tables(self._rows.values()))


def leave_what_was_dropped(patch: Patch) -> None:
    """Drop the rows of who is erased, and leave them in pages and log."""
    patch.setattr(_erase, "clean", lambda _: None)


def erase_neighbours(patch: Patch) -> None:
    """Erase the records of all subjects, when it is to be one."""
    real = _erase._items

    def items(tables: Any, owner: int) -> tuple[list[bytes], list[bytes]]:
        records, groups = real(tables, owner)
        others = tables.all("SELECT item FROM item WHERE latest AND owner <> ?", owner)
        return [*records, *(row[0] for row in others)], groups

    patch.setattr(_erase, "_items", items)


def forget_who_was_erased(patch: Patch) -> None:
    """Keep no digest by which an erased record is passed by."""
    patch.setattr(_erase, "tombstone", lambda *_: bytes(14))


MUTANTS = [
    write_rows_apart,
    write_rows_of_lists_with_records,
    sync_nothing,
    try_a_failed_commit_again,
    hold_nothing_after_a_crash,
    hold_nothing_for_lost_answers,
    hold_too_little,
    read_before_keeping,
    gather_anew,
    blame_the_record,
    leave_behind,
    claim_twice,
    buy_again,
    tell_the_source_first,
    end_before_the_sink,
    let_cancellation_through,
    forget_an_unknown_call,
    leave_what_was_dropped,
    erase_neighbours,
    forget_who_was_erased,
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
@pytest.mark.thorough
def test_a_broken_promise_is_noticed(mutant: Any, monkeypatch: Patch) -> None:
    """Each fault built in on purpose makes some world of the first few hundred wrong."""
    mutant(monkeypatch)
    for seed in range(WORLDS):
        try:
            found = simulate(plan_of(seed)).found
        except Exception as error:  # noqa: BLE001 - the library's own checks may notice first
            found = [repr(error)]
        if found:
            print(f"{mutant.__name__}: world {seed}: {found[0]}")
            return
    pytest.fail(f"{WORLDS} worlds did not notice")
