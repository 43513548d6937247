"""Plain runs, calls and ends, for tests of journals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Intent,
    ItemEnd,
    Journal,
    RawAnswer,
    RunInfo,
)

__all__ = ["again", "answered", "begin", "cancelled_after", "end", "intent", "use"]


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


async def again(journal: Journal, item: bytes) -> Any:
    """Answer what is known of the record ``a``, which must be *item*."""
    claims = await journal.past_calls(["a"], "p")
    assert claims["a"].item == item
    return claims["a"]


async def cancelled_after(steps: int, begin: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Cancel what *begin* begins after some steps; answer what it answered, if it was quicker."""
    answers = []

    async def work() -> None:
        answers.append(await begin())

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        for _ in range(steps):
            await checkpoint()
        group.cancel_scope.cancel()
    return answers
