"""
What becomes of money when calls begin and end: pure functions that every journal goes by.

Of a budget's cap, what is *spent* is charged for good, what is *reserved* is held by calls under
way. Holding before a call is made, and charging a call of unknown outcome at its whole hold,
keeps what was really billed at or below spent + reserved, and hence at or below the cap.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from genai_pipeline._journal import NANO, BudgetUse, CallEnd, CallState
from genai_pipeline.errors import BudgetExhausted

__all__ = ["Account", "Change", "given_up", "reserve", "settle"]

_MAY_BE_ANSWERED_LATE = ("unknown", "abandoned")


@attrs.frozen
class Account:
    """A budget in one of its windows, in nano-dollars."""

    budget: str
    window: str
    cap: int
    reserved: int = 0
    spent: int = 0

    @property
    def left(self) -> int:
        """What may still be held; below zero when calls cost more than their holds."""
        return self.cap - self.spent - self.reserved

    @property
    def use(self) -> tuple[int, int, int]:
        """Spent, reserved, cap."""
        return self.spent, self.reserved, self.cap

    def moved(self, change: Change) -> Account:
        """Answer the account after *change*."""
        return attrs.evolve(
            self, reserved=self.reserved + change.reserved, spent=self.spent + change.spent
        )


@attrs.frozen
class Change:
    """What settling a call changes: its state, and each of its budgets by the same amounts."""

    state: CallState
    charged: int
    """What the call counts with from now on."""

    reserved: int
    """What is added to the reserved sums; zero or less."""

    spent: int
    """What is added to the spent sums; below zero when a late answer costs less than its hold."""


def reserve(
    accounts: Sequence[Account], uses: Sequence[BudgetUse], hold: int | None
) -> list[Account]:
    """
    Answer *accounts* with *hold* reserved in each, under the caps of their *uses*.

    Raises `BudgetExhausted` when one has no room; then nothing is held in any. A hold that is
    not known is none.
    """
    needed = hold or 0
    held = [
        attrs.evolve(account, cap=use.cap, reserved=account.reserved + needed)
        for account, use in zip(accounts, uses, strict=True)
    ]
    short = [account for account in held if account.left < 0]
    if short:
        # Where even all that is reserved would not make room, waiting for it is no use.
        hopeless = [account for account in short if account.spent + needed > account.cap]
        raise _exhausted((hopeless or short)[0], needed, waits=not hopeless)
    return held


def _exhausted(account: Account, needed: int, *, waits: bool) -> BudgetExhausted:
    before = account.reserved - needed
    return BudgetExhausted(
        f"the budget {account.budget!r} has no room for a call of up to {_dollars(needed)}: of "
        f"{_dollars(account.cap)}, {_dollars(account.spent)} are spent and {_dollars(before)} "
        "are held for calls under way; raise the cap, or run again in its next window",
        budget=account.budget,
        waits=waits,
    )


def _dollars(nano: int) -> str:
    whole, rest = divmod(nano, NANO)
    return f"${whole}.{rest:09d}".rstrip("0").rstrip(".")


def settle(state: CallState, hold: int | None, charged: int, end: CallEnd) -> Change | None:
    """
    Answer what *end* changes for a call in *state*; `None` when it changes nothing.

    Each hold leaves the reserved sums once. Nothing makes an unknown call cheaper but an answer,
    and proof that it was never executed.
    """
    held = hold or 0
    if state == "inflight":
        cost = _charge(end, held)
        return Change(end.state, cost, -held, cost)
    if state in _MAY_BE_ANSWERED_LATE and end.state == "answered":
        cost = _charge(end, held)
        return Change("answered", cost, 0, cost - charged)
    if state == "unknown" and end.state == "void":
        return Change("void", 0, 0, -charged)
    if state == "unknown" and end.state == "abandoned":
        return Change("abandoned", charged, 0, 0)
    return None


def _charge(end: CallEnd, held: int) -> int:
    if end.state == "void":
        return 0
    if end.state in _MAY_BE_ANSWERED_LATE or end.cost is None:
        return held
    return end.cost


def given_up(hold: int | None) -> Change:
    """Answer what becomes of a call under way whose process is gone: unknown, at its hold."""
    held = hold or 0
    return Change("unknown", held, -held, held)
