"""`JournalContract`: what every journal promises, as tests."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import anyio
import anyio.from_thread
import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from genai_pipeline._journal import CallEnd, Journal
from genai_pipeline.errors import AccountingError
from genai_pipeline.testing._journal_calls_contract import JournalCallsContract
from genai_pipeline.testing._journal_machine import JournalMachine
from genai_pipeline.testing._journal_records_contract import JournalRecordsContract
from genai_pipeline.testing._journal_samples import answered as _answered
from genai_pipeline.testing._journal_samples import begin as _begin
from genai_pipeline.testing._journal_samples import cancelled_after as _cancelled_after
from genai_pipeline.testing._journal_samples import end as _end
from genai_pipeline.testing._journal_samples import intent as _intent
from genai_pipeline.testing._journal_samples import use as _use
from genai_pipeline.testing._tables_contract import TablesContract

__all__ = ["JournalContract"]


class JournalContract(JournalRecordsContract, JournalCallsContract, TablesContract):
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

    def test_agrees_with_memory(self, anyio_backend_name: str) -> None:
        """Any sequence of operations does what it does with the journal in memory."""

        class Machine(JournalMachine):
            contract = self

        with anyio.from_thread.start_blocking_portal(anyio_backend_name) as portal:
            Machine.portal = portal
            run_state_machine_as_test(Machine, settings=self.trials)  # type: ignore[no-untyped-call,unused-ignore]

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
