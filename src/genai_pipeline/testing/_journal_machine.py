"""Any sequence of operations on a journal, beside the same on `Memory`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

import attrs
from anyio.from_thread import BlockingPortal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Claim,
    Intent,
    ItemEnd,
    RawAnswer,
    RunInfo,
    Settled,
)
from genai_pipeline._journal_admin import COST_NAMES, KeptRecord, OpenCall, Selector
from genai_pipeline._journal_tables import Column, TableRows, TableSchema
from genai_pipeline.errors import ConfigurationError, PipelineError
from genai_pipeline.journals import Memory
from genai_pipeline.messages import Usage

__all__ = ["JournalMachine"]

_PIPELINE = "pipeline"
_KEYS = ("a", "b", "clé\ud800")
_SUBJECTS = ("ann", "bob")
_BUDGETS = ("run", "day tenant=é")
_WINDOWS = ("2026-11-26", "2026-11-27")
_NANOS = st.integers(0, 6)
_TABLE = TableSchema("out", (Column("number", "integer"),))


class Contract(Protocol):
    """What the machine asks of `JournalContract`."""

    def make(self) -> Any: ...

    async def die(self, journal: Any, /) -> Any: ...


@attrs.define
class _Call:
    """What the machine itself knows of a call, to add up the money a second time."""

    hold: int
    accounts: list[tuple[str, str]]
    record: bytes
    state: str = "inflight"
    charged: int = 0


class JournalMachine(RuleBasedStateMachine):
    """A journal beside `Memory`, one event loop for all steps."""

    portal: ClassVar[BlockingPortal]
    contract: ClassVar[Contract]

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.run = 0
        self.admitted: set[str] = set()
        self.erased: set[str] = set()
        self.items: list[bytes] = []
        self.calls: dict[int, _Call] = {}
        self.windows: dict[str, str] = {}
        self.journal = self.contract.make()
        self.model = Memory()
        self.keeps = hasattr(self.journal, "redrive")
        self.erases = hasattr(self.journal, "erase")
        self.theirs: dict[bytes, bytes] = {}
        """What the journal calls a record, by what the model does."""
        self.subjects: dict[str, str] = {}
        self._on_both(lambda journal: journal.__aenter__(), compare=False)
        self.tables = self._opens_tables()

    def _opens_tables(self) -> bool:
        """Open the table if the journal keeps any; one that is encrypted may refuse to."""
        if not hasattr(self.journal, "open_table"):
            return False
        refused: list[PipelineError] = []

        async def open_it(journal: Any) -> None:
            try:
                await journal.open_table(_TABLE)
            except ConfigurationError as error:
                refused.append(error)

        self._on_both(open_it)
        return not refused

    def teardown(self) -> None:
        self._on_both(lambda journal: journal.__aexit__(None, None, None), compare=False)

    def _on_both(
        self, ask: Callable[[Any], Awaitable[Any]], *, compare: bool = True
    ) -> tuple[Any, PipelineError | None]:
        async def do(journal: Any) -> tuple[Any, PipelineError | None]:
            try:
                return await ask(journal), None
            except PipelineError as error:
                return None, error

        expected: tuple[Any, PipelineError | None] = self.portal.call(do, self.model)
        found = self.portal.call(do, self.journal)
        if compare:
            assert self._ours(found[0]) == expected[0]
            assert type(found[1]) is type(expected[1]), found[1]
            assert getattr(found[1], "waits", 0) == getattr(expected[1], "waits", 0)
        return expected

    def _ours(self, told: Any) -> Any:
        """Answer what the journal told with records called as the model does."""
        if isinstance(told, Mapping):
            return {key: self._ours(value) for key, value in told.items()}
        if isinstance(told, list | tuple):
            return type(told)(self._ours(value) for value in told)
        if isinstance(told, Claim | KeptRecord | OpenCall):
            ours = {theirs: ours for ours, theirs in self.theirs.items()}
            return attrs.evolve(told, item=ours[told.item[:-2]] + told.item[-2:])
        return told

    def _name(self, journal: Any, item: bytes) -> bytes:
        """Answer what *journal* calls the record that the model calls *item*."""
        return item if journal is self.model else self.theirs[item[:-2]] + item[-2:]

    def _time(self) -> float:
        self.now += 1.0
        return self.now

    @initialize()
    def first_run(self) -> None:
        self._begin("f")

    @rule(fingerprint=st.sampled_from("fg"))
    def begin_run(self, fingerprint: str) -> None:
        self._begin(fingerprint)

    def _begin(self, fingerprint: str) -> None:
        info = RunInfo(
            pipeline=_PIPELINE,
            fingerprint=fingerprint,
            stages=("map",),
            began=self._time(),
            version="1",
        )
        self.run, _ = self._on_both(lambda journal: journal.begin_run(info))

    @rule(state=st.sampled_from(["ended", "stopped", "failed"]))
    def end_run(self, state: str) -> None:
        at = self._time()
        self._on_both(lambda journal: journal.end_run(self.run, state, at, {"read": 1}))

    @rule(key=st.sampled_from(_KEYS), subject=st.sampled_from([None, *_SUBJECTS]))
    def claim(self, key: str, subject: str | None) -> None:
        told = {} if subject is None or not self.erases else {"subject": subject}

        async def take(journal: Any) -> Claim:
            claim: Claim = await journal.claim(self.run, key, **told)
            if journal is self.model:
                ours.append(claim.item[:-2])
            else:
                self.theirs[ours[0]] = claim.item[:-2]
            return claim

        ours: list[bytes] = []
        claim, _ = self._on_both(take)
        assert isinstance(claim, Claim)
        if key in self.erased:
            assert claim.state == "filtered"
            return
        self.admitted.add(key)
        if told and claim.state == "claimed":
            self.subjects.setdefault(key, told["subject"])
        self.items = [*self.items, claim.item][-6:]

    @precondition(lambda self: self.items)
    @rule(
        data=st.data(),
        hold=st.none() | _NANOS,
        uses=st.lists(
            st.tuples(st.sampled_from(_BUDGETS), st.sampled_from(_WINDOWS), st.integers(5, 20)),
            max_size=2,
            unique_by=lambda use: use[0],
        ),
        tenant=st.sampled_from(["", "é"]),
    )
    def begin_call(
        self, data: st.DataObject, hold: int | None, uses: list[tuple[str, str, int]], tenant: str
    ) -> None:
        at = self._time()
        item = data.draw(st.sampled_from(self.items))
        intent = Intent(
            run=self.run,
            item=item,
            stage="map",
            key=b"k" * 16,
            provider="openai",
            model=data.draw(st.sampled_from(["small", "large"])),
            at=at,
            deadline=at + 60,
            hold=hold,
            budgets=tuple(
                BudgetUse(budget=name, window=window, cap=cap) for name, window, cap in uses
            ),
            labels={"tenant": tenant} if tenant else {},
        )
        number, error = self._on_both(
            lambda journal: journal.begin_call(attrs.evolve(intent, item=self._name(journal, item)))
        )
        if error is None:
            for name, window, _ in uses:
                self.windows[name] = max(window, self.windows.get(name, ""))
            accounts = [(name, self.windows[name]) for name, _, _ in uses]
            self.calls[number] = _Call(hold or 0, accounts, item[:-2])

    @precondition(lambda self: self.calls)
    @rule(
        data=st.data(),
        state=st.sampled_from(["answered", "void", "partial", "unknown", "abandoned"]),
        cost=st.none() | _NANOS,
        error=st.none() | st.just("InvalidAnswer"),
    )
    def end_call(
        self, data: st.DataObject, state: Any, cost: int | None, error: str | None
    ) -> None:
        number = data.draw(st.sampled_from(sorted(self.calls)))
        body = data.draw(st.binary(max_size=20)) if state == "answered" else None
        end = CallEnd(
            state=state,
            at=self._time(),
            cost=cost,
            usage=None if cost is None else Usage(input_tokens=cost, reasoning_tokens=2),
            answer=None if body is None else RawAnswer(body=body, headers={"a": "b"}),
            error=error,
        )
        settled, refused = self._on_both(lambda journal: journal.end_call(number, end))
        if refused is None:
            assert isinstance(settled, Settled)
            self.calls[number].state = settled.state
            self.calls[number].charged = settled.charged

    @precondition(lambda self: self.items)
    @rule(
        data=st.data(),
        state=st.sampled_from(["ready", "held", "done", "filtered", "dead"]),
        fingerprint=st.sampled_from("fg"),
        flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
        error=st.sampled_from([None, "Refused", "Timeout"]),
        rows=st.none() | st.dictionaries(st.sampled_from(["x", "y", "é"]), st.integers(0, 9)),
    )
    def end_item(  # noqa: PLR0917 - what is drawn, by name
        self,
        data: st.DataObject,
        state: Any,
        fingerprint: str,
        flags: tuple[bool, bool, bool],
        error: str | None,
        rows: dict[str, int] | None,
    ) -> None:
        resumes, own_fault, environment_fault = flags
        end = ItemEnd(
            state=state,
            at=self._time(),
            fingerprint=fingerprint,
            stage=None if error is None else "map",
            error=error,
            message=error,
            category=None if error is None else "permanent",
            letter=b"{}" if state == "dead" else None,
            resumes=resumes,
            own_fault=own_fault,
            environment_fault=environment_fault,
        )
        item = data.draw(st.sampled_from(self.items))
        told: dict[str, Any] = {}
        if self.tables and rows is not None:
            told = {"rows": [TableRows(_TABLE, tuple(rows.items()))]}
        self._on_both(lambda journal: journal.end_item(self._name(journal, item), end, **told))

    @rule(died=st.booleans())
    def owner_goes_and_another_comes(self, died: bool) -> None:  # noqa: FBT001
        async def go() -> None:
            if died:
                self.model.crash()
                self.journal = await self.contract.die(self.journal)
            else:
                await self.model.__aexit__(None, None, None)
                await self.journal.__aexit__(None, None, None)
            await self.model.__aenter__()
            await self.journal.__aenter__()

        self.portal.call(go)
        for call in self.calls.values():
            if call.state == "inflight":
                call.state, call.charged = "unknown", call.hold
        self._begin("f")

    @precondition(lambda self: self.keeps)
    @rule(error=st.sampled_from([None, "Refused"]), reuse=st.booleans())
    def redrive(self, error: str | None, reuse: bool) -> None:  # noqa: FBT001
        self._on_both(lambda journal: journal.redrive(Selector(error=error), reuse=reuse))

    @precondition(lambda self: self.keeps)
    @rule(keys=st.sampled_from([(), ("a",), _KEYS[2:]]))
    def release(self, keys: tuple[str, ...]) -> None:
        held = [call for call in self.calls.values() if call.state == "unknown"]
        self._on_both(lambda journal: journal.release(Selector(state="held", keys=keys)))
        assert all(call.charged == call.hold for call in held)

    @precondition(lambda self: self.keeps)
    @rule(ago=st.integers(0, 10))
    def purge(self, ago: int) -> None:
        before = self.now - ago
        would, _ = self._on_both(lambda journal: journal.purge(before, dry_run=True))
        purged, _ = self._on_both(lambda journal: journal.purge(before))
        assert purged == would

    @precondition(lambda self: self.erases)
    @rule(subject=st.sampled_from(_SUBJECTS))
    def erase(self, subject: str) -> None:
        would, _ = self._on_both(lambda journal: journal.erase(subject, dry_run=True))
        keys = {key for key, whose in self.subjects.items() if whose == subject}
        past = self.portal.call(self.model.past_calls, sorted(keys), _PIPELINE)
        under_way = {call.record for call in self.calls.values() if call.state == "inflight"}
        if any(claim.state == "claimed" or claim.item[:-2] in under_way for claim in past.values()):
            return  # it would wait
        erased, _ = self._on_both(lambda journal: journal.erase(subject))
        assert erased == would
        assert set(would.keys) <= keys
        gone = {claim.item[:-2] for claim in past.values()}
        self.items = [item for item in self.items if item[:-2] not in gone]
        self.erased |= keys
        self.admitted -= keys
        for key in keys:
            del self.subjects[key]

    @invariant()
    def agrees_with_memory(self) -> None:
        async def look(journal: Any) -> tuple[Any, ...]:
            fingerprints = [await journal.finished(_PIPELINE, name) for name in "fg"]
            past = await journal.past_calls(_KEYS, _PIPELINE)
            seen = (
                await journal.counts(_PIPELINE),
                [[key in finished for key in _KEYS] for finished in fingerprints],
                [len(finished) for finished in fingerprints],
                past,
                [
                    await journal.answer(call.call)
                    for claim in past.values()
                    for call in claim.calls
                    if call.state == "answered" and call.call in self.with_answers
                ],
            )
            rows = await journal.rows(_TABLE.name) if self.tables else ()
            return (*seen, rows, await self._kept(journal)) if self.keeps else (*seen, rows)

        self._on_both(look)

    @property
    def with_answers(self) -> set[int]:
        return {number for number, call in self.calls.items() if call.state == "answered"}

    async def _kept(self, journal: Any) -> tuple[Any, ...]:
        dead = await journal.records(Selector())
        return (
            await journal.runs(),
            dead,
            [await journal.letter(record.item) for record in dead],
            await journal.records(Selector(state="held", since=2.0)),
            await journal.open_calls(),
            await journal.budgets(),
            await journal.costs(("tenant", *COST_NAMES)),
            await journal.costs((), run=self.run),
        )

    @invariant()
    def no_record_is_lost(self) -> None:
        counts = self.portal.call(self.journal.counts, _PIPELINE)
        assert sum(counts.values()) == len(self.admitted)

    @precondition(lambda self: self.keeps)
    @invariant()
    def money_adds_up(self) -> None:
        reserved: Counter[tuple[str, str]] = Counter()
        spent: Counter[tuple[str, str]] = Counter()
        for call in self.calls.values():
            for account in call.accounts:
                if call.state == "inflight":
                    reserved[account] += call.hold
                spent[account] += call.charged
        dearer = any(call.charged > call.hold for call in self.calls.values())
        for line in self.portal.call(self.journal.budgets):
            name = (line.budget, line.window)
            assert (line.reserved, line.spent) == (reserved[name], spent[name])
            assert line.overrun == (line.spent + line.reserved > line.cap)
            assert dearer or not line.overrun
