"""What `Memory` keeps, and how it changes: a journal without waiting, files or threads."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from genai_pipeline._identity import Digests, group_id, item_id, record_id
from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    CallState,
    Claim,
    Group,
    Intent,
    ItemEnd,
    ItemState,
    PastCall,
    RawAnswer,
    RunInfo,
    Settled,
)
from genai_pipeline._journal_tables import TableRows
from genai_pipeline._ledger import Account, Change, given_up, reserve, settle
from genai_pipeline._lives import FINISHED, Life, ended, left_behind, taken_up
from genai_pipeline.errors import AccountingError, StorageFailed
from genai_pipeline.journals._book_table import BookTable

__all__ = ["Book", "BookCall", "BookItem", "BookRun"]


@attrs.define(eq=False)
class BookRun:
    """A run."""

    number: int
    info: RunInfo
    state: str = "running"
    ended: float | None = None
    counts: dict[str, int] = attrs.field(factory=dict)


@attrs.define(eq=False)
class BookItem:
    """One generation of a record."""

    item: bytes
    pipeline: str
    key: str | None
    """`None` when it was purged."""

    life: Life = attrs.field(factory=Life)
    end: ItemEnd | None = None
    reuses_from: int = 0
    """The generation whose calls, and those of later ones, may be used again."""

    subject: str | None = None
    """Whose data it is."""


@attrs.define(eq=False)
class BookCall:
    """A call."""

    number: int
    intent: Intent
    windows: tuple[tuple[str, str], ...]
    """Budget and window of each account that it counts in."""

    state: CallState = "inflight"
    charged: int = 0
    end: CallEnd | None = None
    answer: RawAnswer | None = None
    digest: bytes = b""


@attrs.define(eq=False)
class Book:
    """The runs, records, calls and accounts of a journal in memory; each method is one commit."""

    runs: dict[int, BookRun] = attrs.field(factory=dict)
    records: dict[bytes, list[BookItem]] = attrs.field(factory=dict)
    """The generations of each record, the latest last."""

    items: dict[bytes, BookItem] = attrs.field(factory=dict)
    calls: dict[int, BookCall] = attrs.field(factory=dict)
    calls_of: dict[bytes, list[BookCall]] = attrs.field(factory=dict)
    """By record, in the order in which they were begun."""

    bodies: dict[bytes, bytes] = attrs.field(factory=dict)
    """What was kept with groups, which are items that are no records."""

    group_of_member: dict[bytes, bytes] = attrs.field(factory=dict)
    subjects_of_group: dict[bytes, set[str]] = attrs.field(factory=dict)
    erased: dict[bytes, str] = attrs.field(factory=dict)
    """The pipelines of records that were erased."""

    erasing: set[str] = attrs.field(factory=set)
    """Subjects that are being erased."""

    tables: dict[str, BookTable] = attrs.field(factory=dict)
    accounts: dict[tuple[str, str], Account] = attrs.field(factory=dict)
    latest_window: dict[str, str] = attrs.field(factory=dict)
    last_call: int = 0

    # Owners.

    def recover(self, *, died: bool) -> None:
        """Put in order what an earlier owner left, who *died* or left in order."""
        for call in self.calls.values():
            if call.state == "inflight":
                self._apply(call, given_up(call.intent.hold))
        for item in self.items.values():
            if item.life.state == "claimed":
                item.life = left_behind(item.life, died=died)
        for run in self.runs.values():
            if run.state == "running":
                run.state = "died" if died else "stopped"

    # Runs.

    def begin_run(self, run: RunInfo) -> int:
        number = len(self.runs) + 1
        self.runs[number] = BookRun(number, run)
        return number

    def end_run(self, run: int, state: str, at: float, counts: Mapping[str, int]) -> None:
        known = self._run(run)
        known.state, known.ended, known.counts = state, at, dict(counts)

    def _run(self, run: int) -> BookRun:
        if run not in self.runs:
            raise AccountingError(f"the journal knows no run {run}")
        return self.runs[run]

    # Records.

    def latest(self, pipeline: str) -> Iterator[BookItem]:
        """Answer the records of *pipeline*, each in its latest generation."""
        for generations in self.records.values():
            if generations[-1].pipeline == pipeline:
                yield generations[-1]

    def finished(self, pipeline: str, fingerprint: str) -> Digests:
        erased = (record for record, name in self.erased.items() if name == pipeline)
        ended = (
            item.item[:-2]
            for item in self.latest(pipeline)
            if item.life.state == "dead"
            or (item.life.state in FINISHED and item.life.fingerprint == fingerprint)
        )
        return Digests.of(pipeline, sorted((*ended, *erased)))

    def counts(self, pipeline: str) -> dict[ItemState, int]:
        found: dict[ItemState, int] = {}
        for item in self.latest(pipeline):
            found[item.life.state] = found.get(item.life.state, 0) + 1
        return found

    def claim(self, run: int, key: str, subject: str | None = None) -> Claim:
        info = self._run(run).info
        record = record_id(info.pipeline, key)
        if subject in self.erasing:
            self.erased[record] = info.pipeline
        if record in self.erased:
            return Claim(item=item_id(record), state="filtered")
        if record not in self.records:
            self.add(BookItem(item_id(record), info.pipeline, key))
        item = self.records[record][-1]
        life = taken_up(item.life, run, info.fingerprint)
        if life is None:
            # What another worker carries is not this one's.
            carried = item.life.state == "claimed"
            return self.claimed(item, "ready" if carried else item.life.state)
        item.life, item.key = life, key
        item.subject = item.subject or subject
        return self.claimed(item, "claimed")

    def add(self, item: BookItem) -> None:
        """Keep a new generation of a record."""
        self.records.setdefault(item.item[:-2], []).append(item)
        self.items[item.item] = item

    def claimed(self, item: BookItem, state: ItemState) -> Claim:
        """Answer what is known of *item*."""
        oldest = item_id(item.item[:-2], item.reuses_from)
        calls = tuple(
            PastCall(
                call=call.number,
                key=call.intent.key,
                state=call.state,
                stage=call.intent.stage,
                hold=call.intent.hold or 0,
                at=call.intent.at,
            )
            for call in self.calls_of.get(item.item[:-2], ())
            if call.state != "void" and call.intent.item >= oldest
        )
        life = item.life
        return Claim(
            item=item.item,
            state=state,
            attempts=life.attempts,
            environment=life.environment,
            crashes=life.crashes,
            calls=calls,
            reuses_from=item.reuses_from,
        )

    def past_calls(self, keys: Sequence[str], pipeline: str) -> dict[str, Claim]:
        found = {}
        for key in keys:
            generations = self.records.get(record_id(pipeline, key))
            if generations:
                found[key] = self.claimed(generations[-1], generations[-1].life.state)
        return found

    def end_item(self, item: bytes, end: ItemEnd, rows: Sequence[TableRows] = ()) -> None:
        known = self._item(item)
        life = ended(known.life, end)
        if life is not None:
            known.life, known.end = life, end
            for each in rows:
                self.tables[each.table.name].put(item, each)

    # Groups.

    def freeze_group(
        self, run: int, members: Sequence[bytes], body: bytes, items: Collection[bytes] = ()
    ) -> Group:
        pipeline = self._run(run).info.pipeline
        item = group_id(pipeline, members)
        self.items[item] = BookItem(item, pipeline, None, Life(state="claimed", run=run))
        self.bodies[item] = body
        self.group_of_member.update(dict.fromkeys(members, item))
        subjects = {each for of in items for each in self._subjects(of)}
        if subjects:
            self.subjects_of_group[item] = subjects
        return self._group(item, "claimed")

    def _subjects(self, item: bytes) -> set[str]:
        known = self.items.get(item)
        own = {known.subject} if known is not None and known.subject else set()
        return own | self.subjects_of_group.get(item, set())

    def group_of(self, run: int, member: bytes) -> Group | None:
        item = self.group_of_member.get(member)
        if item is None:
            return None
        known = self.items[item]
        known.life = taken_up(known.life, run, self._run(run).info.fingerprint) or known.life
        return self._group(item, known.life.state)

    def _group(self, item: bytes, state: ItemState) -> Group:
        claim = self.claimed(self.items[item], state)
        return Group(
            item=item,
            state=state,
            body=self.bodies[item],
            environment=claim.environment,
            calls=claim.calls,
        )

    def _item(self, item: bytes) -> BookItem:
        if item not in self.items:
            raise AccountingError(f"the journal knows no record {item.hex()}")
        return self.items[item]

    # Calls and money.

    def begin_call(self, intent: Intent) -> int:
        self._run(intent.run)
        self._item(intent.item)
        accounts = reserve(
            [self._account(use) for use in intent.budgets], intent.budgets, intent.hold
        )
        for account in accounts:
            self.accounts[account.budget, account.window] = account
            self.latest_window[account.budget] = account.window
        self.last_call += 1
        windows = tuple((account.budget, account.window) for account in accounts)
        call = BookCall(self.last_call, intent, windows)
        self.calls[call.number] = call
        self.calls_of.setdefault(intent.item[:-2], []).append(call)
        return call.number

    def _account(self, use: BudgetUse) -> Account:
        window = max(use.window, self.latest_window.get(use.budget, ""))
        known = self.accounts.get((use.budget, window))
        return known or Account(use.budget, window, use.cap)

    def end_call(self, call: int, end: CallEnd) -> Settled:
        known = self._call(call)
        change = settle(known.state, known.intent.hold, known.charged, end)
        overrun: tuple[str, ...] = ()
        if change is not None:
            overrun = self._apply(known, change)
            known.end, known.answer = end, end.answer
            known.digest = _digest(end.answer)
        return Settled(
            state=known.state,
            charged=known.charged,
            overrun=overrun,
            spent={budget: self.accounts[budget, name].use for budget, name in known.windows},
        )

    def _apply(self, call: BookCall, change: Change) -> tuple[str, ...]:
        call.state, call.charged = change.state, change.charged
        for name in call.windows:
            self.accounts[name] = self.accounts[name].moved(change)
        if change.charged <= (call.intent.hold or 0):
            return ()
        return tuple(
            budget for budget, window in call.windows if self.accounts[budget, window].left < 0
        )

    def _call(self, call: int) -> BookCall:
        if call not in self.calls:
            raise AccountingError(f"the journal knows no call {call}")
        return self.calls[call]

    def answer(self, call: int) -> RawAnswer:
        known = self._call(call)
        if known.answer is None:
            raise StorageFailed(f"no answer of call {call} is kept: it is {known.state}")
        if _digest(known.answer) != known.digest:
            raise StorageFailed(f"the answer of call {call} is damaged")
        return attrs.evolve(known.answer, replayed=True)


def _digest(answer: RawAnswer | None) -> bytes:
    return b"" if answer is None else hashlib.blake2b(answer.body, digest_size=16).digest()
