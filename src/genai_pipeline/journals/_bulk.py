"""
One statement for all that a batch writes.

The rows are inserted into a view of the connection, whose triggers write each where it belongs.
Each call of SQLite from Python gives the interpreter away several times, and gets it back only when
the event loop has nothing to do; to write in one call is what makes a busy journal quick.
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from genai_pipeline.journals._connection import Connection

__all__ = ["MOST_ROWS", "RowKind", "insertion", "prepare_bulk"]

MOST_ROWS = 512
"""In one statement."""

_SIZES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, MOST_ROWS)

_WIDTH = 12

# SQLite takes what is no number for NULL, and Python binds a float ten times as quickly as `None`.
_NULL = math.nan
_NO_ROW = (_NULL,) * (_WIDTH + 1)
_PADDINGS = tuple(_NO_ROW[length:] for length in range(_WIDTH + 2))


class RowKind(IntEnum):
    """What a row says."""

    CLAIM = 1
    INTENT = 2
    CALL_END = 3
    ANSWER = 4
    ITEM_END = 5
    ACCOUNT = 6
    COMMIT = 7


_WRITES = {
    # The last of the item's names is told as well, since a later generation may be there alone.
    RowKind.CLAIM: """
        SELECT RAISE(ABORT, 'a record is known')
        WHERE EXISTS (SELECT 1 FROM item WHERE item BETWEEN NEW.c1 AND NEW.c2);
        INSERT INTO item (item, latest, pipeline, key, state, run, owner)
        VALUES (NEW.c1, 1, NEW.c3, NEW.c4, 'claimed', NEW.c5, NEW.c6);
    """,
    RowKind.INTENT: """
        INSERT INTO call (call, item, run, key, state, stage, provider, model, labels, at,
            deadline, hold, budgets)
        VALUES (NEW.c1, NEW.c2, NEW.c3, NEW.c4, 'inflight', NEW.c5, NEW.c6, NEW.c7, NEW.c8,
            NEW.c9, NEW.c10, NEW.c11, NEW.c12);
    """,
    RowKind.CALL_END: """
        UPDATE call SET state = NEW.c2, charged = NEW.c3, ended = NEW.c4, cost = NEW.c5,
            error = NEW.c6, request_id = NEW.c7, input_tokens = NEW.c8, output_tokens = NEW.c9,
            cached_tokens = NEW.c10, cache_write_tokens = NEW.c11, reasoning_tokens = NEW.c12
        WHERE call = NEW.c1;
    """,
    RowKind.ANSWER: """
        INSERT OR REPLACE INTO answer (call, status, headers, body, digest, codec)
        VALUES (NEW.c1, NEW.c2, NEW.c3, NEW.c4, NEW.c5, NEW.c6);
    """,
    RowKind.ITEM_END: """
        UPDATE item SET state = NEW.c2, run = NEW.c3, fingerprint = NEW.c4, resumes = NEW.c5,
            attempts = NEW.c6, environment = NEW.c7, crashes = NEW.c8, ended = NEW.c9
        WHERE item = NEW.c1;
    """,
    RowKind.ACCOUNT: """
        UPDATE budget SET cap = NEW.c2, reserved = NEW.c3, spent = NEW.c4, overrun = NEW.c5
        WHERE id = NEW.c1;
    """,
    RowKind.COMMIT: """
        INSERT OR REPLACE INTO meta (name, value) VALUES ('commits', NEW.c1);
    """,
}


def prepare_bulk(connection: Connection) -> None:
    """Make the view and its triggers, which are this connection's alone and in no file."""
    columns = ", ".join(f"c{number}" for number in range(1, _WIDTH + 1))
    nothing = ", ".join(["NULL"] * (_WIDTH + 1))
    connection.execute(f"CREATE TEMP VIEW written (kind, {columns}) AS SELECT {nothing}")
    for kind, writes in _WRITES.items():
        connection.execute(
            f"CREATE TEMP TRIGGER write_{kind.name.lower()} INSTEAD OF INSERT ON written "
            f"WHEN NEW.kind = {kind.value} BEGIN {writes} END"
        )


def insertion(rows: Sequence[tuple[Any, ...]]) -> tuple[str, list[Any]]:
    """
    Answer the statement that writes *rows*, at most `MOST_ROWS`, and its parameters.

    Each row is a kind, as a plain number, and what is to be written.
    """
    values: list[Any] = []
    for row in rows:
        values += row
        values += _PADDINGS[len(row)]
    # Few sizes, so that SQLite prepares few statements, and once; rows of no kind write nothing.
    size = _SIZES[bisect_left(_SIZES, len(rows))]
    values += _NO_ROW * (size - len(rows))
    return _insertion(size), [_NULL if value is None else value for value in values]


@functools.cache
def _insertion(count: int) -> str:
    row = f"({', '.join('?' * (_WIDTH + 1))})"
    return f"INSERT INTO written VALUES {', '.join([row] * count)}"  # noqa: S608 - placeholders
