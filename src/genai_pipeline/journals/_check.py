"""Whether a journal file is whole, and copies of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals._sql_calls import digest_of
from genai_pipeline.journals._tables import Tables
from genai_pipeline.journals._vault import Locked

__all__ = ["backup", "problems", "publish"]

_MOST = 100

_ACCOUNTS = """
    WITH part AS (
        SELECT value AS budget,
            sum(iif(state = 'inflight', ifnull(hold, 0), 0)) AS reserved,
            sum(charged) AS spent
        FROM call, json_each(call.budgets) GROUP BY value
    )
    SELECT budget.budget, window, budget.reserved, ifnull(part.reserved, 0),
        budget.spent, ifnull(part.spent, 0) + purged
    FROM budget LEFT JOIN part ON part.budget = budget.id
    WHERE budget.reserved <> ifnull(part.reserved, 0)
        OR budget.spent <> ifnull(part.spent, 0) + purged
"""


def problems(tables: Tables) -> list[str]:
    """Answer what is wrong, at most a hundred of a kind."""
    found = [
        f"structure: {row[0]}"
        for row in tables.all(f"PRAGMA integrity_check({_MOST})")
        if row[0] != "ok"
    ]
    damaged = [
        f"answer of call {call}: it does not fit its digest"
        for call, status, headers, body, digest in tables.connection.execute(
            "SELECT call, status, headers, body, digest FROM answer ORDER BY call"
        )
        if digest_of(status, headers, body) != digest
    ]
    lacking = [
        f"call {call}: it is answered, and its answer is missing"
        for (call,) in tables.all(
            "SELECT call FROM call WHERE state = 'answered' "
            "AND call NOT IN (SELECT call FROM answer) ORDER BY call LIMIT ?",
            _MOST,
        )
    ]
    forged = [] if isinstance(tables.vault, Locked) else list(_unopened(tables))
    groups = [
        f"group {item.hex()}: it does not fit its digest"
        for item, body, digest in tables.connection.execute(
            "SELECT item, body, digest FROM gathered"
        )
        if blake2b(body, digest_size=16).digest() != digest
    ]
    wrong = [
        f"budget {budget!r} {window!r}: reserved {reserved}, by its calls {by_calls}; "
        f"spent {spent}, by its calls {spent_by_calls}"
        for budget, window, reserved, by_calls, spent, spent_by_calls in tables.all(_ACCOUNTS)
    ]
    return [*found, *damaged[:_MOST], *lacking, *groups[:_MOST], *forged[:_MOST], *wrong]


def _unopened(tables: Tables) -> Iterator[str]:
    """Tell of bodies that fit their digests, and yet are not what was encrypted there."""
    if not tables.vault.sealed:
        return
    for kind, sql in (
        ("answer", "SELECT call, body, codec FROM answer ORDER BY call"),
        ("letter", "SELECT item, letter, codec FROM ending WHERE letter IS NOT NULL"),
        ("group", "SELECT item, body, codec FROM gathered"),
    ):
        for key, body, codec in tables.connection.execute(sql):
            place = f"{kind} {key if isinstance(key, int) else key.hex()}"
            try:
                tables.vault.open_body(body, codec, place)
            except StorageFailed as error:
                yield f"{place}: {error}"


def backup(tables: Tables, to: Path) -> None:
    """Copy the file, whole or not at all."""
    if to.exists():
        raise ConfigurationError(f"Sqlite.backup: to={str(to)!r} exists; give a new path")
    draft = to.with_name(f".{to.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        tables.alone("VACUUM INTO ?", str(draft))
        publish(draft, to)
    finally:
        draft.unlink(missing_ok=True)


def publish(draft: Path, to: Path) -> None:
    """Give *draft* its name *to*, durably, unless there is such a file."""
    for place in (draft, draft.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if place == draft:
            os.link(draft, to)
