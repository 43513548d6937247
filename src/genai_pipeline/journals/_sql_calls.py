"""Calls, their answers and the money for them in the tables of a journal file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted

import attrs

from genai_pipeline._journal import CallEnd, CallState, Intent, RawAnswer, Settled
from genai_pipeline._ledger import Account, Change, settle
from genai_pipeline.errors import AccountingError, BudgetExhausted, StorageFailed
from genai_pipeline.journals._bulk import RowKind
from genai_pipeline.journals._sql_accounts import Accounts
from genai_pipeline.journals._tables import Tables, readable
from genai_pipeline.messages import Usage

__all__ = [
    "EndedCall",
    "answer",
    "apply",
    "begin_calls",
    "digest_of",
    "end_calls",
    "void",
]


def digest_of(status: int, headers: str, body: bytes) -> bytes:
    """Answer what tells whether a kept answer is whole."""
    digest = hashlib.blake2b(body, digest_size=16)
    digest.update(f"{status} {headers}".encode())
    return digest.digest()


def begin_calls(tables: Tables, intents: Sequence[Intent]) -> list[int | Exception]:
    """Hold money for each call in every budget, or in none, and note the intents."""
    accounts = Accounts(tables)
    begun: list[int | Exception] = []
    for intent in intents:
        try:
            tables.run(intent.run)
            _known_item(tables, intent.item)
            budgets = accounts.hold(intent)
        except (AccountingError, BudgetExhausted) as error:
            begun.append(error)
        else:
            begun.append(_note_intent(tables, intent, budgets))
    accounts.write()
    return begun


def _known_item(tables: Tables, item: bytes) -> None:
    if item not in tables.carried and not tables.one("SELECT 1 FROM item WHERE item = ?", item):
        raise AccountingError(f"the journal knows no record {item.hex()}")


def _note_intent(tables: Tables, intent: Intent, budgets: str | None) -> int:
    labels = json.dumps(dict(intent.labels), sort_keys=True) if intent.labels else None
    key = intent.key
    if tables.vault.sealed:
        owner = tables.owner_of(intent.item)
        key = tables.vault.seal_alike(owner, key, "call")
        labels = None if labels is None else tables.vault.word(owner, labels, "labels")
    named = (tables.name(intent.stage), tables.name(intent.provider), tables.name(intent.model))
    number = tables.last_call = tables.last_call + 1
    tables.under_way[number] = (intent.hold, budgets, intent.item)
    tables.note(
        RowKind.INTENT,
        number,
        intent.item,
        intent.run,
        key,
        *named,
        tables.word(labels),
        intent.at,
        intent.deadline,
        intent.hold,
        budgets,
    )
    return number


@attrs.frozen(eq=False)
class EndedCall:
    """How a call ended, and the body of its answer with the codec's name."""

    call: int
    end: CallEnd
    body: tuple[bytes, str | None] | None = None
    """As the codec made it; where everything is encrypted, as it came."""


def end_calls(tables: Tables, ended: Sequence[EndedCall]) -> list[Settled | Exception]:
    """Settle each call, once, and keep its answer."""
    accounts = Accounts(tables)
    settled: list[Settled | Exception] = []
    for each in ended:
        try:
            settled.append(_settle(tables, accounts, each))
        except AccountingError as error:
            settled.append(error)
    accounts.write()
    return settled


def _settle(tables: Tables, accounts: Accounts, ended: EndedCall) -> Settled:
    call, end = ended.call, ended.end
    state, hold, charged, budgets, item = _known_call(tables, call)
    change = settle(state, hold, charged, end)
    if change is None:
        change = Change(state, charged, 0, 0)
    else:
        _note_end(tables, call, change, end)
        if end.answer is not None and ended.body is not None:
            _note_answer(tables, call, end.answer, ended.body, item)
        accounts.move(budgets, change)
    return _settled(accounts.of(budgets), change, hold)


def _known_call(tables: Tables, call: int) -> tuple[CallState, int | None, int, str | None, bytes]:
    known = tables.under_way.pop(call, None)
    if known is not None:
        hold, budgets, item = known
        return "inflight", hold, 0, budgets, item
    row: tuple[CallState, int | None, int, str | None, bytes] | None = tables.one(
        "SELECT state, hold, charged, budgets, item FROM call WHERE call = ?", call
    )
    if row is None:
        raise AccountingError(f"the journal knows no call {call}")
    return row


_UNUSED = Usage()


def _note_end(tables: Tables, call: int, change: Change, end: CallEnd) -> None:
    usage = end.usage or _UNUSED
    tables.note(
        RowKind.CALL_END,
        call,
        change.state,
        change.charged,
        end.at,
        end.cost,
        tables.word(readable(end.error)),
        readable(end.request_id),
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def _note_answer(
    tables: Tables, call: int, answer: RawAnswer, kept: tuple[bytes, str | None], item: bytes
) -> None:
    headers, (body, codec) = _headers_text(answer.headers), kept
    if tables.vault.sealed:
        owner = tables.owner_of(item)
        headers = tables.vault.text(owner, headers, f"headers of {call}")
        body, codec = tables.vault.body(owner, body, f"answer {call}")
    digest = digest_of(answer.status, headers, body)
    tables.note(RowKind.ANSWER, call, answer.status, headers, body, digest, codec)


def _headers_text(headers: Mapping[str, str]) -> str:
    """Answer *headers* as JSON; to make an encoder for each would cost more than to encode them."""
    return f"{{{', '.join([f'{quoted(name)}: {quoted(headers[name])}' for name in headers])}}}"


def _settled(accounts: Sequence[Account], change: Change, hold: int | None) -> Settled:
    if not accounts:
        return Settled(state=change.state, charged=change.charged)
    dearer = (change.reserved or change.spent) and change.charged > (hold or 0)
    return Settled(
        state=change.state,
        charged=change.charged,
        overrun=tuple(each.budget for each in accounts if dearer and each.left < 0),
        spent={each.budget: each.use for each in accounts},
    )


def apply(tables: Tables, call: int, change: Change, budgets: str | None) -> None:
    """Write what becomes of a call that nobody ended."""
    tables.under_way.pop(call, None)
    tables.do(
        "UPDATE call SET state = ?, charged = ? WHERE call = ?", change.state, change.charged, call
    )
    accounts = Accounts(tables)
    accounts.move(budgets, change)
    accounts.write()


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
