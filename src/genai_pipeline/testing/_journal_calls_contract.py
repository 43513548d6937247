"""The part of `JournalContract` that is about calls: their money, their ends and their answers."""

from __future__ import annotations

import anyio
import pytest

from genai_pipeline._journal import BudgetUse, CallEnd, Journal, RawAnswer
from genai_pipeline.errors import BudgetExhausted
from genai_pipeline.testing._journal_samples import again as _again
from genai_pipeline.testing._journal_samples import answered as _answered
from genai_pipeline.testing._journal_samples import begin as _begin
from genai_pipeline.testing._journal_samples import intent as _intent
from genai_pipeline.testing._journal_samples import use as _use
from genai_pipeline.testing._journal_tests import JournalTests

__all__ = ["JournalCallsContract"]


class JournalCallsContract(JournalTests):
    """Tests of what calls cost, what budgets hold for them, and how they end."""

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
