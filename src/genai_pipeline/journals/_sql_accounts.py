"""Budgets in the tables of a journal file: the accounts that calls are held against."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs

from genai_pipeline._identity import pseudonym
from genai_pipeline._journal import BudgetUse, Intent
from genai_pipeline._ledger import Account, Change, reserve
from genai_pipeline.journals._bulk import RowKind
from genai_pipeline.journals._tables import Tables

__all__ = ["Accounts"]


@attrs.define(eq=False)
class Accounts:
    """Accounts that several operations of one transaction change; written back by `write`."""

    tables: Tables
    _changed: set[int] = attrs.field(factory=set)

    def hold(self, intent: Intent) -> str | None:
        """
        Hold the money of a call in every budget, or in none; answer the numbers of the accounts.

        Raises `BudgetExhausted`.
        """
        if not intent.budgets:
            return None
        found = [self._found(use) for use in intent.budgets]
        held = reserve([account for _, account in found], intent.budgets, intent.hold)
        numbers = []
        for (number, before), account in zip(found, held, strict=True):
            known = number or self._open(account)
            if number is None or before.cap != account.cap:
                self.tables.do(
                    "INSERT INTO cap (budget, at, run, cap) VALUES (?, ?, ?, ?)",
                    known,
                    intent.at,
                    intent.run,
                    account.cap,
                )
            self._put(known, account)
            numbers.append(known)
        return json.dumps(numbers)

    def move(self, budgets: str | None, change: Change) -> None:
        """Change the accounts of a call."""
        for number in _numbers(budgets):
            self._put(number, self._of(number).moved(change))

    def of(self, budgets: str | None) -> list[Account]:
        """Answer the accounts of a call."""
        return [self._of(number) for number in _numbers(budgets)]

    def write(self) -> None:
        """Write what has changed."""
        for number in self._changed:
            account = self.tables.accounts[number]
            over = int(account.left < 0)
            self.tables.note(
                RowKind.ACCOUNT, number, account.cap, account.reserved, account.spent, over
            )
        self._changed.clear()

    def _put(self, number: int, account: Account) -> None:
        kept = self.tables.accounts.get(number)
        self.tables.accounts[number] = _named(account, kept.budget) if kept else account
        self._changed.add(number)

    def _of(self, number: int) -> Account:
        account = self.tables.accounts.get(number)
        if account is None:
            row = self.tables.one(
                "SELECT budget, window, cap, reserved, spent FROM budget WHERE id = ?", number
            )
            name = self.tables.vault.open_word(row[0], "budget")
            account = self.tables.accounts[number] = Account(name, *row[1:])
        return account

    def _found(self, use: BudgetUse) -> tuple[int | None, Account]:
        """Answer the account of a budget's latest window, which may not be there yet."""
        number = self.tables.latest_accounts.get(use.budget)
        if number is None:
            number = self._latest(use.budget)
            if number is None and self.tables.has_erased:
                # It goes on with what is spent, whoever it was for.
                number = self._latest(pseudonym(use.budget, self.tables.salt))
        if number is not None:
            self.tables.latest_accounts[use.budget] = number
            account = self._of(number)
            if account.window >= use.window:
                return number, _named(account, use.budget)
        return None, Account(use.budget, use.window, use.cap)

    def _latest(self, budget: str) -> int | None:
        row = self.tables.one(
            "SELECT id FROM budget WHERE budget = ? ORDER BY window DESC LIMIT 1",
            self.tables.vault.word(0, budget, "budget"),
        )
        return None if row is None else row[0]

    def _open(self, account: Account) -> int:
        self.tables.do(
            "INSERT INTO budget (budget, window, cap) VALUES (?, ?, ?)",
            self.tables.vault.word(0, account.budget, "budget"),
            account.window,
            account.cap,
        )
        number: int = self.tables.one("SELECT last_insert_rowid()")[0]
        self.tables.latest_accounts[account.budget] = number
        return number


def _named(account: Account, budget: str) -> Account:
    """Answer *account* by another name, if it has one: of whom it was for, nothing may be told."""
    return account if account.budget == budget else attrs.evolve(account, budget=budget)


def _numbers(budgets: str | None) -> Sequence[int]:
    found: list[int] = json.loads(budgets) if budgets else []
    return found
