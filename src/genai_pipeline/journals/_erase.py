"""Erasing what is kept of a subject, in the tables of a journal file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from genai_pipeline._identity import pseudonym, tombstone
from genai_pipeline._journal_admin import Erased
from genai_pipeline.journals._purge import forget
from genai_pipeline.journals._sql_groups import drop_group
from genai_pipeline.journals._sql_records import key_of
from genai_pipeline.journals._sql_rows import count_rows, drop_rows
from genai_pipeline.journals._tables import Tables

__all__ = ["begin", "clean", "end", "erase_unless_carried", "finish", "told"]


def begin(tables: Tables, subject: str) -> int | None:
    """Note that *subject* is to be erased, whatever happens; answer its number if it has one."""
    owner = tables.subject(subject)
    if owner is not None:
        # It is named here for as long as its erasing may have to be taken up again.
        named = tables.vault.seal(0, subject.encode("utf-8", "surrogatepass"), _place(owner))
        tables.do("INSERT OR IGNORE INTO erasure (owner, subject) VALUES (?, ?)", owner, named)
        tables.erasing |= {owner}
    return owner


def _place(owner: int) -> str:
    return f"erasing of {owner}"


def erase_unless_carried(tables: Tables, owner: int, subject: str) -> Erased | None:
    """Drop the rows of *subject*, and tell of them; `None` while a worker carries some."""
    row = tables.one(
        "SELECT EXISTS (SELECT 1 FROM item WHERE owner = ? AND latest AND state = 'claimed') "
        "OR EXISTS (SELECT 1 FROM call WHERE state = 'inflight' AND item IN "
        "(SELECT item FROM item WHERE owner = ? UNION "
        "SELECT item FROM group_subject WHERE owner = ?))",
        owner,
        owner,
        owner,
    )
    if row[0]:
        return None
    found = told(tables, subject)
    _erase(tables, owner, subject)
    return found


def finish(tables: Tables, commit: Callable[[], None]) -> None:
    """Erase what an earlier owner of the journal had begun to; nobody carries anything."""
    left = tables.all("SELECT owner, subject FROM erasure ORDER BY owner")
    if not left:
        return
    for owner, named in left:
        if named is not None:
            subject = tables.vault.unseal(named, _place(owner)).decode("utf-8", "surrogatepass")
            _erase(tables, owner, subject)
    commit()
    clean(tables)
    for owner, _ in left:
        end(tables, owner)
    commit()


def _items(tables: Tables, owner: int) -> tuple[list[bytes], list[bytes]]:
    """Answer the subject's records in all generations, and the groups they are in."""
    groups = [
        row[0]
        for row in tables.all("SELECT item FROM group_subject WHERE owner = ? ORDER BY item", owner)
    ]
    items = tables.all("SELECT item FROM item WHERE owner = ? ORDER BY item", owner)
    return [row[0] for row in items if row[0] not in set(groups)], groups


def told(tables: Tables, subject: str) -> Erased:
    """Answer what there is to erase of *subject*."""
    owner = tables.subject(subject)
    if owner is None:
        return Erased()
    records, groups = _items(tables, owner)
    calls = [
        row
        for item in (*records, *groups)
        for row in tables.all(
            "SELECT call, provider, request_id FROM call WHERE item = ? ORDER BY call", item
        )
    ]
    keys = (
        key_of(tables, item, kept)
        for item in records
        for (kept,) in tables.all("SELECT key FROM item WHERE item = ? AND latest", item)
    )
    return Erased(
        records=len({item[:-2] for item in records}),
        groups=len(groups),
        calls=len(calls),
        rows=count_rows(tables, [*records, *groups]),
        keys=tuple(sorted(key for key in keys if key is not None)),
        requests=tuple(
            (tables.spelled(provider), request) for _, provider, request in calls if request
        ),
    )


def _erase(tables: Tables, owner: int, subject: str) -> None:
    records, groups = _items(tables, owner)
    owners = [owner]
    for group in groups:
        owners += [row[0] for row in tables.all("SELECT owner FROM owner WHERE name = ?", group)]
    _rename_budgets(tables, subject)
    labels: set[int] = set()
    for item in (*records, *groups):
        labels |= _unlabelled(tables, "call", "item", item)
        forget(tables, item, item)
    for number in owners:
        labels |= _unlabelled(tables, "past_cost", "owner", number)
    for number in sorted(labels):
        _drop_word(tables, number)
    for item in records:
        tables.do(
            "INSERT OR IGNORE INTO erased (record, pipeline) "
            "SELECT ?, pipeline FROM item WHERE item = ?",
            tombstone(item[:-2], tables.salt),
            item,
        )
    drop_rows(tables, [*records, *groups])
    for group in groups:
        drop_group(tables, group)
    tables.do_many("DELETE FROM item WHERE item = ?", ((item,) for item in (*records, *groups)))
    tables.do_many("DELETE FROM owner WHERE owner = ?", ((number,) for number in owners))
    tables.do("UPDATE erasure SET subject = NULL WHERE owner = ?", owner)
    tables.do("INSERT OR REPLACE INTO meta VALUES ('last_call', ?)", tables.last_call)
    tables.remember()


def _unlabelled(tables: Tables, table: str, column: str, value: object) -> set[int]:
    """Take the labels off what is the subject's; answer which they were."""
    which = f"FROM {table} WHERE {column} = ? AND labels IS NOT NULL"
    found = {row[0] for row in tables.all(f"SELECT DISTINCT labels {which}", value)}
    tables.do(f"UPDATE {table} SET labels = NULL WHERE {column} = ?", value)  # noqa: S608
    return found


def _drop_word(tables: Tables, number: int) -> None:
    """Drop labels that nothing has any more."""
    tables.do(
        "DELETE FROM word WHERE id = ? "
        "AND NOT EXISTS (SELECT 1 FROM call WHERE labels = word.id) "
        "AND NOT EXISTS (SELECT 1 FROM past_cost WHERE labels = word.id)",
        number,
    )


def _rename_budgets(tables: Tables, subject: str) -> None:
    """Let budgets that may be named by the subject tell no more whose they are."""
    texts = "|".join(re.escape(text) for text in (json.dumps(subject), subject))
    named = re.compile(f"=(?:{texts})(?= |$)")
    for number, kept in tables.all("SELECT id, budget FROM budget"):
        name = tables.vault.open_word(kept, "budget")
        if named.search(name):
            word = tables.vault.word(0, pseudonym(name, tables.salt), "budget")
            tables.do("UPDATE budget SET budget = ? WHERE id = ?", word, number)


def clean(tables: Tables) -> None:
    """Leave no page, log or key with what was dropped."""
    tables.vault.retain(tables)
    tables.connection.execute("PRAGMA secure_delete = ON").fetchall()
    tables.connection.execute("VACUUM")
    tables.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def end(tables: Tables, owner: int) -> None:
    """Note that nothing is left of a subject."""
    tables.do("DELETE FROM erasure WHERE owner = ?", owner)
    tables.erasing -= {owner}
