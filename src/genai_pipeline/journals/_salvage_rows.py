"""Which records have lost rows in a damaged table of sinks, and are to be worked on again."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from genai_pipeline.journals._connection import Connection
from genai_pipeline.journals._sql_records import span

__all__ = ["lost_records", "reopen", "reopen_all", "tables_of_sinks"]


def tables_of_sinks(connection: Connection) -> list[str]:
    """Answer the tables in the file that have rows of records, noted or not."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema AS each WHERE type = 'table' AND EXISTS "
        "(SELECT 1 FROM pragma_table_info(each.name) WHERE name = '_record') ORDER BY name"
    )
    return [row[0] for row in rows.fetchall()]


def lost_records(old: Connection, new: Connection, table: str) -> list[bytes] | None:
    """
    Answer the records that had rows in the *old* *table* which are not in the *new* one.

    Which rows there were is told by the table's two indexes, of keys and of records, if they are
    whole, agree on each row, have all that was brought over, and name records that are known.
    Otherwise nobody can tell, and the answer is `None`.
    """
    try:
        _note_indexes(old, new, table)
        if not _agree(new, table):
            return None
        rows: list[tuple[bytes, bool]] = new.execute(
            "SELECT DISTINCT record, "  # noqa: S608 - the name is checked
            "record IN (SELECT substr(item, 1, 14) FROM item WHERE latest) "
            "FROM told_key JOIN told_record USING (place) "
            f'WHERE (key, record) NOT IN (SELECT "key", "_record" FROM "{table}")'
        ).fetchall()
    except (sqlite3.Error, OverflowError):  # undecodable text, too
        return None
    finally:
        for told in ("told_key", "told_record"):
            new.execute(f"DROP TABLE IF EXISTS temp.{told}")
    return [record for record, _ in rows] if all(known for _, known in rows) else None


def _note_indexes(old: Connection, new: Connection, table: str) -> None:
    """Note what each index has, by row; raises `sqlite3.Error` where one is not whole."""
    for told, column, index in (
        ("key", "key", f"sqlite_autoindex_{table}_1"),
        ("record", "_record", f"gp_record_of_{table}"),
    ):
        new.execute(f"CREATE TEMP TABLE told_{told} (place INTEGER PRIMARY KEY, {told} NOT NULL)")
        found = old.execute(f'SELECT rowid, "{column}" FROM "{table}" INDEXED BY "{index}"')  # noqa: S608
        new.executemany(f"INSERT INTO told_{told} VALUES (?, ?)", found)  # noqa: S608


def _agree(new: Connection, table: str) -> bool:
    keys, records, both = new.execute(
        "SELECT (SELECT count(DISTINCT key) FROM told_key), (SELECT count(*) FROM told_record), "
        "(SELECT count(*) FROM told_key JOIN told_record USING (place))"
    ).fetchone()
    stranger = new.execute(
        f'SELECT 1 FROM "{table}" WHERE ("key", "_record") NOT IN '  # noqa: S608
        "(SELECT key, record FROM told_key JOIN told_record USING (place)) LIMIT 1"
    ).fetchone()
    return bool(keys == records == both) and stranger is None


def reopen(new: Connection, records: Collection[bytes]) -> None:
    """Let *records* be worked on again if they had ended well; their calls are replayed."""
    new.executemany(
        "UPDATE item SET state = 'ready' WHERE latest AND state IN ('done', 'filtered') "
        "AND item BETWEEN ? AND ?",
        (span(record) for record in records),
    )


def reopen_all(new: Connection) -> None:
    """Let all records and groups be worked on again that had ended well: any may have lost rows."""
    new.execute(
        "UPDATE item SET state = 'ready' WHERE state IN ('done', 'filtered') "
        "AND (latest OR item IN (SELECT item FROM gathered))"
    )
