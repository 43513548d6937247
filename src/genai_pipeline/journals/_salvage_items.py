"""Records that are lost in a damaged journal, and whose calls are not: what was paid for counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from genai_pipeline.journals._connection import Connection

__all__ = ["known_items", "restore_items"]


_KNOWN = (
    "SELECT DISTINCT item FROM call",
    "SELECT item FROM gathered",
    "SELECT item FROM ending",
    "SELECT item FROM item WHERE state IN ('dead', 'held')",
)
"""Each of an index alone, which may be whole where its table is not."""


def known_items(old: Connection) -> Iterator[bytes]:
    """Answer the names of items that tables and indexes know, as far as these can be read."""
    for sql in _KNOWN:
        try:
            rows = old.execute(sql)
            while (row := rows.fetchone()) is not None:
                yield row[0]
        except (sqlite3.Error, OverflowError):
            continue


def restore_items(new: Connection, *, groups_are_whole: bool) -> None:
    """
    Note anew the records and groups that have calls and are noted no more.

    They have no key, as what was purged, and no end: they are worked on again, and their calls
    replayed. Where groups are lost too, nothing tells these from records, and only those that are
    there are noted.
    """
    gathered = "item IN (SELECT item FROM gathered)"
    new.execute(
        "INSERT INTO item (item, latest, pipeline, state, run) "  # noqa: S608 - of our own texts
        f"SELECT item, NOT {gathered}, run.pipeline, 'ready', run FROM "
        "(SELECT max(item) AS item, max(run) AS run FROM call WHERE length(item) = 16 AND "
        "substr(item, 1, 14) NOT IN (SELECT substr(item, 1, 14) FROM item) "
        "GROUP BY substr(item, 1, 14)) JOIN run USING (run) "
        f"WHERE ? OR {gathered}",
        (groups_are_whole,),
    )
