"""`salvage`: what can still be read of a damaged journal, as a new one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.clock import SystemClock
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._check import publish
from genai_pipeline.journals._connection import Connection, connect, prepare
from genai_pipeline.journals._faults import storage_errors
from genai_pipeline.journals._owner import OwnerLock, this_process
from genai_pipeline.journals._salvage_items import known_items, restore_items
from genai_pipeline.journals._salvage_rows import (
    lost_records,
    reopen,
    reopen_all,
    tables_of_sinks,
)
from genai_pipeline.journals._schema import migrate
from genai_pipeline.journals._sql_calls import digest_of
from genai_pipeline.journals._sql_rows import make, table_names, table_of
from genai_pipeline.journals._tables import Tables

__all__ = ["Salvaged", "salvage"]

_KEYS = {
    "meta": "name",
    "word": "id",
    "owner": "owner",
    "run": "run",
    "item": "item",
    "erased": "record",
    "erasure": "owner",
    "group_subject": "item, owner",
    "ending": "item",
    "gathered": "item",
    "member": "member",
    "call": "call",
    "answer": "call",
    "budget": "id",
    "cap": "id",
    "past_cost": "id",
}
"""The tables, each with its key."""

_WORDS = {
    "run": ("pipeline", "fingerprint"),
    "item": ("pipeline", "fingerprint"),
    "erased": ("pipeline",),
    "ending": ("stage", "error", "category"),
    "call": ("stage", "provider", "model", "labels", "error"),
    "past_cost": ("stage", "provider", "model", "labels"),
}
"""The columns that name words."""

_NUMBERED = {"word", "run", "call", "answer", "budget", "cap", "past_cost"}
"""Tables whose keys are small numbers, so that each can be looked up."""

_ORDERS = {"ending": "rowid", "gathered": "rowid"}
"""By what tables are ordered in the file, where that is not their key."""

_IN_AN_INDEX = {"member": "member_of_item"}
"""Tables of which an index has all that is in them."""

_PROBES = 4096


@attrs.frozen(kw_only=True)
class Salvaged:
    """What a salvage brought over."""

    rows: Mapping[str, int]
    """How many of each table."""

    damaged: tuple[str, ...]
    """Tables parts of which could not be read."""

    lost_answers: tuple[int, ...]
    """
    Calls that were answered and whose answer is not whole any more.

    They count at what they cost, and are made again.
    """


def salvage(path: str | os.PathLike[str], to: str | os.PathLike[str]) -> Salvaged:
    """
    Bring what can be read of the journal *path* into the new journal *to*; *path* stays as it is.

    Every answer that is brought over is whole, and every budget's sums are those of its calls, or
    more. A record that is lost is worked on again, by the answers of its calls that are not lost;
    so is one that is done and has lost a row of a table. All others keep their ends.

    Raises `ConfigurationError` when *to* exists, or *path* is in use or another program's, and
    `StorageFailed` when nothing can be read.
    """
    source, target = Path(path).absolute(), Path(to).absolute()
    check(source.is_file(), "salvage", "path", str(source), "the path of a journal file")
    check(not target.exists(), "salvage", "to", str(target), "the path of a new file")
    lock = OwnerLock(source.with_name(source.name + ".lock"))
    with storage_errors(source):
        lock.acquire(this_process(SystemClock().wall()), source)
        try:
            with tempfile.TemporaryDirectory(prefix=".salvage-", dir=target.parent) as folder:
                found = _salvage(source, Path(folder), target)
                _copy_keys(source, target)
                return found
        finally:
            lock.release()


def _salvage(source: Path, folder: Path, target: Path) -> Salvaged:
    copy, draft = folder / "old.db", folder / "new.db"
    shutil.copyfile(source, copy)
    log = source.with_name(source.name + "-wal")
    if log.exists():
        shutil.copyfile(log, copy.with_name(copy.name + "-wal"))
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    old, new = connect(copy), connect(draft)
    try:
        old.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        old.execute("PRAGMA schema_version").fetchall()
        _require_journal(old, source)
        prepare(new)
        migrate(new, draft)
        found = _copied(old, new)
    finally:
        old.close()
        new.close()
    publish(draft, target)
    return found


def _require_journal(old: Connection, source: Path) -> None:
    """Raise `ConfigurationError` for the file of another program, which has nothing to bring."""
    # By its tables, since what else tells a journal may be what is damaged.
    if not all(_columns(old, table) for table in ("word", "item", "call")):
        raise ConfigurationError(
            f"salvage: path={str(source)!r} is the file of another program; give that of a journal"
        )


def _copy_keys(source: Path, target: Path) -> None:
    """Put the keys of subjects, if there are any, beside the new journal too."""
    keys, to = (path.with_name(path.name + ".keys") for path in (source, target))
    if keys.exists():
        descriptor = os.open(to, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        shutil.copyfile(keys, to)


def _copied(old: Connection, new: Connection) -> Salvaged:
    rows: dict[str, int] = {}
    damaged: list[str] = []
    new.execute("BEGIN IMMEDIATE")
    for table, key in _KEYS.items():
        if not _copy(old, new, table, key, rows):
            damaged.append(table)
    of_sinks = sorted({*table_names(Tables(new)), *tables_of_sinks(old)})
    damaged += [table for table in of_sinks if not _copy_table(old, new, table, rows)]
    lost = _mended(new, groups_are_whole="gathered" not in damaged)
    new.execute("COMMIT")
    return Salvaged(rows=rows, damaged=tuple(damaged), lost_answers=tuple(lost))


def _copy(old: Connection, new: Connection, table: str, key: str, rows: dict[str, int]) -> bool:
    """Bring what can be read of *table* over, and count it; answer whether that is all of it."""
    columns = [name for name in _columns(new, table) if name in _columns(old, table)]
    if not columns:
        return True  # the old one is of an earlier version
    reader = _Reader(old, table, key, columns)
    # What is damaged may be of the wrong kind, or there twice.
    insert = (
        f'INSERT OR IGNORE INTO "{table}" ({", ".join(map(_quoted, columns))}) '  # noqa: S608
        f"VALUES ({', '.join('?' * len(columns))})"
    )
    for row in reader:
        try:
            new.execute(insert, row)
        except sqlite3.Error:
            reader.whole = False
    rows[table] = new.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608
    return reader.whole


def _copy_table(old: Connection, new: Connection, name: str, rows: dict[str, int]) -> bool:
    """Bring over what can be read of a table of sinks; answer whether that is all of it."""
    tables = Tables(new)
    try:
        table = table_of(tables, name)
    except (ValueError, TypeError):  # what is noted of it is damaged
        table = None
    if table is None:
        reopen_all(new)
        return False
    make(tables, table)
    whole = _copy(old, new, name, "rowid", rows)
    lost = lost_records(old, new, name)
    if lost is not None:
        reopen(new, lost)
    elif not whole:
        reopen_all(new)
    return whole and not lost


def _quoted(name: str) -> str:
    return f'"{name}"'


def _columns(connection: Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")').fetchall()]


@attrs.define(eq=False)
class _Reader:
    """The rows of a damaged table: from both ends, and from many places between."""

    connection: Connection
    table: str
    key: str
    columns: list[str]
    whole: bool = True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        # In the order in which they lie, since what is sorted first is lost with the first page.
        order = _ORDERS.get(self.table, self.key).split(", ")
        yield from self._scan(f"NOT INDEXED ORDER BY {', '.join(order)}")
        if not self.whole:
            yield from self._scan(f"NOT INDEXED ORDER BY {' DESC, '.join(order)} DESC")
            if self.table in _IN_AN_INDEX:
                yield from self._scan(f"INDEXED BY {_IN_AN_INDEX[self.table]}")
            for place in self._places():
                yield from self._scan(f"WHERE {self.key} = ?", place)

    def _scan(self, how: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        names = ", ".join(map(_quoted, self.columns))
        try:
            rows: Any = self.connection.execute(
                f'SELECT {names} FROM "{self.table}" {how}',  # noqa: S608
                parameters,
            )
            yield from rows
        except (sqlite3.Error, OverflowError):  # undecodable text, too
            self.whole = False

    def _places(self) -> Iterator[object]:
        """Answer keys to look up one by one, as other tables still know them, or by number."""
        if self.table in {"item", "ending", "gathered"}:
            yield from known_items(self.connection)
        elif self.table in _NUMBERED or self.key == "rowid":
            yield from range(1, self._last() + 1)

    def _last(self) -> int:
        try:
            row = self.connection.execute(f"SELECT max({self.key}) FROM {self.table}").fetchone()  # noqa: S608
        except sqlite3.Error:
            return _PROBES
        return int(row[0] or 0)


def _mended(new: Connection, *, groups_are_whole: bool) -> list[int]:
    """Let what was brought over fit together; answer the calls whose answers are lost."""
    for table, columns in _WORDS.items():
        for column in columns:
            text = f"'{{\"lost\": \"' || {column} || '\"}}'" if column == "labels" else None
            _name_lost(new, table, column, text or f"'lost ' || {column}")
    for call, status, headers, body, digest in new.execute(
        "SELECT call, status, headers, body, digest FROM answer"
    ).fetchall():
        if digest_of(status, headers, body) != digest:
            new.execute("DELETE FROM answer WHERE call = ?", (call,))
    for item, body, digest in new.execute("SELECT item, body, digest FROM gathered").fetchall():
        if blake2b(body, digest_size=16).digest() != digest:
            groups_are_whole = False
            new.execute("DELETE FROM gathered WHERE item = ?", (item,))
    new.execute(
        "INSERT OR IGNORE INTO run (run, pipeline, fingerprint, version, stages, began, state) "
        "SELECT DISTINCT run, (SELECT min(id) FROM word), (SELECT min(id) FROM word), '', '[]', "
        "0.0, 'lost' FROM call"
    )
    restore_items(new, groups_are_whole=groups_are_whole)
    # A group that is not whole is gathered anew.
    new.execute("DELETE FROM gathered WHERE item NOT IN (SELECT item FROM item)")
    new.execute("DELETE FROM member WHERE item NOT IN (SELECT item FROM gathered)")
    lost = [
        row[0]
        for row in new.execute(
            "SELECT call FROM call WHERE state = 'answered' "
            "AND call NOT IN (SELECT call FROM answer) ORDER BY call"
        ).fetchall()
    ]
    new.executemany("UPDATE call SET state = 'abandoned' WHERE call = ?", ((n,) for n in lost))
    new.execute(
        "UPDATE call SET budgets = NULL WHERE EXISTS (SELECT 1 FROM json_each(budgets) "
        "WHERE value NOT IN (SELECT id FROM budget))"
    )
    _add_up(new)
    return lost


def _name_lost(new: Connection, table: str, column: str, text: str) -> None:
    new.execute(
        f"INSERT OR IGNORE INTO word (id, text) SELECT DISTINCT {column}, {text} "  # noqa: S608
        f"FROM {table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM word)"
    )


def _add_up(new: Connection) -> None:
    """Let each budget's sums be those of its calls, or more where calls are lost."""
    for (number,) in new.execute("SELECT id FROM budget").fetchall():
        reserved, spent = new.execute(
            "SELECT ifnull(sum(iif(state = 'inflight', ifnull(hold, 0), 0)), 0), "
            "ifnull(sum(charged), 0) FROM call, json_each(call.budgets) WHERE value = ?",
            (number,),
        ).fetchone()
        new.execute(
            "UPDATE budget SET overrun = 1, reserved = ?, purged = max(spent, ? + purged) - ?, "
            "spent = max(spent, ? + purged) WHERE id = ?",
            (reserved, spent, spent, spent, number),
        )
        new.execute("UPDATE budget SET overrun = spent + reserved > cap WHERE id = ?", (number,))
