"""Plain runs, calls and ends, for tests of journals."""

from __future__ import annotations

from typing import Any

from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Intent,
    ItemEnd,
    Journal,
    RawAnswer,
    RunInfo,
)

__all__ = ["answered", "begin", "end", "intent", "use"]


async def begin(journal: Journal, fingerprint: str = "f") -> int:
    """Begin a run."""
    return await journal.begin_run(
        RunInfo(pipeline="p", fingerprint=fingerprint, stages=("map",), began=1.0, version="1")
    )


def use(budget: str, cap: int) -> BudgetUse:
    """Answer a use of a budget, in its only window."""
    return BudgetUse(budget=budget, window="1", cap=cap)


def intent(
    run: int, item: bytes, hold: int | None = 1, budgets: tuple[BudgetUse, ...] = ()
) -> Intent:
    """Answer a call about to be made."""
    return Intent(
        run=run,
        item=item,
        stage="map",
        key=bytes(16),
        provider="provider",
        model="model",
        at=1.0,
        deadline=61.0,
        hold=hold,
        budgets=budgets,
    )


def answered(body: bytes, cost: int) -> CallEnd:
    """Answer the end of a call that was answered."""
    return CallEnd(state="answered", at=3.0, cost=cost, answer=RawAnswer(body=body))


async def end(journal: Journal, item: bytes, state: Any) -> None:
    """End a record."""
    await journal.end_item(item, ItemEnd(state=state, at=2.0, fingerprint="f"))
