"""What is done to the file of a `Sqlite` store at once: many puts, gets and deletes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import attrs

__all__ = ["Delete", "Get", "Operation", "Put", "carry_out", "fit"]

_AT_ONCE = 100


@attrs.define(eq=False)
class Operation:
    """Something asked of the store, and what became of it."""

    key: bytes
    now: float
    done: bool = attrs.field(default=False, kw_only=True)
    error: Exception | None = attrs.field(default=None, kw_only=True)


@attrs.define(eq=False)
class Get(Operation):
    """Look the text of a key up."""

    text: str | None = None


@attrs.define(eq=False)
class Put(Operation):
    """Keep *text* until *expiry* (wall time); its place is the youngest."""

    text: str
    expiry: float | None
    bytes: int


@attrs.define(eq=False)
class Delete(Operation):
    """Forget a key."""


def carry_out(
    connection: sqlite3.Connection,
    batch: Iterable[Operation],
    *,
    max_entries: int,
    max_bytes: int,
) -> None:
    """Do all of *batch*, in order; either all its changes come to be or none."""
    operations = list(batch)
    if all(isinstance(operation, Get) for operation in operations):
        for operation in operations:
            _do(connection, operation, max_bytes)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for operation in operations:
            _do(connection, operation, max_bytes)
        fit(connection, operations[-1].now, max_entries=max_entries, max_bytes=max_bytes)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _do(connection: sqlite3.Connection, operation: Operation, max_bytes: int) -> None:
    if isinstance(operation, Get):
        row = connection.execute(
            "SELECT value FROM entries WHERE key = ? AND (expiry IS NULL OR expiry > ?)",
            (operation.key, operation.now),
        ).fetchone()
        operation.text = None if row is None else row[0]
        return
    connection.execute("DELETE FROM entries WHERE key = ?", (operation.key,))
    # What has no room even alone must not drive out all the others first.
    if isinstance(operation, Put) and operation.bytes <= max_bytes:
        connection.execute(
            "INSERT INTO entries (key, value, bytes, expiry) VALUES (?, ?, ?, ?)",
            (operation.key, operation.text, operation.bytes, operation.expiry),
        )


def fit(connection: sqlite3.Connection, now: float, *, max_entries: int, max_bytes: int) -> None:
    """Remove what is expired, then what is oldest, until the rest is within its bounds."""

    def surplus() -> tuple[int, int]:
        entries, size = connection.execute("SELECT entries, bytes FROM total").fetchone()
        return entries - max_entries, size - max_bytes

    if max(surplus()) <= 0:
        return
    connection.execute("DELETE FROM entries WHERE expiry <= ?", (now,))
    while max(excess := surplus()) > 0:
        oldest = connection.execute(
            "SELECT id, bytes FROM entries ORDER BY id LIMIT ?", (_AT_ONCE,)
        ).fetchall()
        entries, size = excess
        doomed = []
        for name, freed in oldest:
            if max(entries, size) <= 0:
                break
            doomed.append((name,))
            entries, size = entries - 1, size - freed
        connection.executemany("DELETE FROM entries WHERE id = ?", doomed)
