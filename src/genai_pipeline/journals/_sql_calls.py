"""Calls, their answers and the money for them in the tables of a journal file."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from genai_pipeline._identity import pseudonym
from genai_pipeline._journal import BudgetUse, CallEnd, Intent, RawAnswer, Settled
from genai_pipeline._ledger import Account, Change, reserve, settle
from genai_pipeline.errors import AccountingError, StorageFailed
from genai_pipeline.journals._tables import Tables, readable

__all__ = ["answer", "apply", "begin_call", "digest_of", "end_call", "void"]


def digest_of(status: int, headers: str, body: bytes) -> bytes:
    """Answer what tells whether a kept answer is whole."""
    digest = hashlib.blake2b(body, digest_size=16)
    digest.update(f"{status} {headers}".encode())
    return digest.digest()


def begin_call(tables: Tables, intent: Intent) -> int:
    """Hold money for a call in every budget, or in none, and note the intent."""
    tables.run(intent.run)
    budgets = _held(tables, intent) if intent.budgets else None
    number = tables.last_call + 1
    key, labels = intent.key, None
    if intent.labels:
        labels = json.dumps(dict(intent.labels), sort_keys=True)
    if tables.vault.sealed:
        owner = tables.owner_of(intent.item)
        key = tables.vault.seal_alike(owner, key, "call")
        labels = None if labels is None else tables.vault.word(owner, labels, "labels")
    if not tables.put(
        "INSERT INTO call (call, item, run, key, state, stage, provider, model, labels, at, "
        "deadline, hold, budgets) SELECT ?, ?, ?, ?, 'inflight', ?, ?, ?, ?, ?, ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM item WHERE item = ?) RETURNING 1",
        number,
        intent.item,
        intent.run,
        key,
        tables.name(intent.stage),
        tables.name(intent.provider),
        tables.name(intent.model),
        tables.word(labels),
        intent.at,
        intent.deadline,
        intent.hold,
        budgets,
        intent.item,
    ):
        raise AccountingError(f"the journal knows no record {intent.item.hex()}")
    tables.last_call = number
    return number


def _held(tables: Tables, intent: Intent) -> str:
    found = [_account(tables, use) for use in intent.budgets]
    held = reserve([account for _, account in found], intent.budgets, intent.hold)
    numbers = []
    for (number, before), account in zip(found, held, strict=True):
        known = number or _new_account(tables, account)
        if number is None or before.cap != account.cap:
            tables.do(
                "INSERT INTO cap (budget, at, run, cap) VALUES (?, ?, ?, ?)",
                known,
                intent.at,
                intent.run,
                account.cap,
            )
        _put_account(tables, known, account)
        numbers.append(known)
    return json.dumps(numbers)


def _account(tables: Tables, use: BudgetUse) -> tuple[int | None, Account]:
    row = _latest_window(tables, use.budget)
    if row is None and tables.has_erased:  # it goes on with what is spent, whoever it was for
        row = _latest_window(tables, pseudonym(use.budget, tables.salt))
    if row is not None and row[1] >= use.window:
        return row[0], Account(use.budget, *row[1:])
    return None, Account(use.budget, use.window, use.cap)


def _latest_window(tables: Tables, budget: str) -> Any:
    return tables.one(
        "SELECT id, window, cap, reserved, spent FROM budget WHERE budget = ? "
        "ORDER BY window DESC LIMIT 1",
        tables.vault.word(0, budget, "budget"),
    )


def _new_account(tables: Tables, account: Account) -> int:
    tables.do(
        "INSERT INTO budget (budget, window, cap) VALUES (?, ?, ?)",
        tables.vault.word(0, account.budget, "budget"),
        account.window,
        account.cap,
    )
    number: int = tables.one("SELECT last_insert_rowid()")[0]
    return number


def _put_account(tables: Tables, number: int, account: Account) -> None:
    tables.do(
        "UPDATE budget SET cap = ?, reserved = ?, spent = ?, overrun = ? WHERE id = ?",
        account.cap,
        account.reserved,
        account.spent,
        int(account.left < 0),
        number,
    )


def end_call(tables: Tables, call: int, end: CallEnd) -> Settled:
    """Settle a call, once, and keep its answer."""
    row = tables.one("SELECT state, hold, charged, budgets, item FROM call WHERE call = ?", call)
    if row is None:
        raise AccountingError(f"the journal knows no call {call}")
    state, hold, charged, budgets, item = row
    change = settle(state, hold, charged, end)
    if change is None:
        return _settled(tables, Change(state, charged, 0, 0), budgets, hold)
    _put_end(tables, call, change, end)
    if end.answer is not None:
        _put_answer(tables, call, end.answer, tables.owner_of(item))
    for number, account in _accounts(tables, budgets):
        _put_account(tables, number, account.moved(change))
    return _settled(tables, change, budgets, hold)


def _put_end(tables: Tables, call: int, change: Change, end: CallEnd) -> None:
    usage = end.usage
    tables.do(
        "UPDATE call SET state = ?, charged = ?, ended = ?, cost = ?, error = ?, request_id = ?, "
        "input_tokens = ?, output_tokens = ?, cached_tokens = ?, cache_write_tokens = ?, "
        "reasoning_tokens = ? WHERE call = ?",
        change.state,
        change.charged,
        end.at,
        end.cost,
        tables.word(readable(end.error)),
        readable(end.request_id),
        *(
            (0, 0, 0, 0, 0)
            if usage is None
            else (
                usage.input_tokens,
                usage.output_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
            )
        ),
        call,
    )


def _put_answer(tables: Tables, call: int, answer: RawAnswer, owner: int) -> None:
    headers = tables.vault.text(owner, json.dumps(dict(answer.headers)), f"headers of {call}")
    body, codec = tables.vault.body(owner, answer.body, f"answer {call}")
    tables.do(
        "INSERT OR REPLACE INTO answer (call, status, headers, body, digest, codec) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        call,
        answer.status,
        headers,
        body,
        digest_of(answer.status, headers, body),
        codec,
    )


def _accounts(tables: Tables, budgets: str | None) -> list[tuple[int, Account]]:
    found = []
    for number in json.loads(budgets) if budgets else ():
        row = tables.one(
            "SELECT budget, window, cap, reserved, spent FROM budget WHERE id = ?", number
        )
        found.append((number, Account(tables.vault.open_word(row[0], "budget"), *row[1:])))
    return found


def _settled(tables: Tables, change: Change, budgets: str | None, hold: int | None) -> Settled:
    accounts = [account for _, account in _accounts(tables, budgets)]
    dearer = (change.reserved or change.spent) and change.charged > (hold or 0)
    return Settled(
        state=change.state,
        charged=change.charged,
        overrun=tuple(each.budget for each in accounts if dearer and each.left < 0),
        spent={each.budget: each.use for each in accounts},
    )


def apply(tables: Tables, call: int, change: Change, budgets: str | None) -> None:
    """Write what becomes of a call that nobody ended."""
    tables.do(
        "UPDATE call SET state = ?, charged = ? WHERE call = ?", change.state, change.charged, call
    )
    for number, account in _accounts(tables, budgets):
        _put_account(tables, number, account.moved(change))


def void(tables: Tables, call: int) -> None:
    """Undo the intent of a call that was cancelled before anybody could make it."""
    row = tables.one("SELECT state, hold, budgets FROM call WHERE call = ?", call)
    if row is not None and row[0] == "inflight":
        apply(tables, call, Change("void", 0, -(row[1] or 0), 0), row[2])


def answer(tables: Tables, call: int) -> RawAnswer:
    """Answer a call from what is kept, after checking that it is whole."""
    row = tables.one("SELECT status, headers, body, digest, codec FROM answer WHERE call = ?", call)
    if row is None:
        state = tables.one("SELECT state FROM call WHERE call = ?", call)
        if state is None:
            raise AccountingError(f"the journal knows no call {call}")
        raise StorageFailed(f"no answer of call {call} is kept: it is {state[0]}")
    status, headers, body, digest, codec = row
    if digest_of(status, headers, body) != digest:
        raise StorageFailed(
            f"the answer of call {call} is damaged; `genai-pipeline journal salvage` saves the rest"
        )
    vault = tables.vault
    return RawAnswer(
        body=vault.open_body(body, codec, f"answer {call}"),
        status=status,
        headers=json.loads(vault.open_text(headers, f"headers of {call}")),
        replayed=True,
    )
