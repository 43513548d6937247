"""`JournalContract`: what every journal promises, as tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

import anyio
import anyio.from_thread
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    ItemEnd,
    Journal,
    RawAnswer,
)
from genai_pipeline.errors import AccountingError, BudgetExhausted
from genai_pipeline.testing._journal_machine import JournalMachine
from genai_pipeline.testing._journal_samples import again as _again
from genai_pipeline.testing._journal_samples import answered as _answered
from genai_pipeline.testing._journal_samples import begin as _begin
from genai_pipeline.testing._journal_samples import cancelled_after as _cancelled_after
from genai_pipeline.testing._journal_samples import end as _end
from genai_pipeline.testing._journal_samples import intent as _intent
from genai_pipeline.testing._journal_samples import use as _use
from genai_pipeline.testing._tables_contract import TablesContract

__all__ = ["JournalContract"]

_ODD_KEYS = ["", " ", "a", "A", "a/b", "a\0b", "a\n", "clé", "cle\u0301", "\ud800", "x" * 5000]


class JournalContract(TablesContract):
    """
    Tests that a journal must pass; subclass it and override `make` and `die`.

    ::

        class TestMyJournal(JournalContract):
            def make(self):
                return MyJournal(new_storage())

            async def die(self, journal):
                return MyJournal(journal.storage)

    The heart is a state machine: any sequence of runs, claims, calls, ends, crashes, redrives and
    purges, in which the journal agrees with `journals.Memory`, no record is lost, and every
    budget's sums are those of its calls. What `JournalKeeper` has is tested if it is there.
    """

    trials: ClassVar[settings] = settings(max_examples=30, stateful_step_count=30, deadline=None)
    """How many sequences to try on each event loop, and how long ones."""

    def make(self) -> Journal:
        """Answer a new and empty journal, not entered; called many times."""
        raise NotImplementedError

    async def die(self, journal: Any, /) -> Journal:
        """
        Let the owner of *journal*, which is entered, die as by ``kill -9``.

        Answer a journal over what it left, not entered.
        """
        raise NotImplementedError

    def test_agrees_with_memory(self, anyio_backend_name: str) -> None:
        """Any sequence of operations does what it does with the journal in memory."""

        class Machine(JournalMachine):
            contract = self

        with anyio.from_thread.start_blocking_portal(anyio_backend_name) as portal:
            Machine.portal = portal
            run_state_machine_as_test(Machine, settings=self.trials)  # type: ignore[no-untyped-call,unused-ignore]

    def _run(self, backend: str, check: Callable[[Any], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.make() as journal:
                await check(journal)

        anyio.run(run, backend=backend)

    def test_a_finished_record_is_passed_by(self, anyio_backend_name: str) -> None:
        """What is done is finished under its fingerprint alone; what is dead under any."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            for key, state in (("a", "done"), ("b", "filtered"), ("c", "dead"), ("d", "ready")):
                await _end(journal, (await journal.claim(run, key)).item, state)
            same = await journal.finished("p", "f")
            other = await journal.finished("p", "g")
            assert [key in same for key in "abcd"] == [True, True, True, False]
            assert [key in other for key in "abcd"] == [False, False, True, False]
            assert (len(same), len(other)) == (3, 1)
            assert len(await journal.finished("another", "f")) == 0
            assert [(await journal.claim(run, key)).state for key in "abcd"] == [
                *("done", "filtered", "dead", "claimed")
            ]

        self._run(anyio_backend_name, check)

    def test_one_worker_carries_a_record(self, anyio_backend_name: str) -> None:
        """A record that is being carried is not another worker's; its end frees it."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            first = await journal.claim(run, "a")
            assert (first.state, (await journal.claim(run, "a")).state) == ("claimed", "ready")
            await _end(journal, first.item, "ready")
            assert (await journal.claim(run, "a")).state == "claimed"

        self._run(anyio_backend_name, check)

    def test_a_held_record_waits(self, anyio_backend_name: str) -> None:
        """What is held is taken up by a later run if it is to resume, and else by nobody."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            for key, resumes in (("person", False), ("money", True)):
                item = (await journal.claim(run, key)).item
                await journal.end_item(
                    item, ItemEnd(state="held", at=1.0, fingerprint="f", resumes=resumes)
                )
                assert (await journal.claim(run, key)).state == "held"
            later = await _begin(journal)
            assert (await journal.claim(later, "person")).state == "held"
            assert (await journal.claim(later, "money")).state == "claimed"

        self._run(anyio_backend_name, check)

    def test_any_text_is_a_key(self, anyio_backend_name: str) -> None:
        """Keys that are empty, long or hold odd characters are all different."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            items = {(await journal.claim(run, key)).item for key in _ODD_KEYS}
            assert len(items) == len(_ODD_KEYS)
            assert all(len(item) == 16 for item in items)
            assert set(await journal.past_calls([*_ODD_KEYS, "new"], "p")) == set(_ODD_KEYS)

        self._run(anyio_backend_name, check)

    def test_a_call_is_held_in_every_budget_or_in_none(self, anyio_backend_name: str) -> None:
        """A call that one budget has no room for is refused, and takes nothing from the others."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            both = (_use("wide", 100), _use("narrow", 10))
            with pytest.raises(BudgetExhausted) as refusal:
                await journal.begin_call(_intent(run, item, hold=11, budgets=both))
            assert (refusal.value.budget, refusal.value.waits) == ("narrow", False)
            call = await journal.begin_call(_intent(run, item, hold=10, budgets=both))
            with pytest.raises(BudgetExhausted) as refusal:
                await journal.begin_call(_intent(run, item, hold=1, budgets=both))
            assert refusal.value.waits
            settled = await journal.end_call(call, CallEnd(state="answered", at=2.0, cost=4))
            assert settled.spent == {"wide": (4, 0, 100), "narrow": (4, 0, 10)}

        self._run(anyio_backend_name, check)

    def test_a_cap_is_never_passed(self, anyio_backend_name: str) -> None:
        """However many calls are begun at once, no more is held than the budget has."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            begun: list[int] = []

            async def begin() -> None:
                try:
                    intent = _intent(run, item, hold=3, budgets=(_use("run", 100),))
                    begun.append(await journal.begin_call(intent))
                except BudgetExhausted:
                    pass

            async with anyio.create_task_group() as group:
                for _ in range(60):
                    group.start_soon(begin)
            assert len(begun) == len(set(begun)) == 33
            settled = await journal.end_call(begun[0], CallEnd(state="void", at=2.0, cost=3))
            assert settled.spent == {"run": (0, 96, 100)}

        self._run(anyio_backend_name, check)

    def test_a_window_that_is_over_stays_over(self, anyio_backend_name: str) -> None:
        """When the clock goes back, calls count in the latest window that was seen."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            for window in ("2026-11-27", "2026-11-26"):
                use = BudgetUse(budget="day", window=window, cap=10)
                call = await journal.begin_call(_intent(run, item, hold=5, budgets=(use,)))
            settled = await journal.end_call(call, CallEnd(state="unknown", at=2.0))
            assert settled.spent == {"day": (5, 5, 10)}

        self._run(anyio_backend_name, check)

    def test_what_a_call_costs(self, anyio_backend_name: str) -> None:
        """An answer counts at its cost, what is not known at the whole hold, a void not at all."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            for state, cost, charged in (
                ("answered", 4, 4),
                ("answered", None, 9),
                ("partial", 5, 5),
                ("partial", None, 9),
                ("unknown", 1, 9),
                ("abandoned", 1, 9),
                ("void", 4, 0),
            ):
                call = await journal.begin_call(_intent(run, item, hold=9))
                end = CallEnd(state=state, at=2.0, cost=cost)  # type: ignore[arg-type]
                assert (await journal.end_call(call, end)).charged == charged, state
            states = [call.state for call in (await _again(journal, item)).calls]
            assert states == ["answered", "answered", "partial", "partial", "unknown", "abandoned"]

        self._run(anyio_backend_name, check)

    def test_a_call_ends_once_but_answers_may_be_late(self, anyio_backend_name: str) -> None:
        """A second end changes nothing, save that an unknown call is answered, at its cost."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            budgets = (_use("run", 20),)
            late, void = [
                await journal.begin_call(_intent(run, item, hold=9, budgets=budgets))
                for _ in range(2)
            ]
            await journal.end_call(void, CallEnd(state="void", at=2.0))
            again = await journal.end_call(void, _answered(b"x", cost=9))
            assert (again.state, again.charged) == ("void", 0)
            await journal.end_call(late, CallEnd(state="unknown", at=2.0))
            settled = await journal.end_call(late, _answered(b"late", cost=25))
            assert (settled.state, settled.overrun) == ("answered", ("run",))
            assert settled.spent == {"run": (25, 0, 20)}
            twice = await journal.end_call(late, _answered(b"twice", cost=1))
            assert (twice.charged, twice.overrun) == (25, ())
            assert (await journal.answer(late)).body == b"late"

        self._run(anyio_backend_name, check)

    def test_an_unknown_call_is_void_when_nobody_executed_it(self, anyio_backend_name: str) -> None:
        """Proof that a call was never executed gives its money back; nothing does so afterwards."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            budgets = (_use("run", 20),)
            calls = [
                await journal.begin_call(_intent(run, item, hold=9, budgets=budgets))
                for _ in range(2)
            ]
            for call, then in zip(calls, ("unknown", "abandoned"), strict=True):
                await journal.end_call(call, CallEnd(state="unknown", at=2.0))
                await journal.end_call(call, CallEnd(state=then, at=2.0))  # type: ignore[arg-type]
            settled = await journal.end_call(calls[0], CallEnd(state="void", at=3.0))
            assert (settled.state, settled.charged) == ("void", 0)
            assert settled.spent == {"run": (9, 0, 20)}
            given_up = await journal.end_call(calls[1], CallEnd(state="void", at=3.0))
            assert (given_up.state, given_up.charged) == ("abandoned", 9)
            assert [call.at for call in (await _again(journal, item)).calls] == [1.0]

        self._run(anyio_backend_name, check)

    def test_answers_come_back_as_they_came(self, anyio_backend_name: str) -> None:
        """An answer's bytes, status and headers are given back, marked as replayed."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            for body in (b"", b"\0\xff" * 70_000):
                answer = RawAnswer(body=body, status=429, headers={"retry-after": "1", "é": "ü"})
                call = await journal.begin_call(_intent(run, item, hold=None))
                await journal.end_call(call, CallEnd(state="answered", at=2.0, answer=answer))
                expected = RawAnswer(body=body, status=429, headers=answer.headers, replayed=True)
                assert await journal.answer(call) == expected

        self._run(anyio_backend_name, check)

    def test_a_death_leaves_nothing_lost_and_nothing_free(self, anyio_backend_name: str) -> None:
        """After a crash, calls under way are unknown at their hold, records ready, a crash more."""

        async def check() -> None:
            journal: Any = self.make()
            await journal.__aenter__()
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            done = (await journal.claim(run, "b")).item
            await _end(journal, done, "done")
            answered, lost = [
                await journal.begin_call(_intent(run, item, hold=9, budgets=(_use("run", 20),)))
                for _ in range(2)
            ]
            await journal.end_call(answered, _answered(b"kept", cost=2))
            async with await self.die(journal) as left:
                assert await left.counts("p") == {"ready": 1, "done": 1}
                claim = await left.claim(await _begin(left), "a")
                assert (claim.state, claim.crashes, claim.attempts) == ("claimed", 1, 0)
                assert [(call.call, call.state) for call in claim.calls] == [
                    (answered, "answered"),
                    (lost, "unknown"),
                ]
                assert (await left.answer(answered)).body == b"kept"
                settled = await left.end_call(lost, _answered(b"", cost=1))
                assert settled.spent == {"run": (3, 0, 20)}

        anyio.run(check, backend=anyio_backend_name)

    def test_leaving_in_order_is_no_crash(self, anyio_backend_name: str) -> None:
        """What an owner that leaves has not ended is ready for the next, without a crash."""

        async def check() -> None:
            journal: Any = self.make()
            async with journal:
                await journal.claim(await _begin(journal), "a")
            async with journal:
                claim = await journal.claim(await _begin(journal), "a")
                assert (claim.state, claim.crashes) == ("claimed", 0)

        anyio.run(check, backend=anyio_backend_name)

    def test_a_group_stays_as_it_was_frozen(self, anyio_backend_name: str) -> None:
        """Who was gathered with whom, and what was paid for it, is there after a crash."""

        async def check() -> None:
            journal: Any = self.make()
            await journal.__aenter__()
            run = await _begin(journal)
            members = [bytes([number]) * 16 for number in range(3)]
            assert await journal.group_of(run, members[0]) is None
            group = await journal.freeze_group(run, "map", members, b"list")
            assert (group.state, group.body, group.calls) == ("claimed", b"list", ())
            call = await journal.begin_call(_intent(run, group.item))
            await journal.end_call(call, _answered(b"paid", cost=1))
            assert await journal.counts("p") == {}
            async with await self.die(journal) as left:
                run = await _begin(left)
                for member in members:
                    again = await left.group_of(run, member)
                    assert again is not None
                    assert (again.item, again.body) == (group.item, b"list")
                    assert [known.call for known in again.calls] == [call]
                await _end(left, group.item, "done")
                ended = await left.group_of(run, members[1])
                other = await left.group_of(await _begin(left, "g"), members[1])
                assert ended is not None
                assert other is not None
                assert (ended.state, other.state) == ("done", "claimed")
                assert (await left.answer(call)).body == b"paid"
                assert len(await left.finished("p", "f")) == 0

        anyio.run(check, backend=anyio_backend_name)

    def test_a_cancelled_beginning_leaves_nothing(self, anyio_backend_name: str) -> None:
        """A claim or an intent that is cancelled, at any moment, claims and holds nothing."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            intent = _intent(run, item, hold=10, budgets=(_use("run", 10),))
            void = CallEnd(state="void", at=2.0)
            for steps in range(4):
                for call in await _cancelled_after(steps, lambda: journal.begin_call(intent)):
                    await journal.end_call(call, void)
                await journal.end_call(await journal.begin_call(intent), void)
                for claim in await _cancelled_after(steps, lambda: journal.claim(run, "b")):
                    await _end(journal, claim.item, "ready")
                claim = await journal.claim(run, "b")
                assert claim.state == "claimed"
                await _end(journal, claim.item, "ready")

        self._run(anyio_backend_name, check)

    def test_an_end_is_noted_although_cancelled(self, anyio_backend_name: str) -> None:
        """The end of a call or a record is written and answered, whenever its task is cancelled."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            for steps in range(4):
                item = (await journal.claim(run, str(steps))).item
                call = await journal.begin_call(_intent(run, item))
                end = partial(journal.end_call, call, _answered(b"kept", cost=1))
                assert [told.state for told in await _cancelled_after(steps, end)] == ["answered"]
                assert (await journal.answer(call)).body == b"kept"
                assert len(await _cancelled_after(steps, partial(_end, journal, item, "done"))) == 1
                assert (await journal.claim(run, str(steps))).state == "done"

        self._run(anyio_backend_name, check)

    def test_what_is_unknown_is_told(self, anyio_backend_name: str) -> None:
        """A run, record or call that the journal does not know is an AccountingError."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            item = (await journal.claim(run, "a")).item
            for ask in (
                lambda: journal.claim(run + 1, "a"),
                lambda: journal.end_run(run + 1, "ended", 1.0, {}),
                lambda: journal.begin_call(_intent(run + 1, item)),
                lambda: journal.begin_call(_intent(run, bytes(16))),
                lambda: journal.end_call(99, CallEnd(state="void", at=1.0)),
                lambda: journal.answer(99),
                lambda: _end(journal, bytes(16), "done"),
            ):
                with pytest.raises(AccountingError, match="knows no"):
                    await ask()

        self._run(anyio_backend_name, check)
