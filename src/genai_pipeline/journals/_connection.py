"""How the file of a journal is opened: by one connection that has it alone and means it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from genai_pipeline.errors import ConfigurationError

__all__ = ["Connect", "Connection", "connect", "prepare", "wal_is_sound"]


class Cursor(Protocol):
    """The rows a statement answers."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What a journal needs of a connection: a part of `sqlite3.Connection` without its commits."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Cursor: ...

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Cursor: ...

    def close(self) -> None: ...


Connect: TypeAlias = Callable[[Path], Connection]

_OLDEST = (3, 37, 0)  # STRICT tables
_RESET_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def connect(path: Path) -> Connection:
    """Open the file by the standard library, for whichever thread is at work."""
    return sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)


def wal_is_sound(version: tuple[int, ...]) -> bool:
    """
    Whether this SQLite may write one file from several connections.

    Before 3.51.3 (and 3.50.7, 3.44.6) a checkpoint of one connection could overtake another's
    reset of the log and damage the file; a lone connection is not concerned.
    """
    newest = _RESET_FIXED[0]
    return version >= newest or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in _RESET_FIXED
    )


def prepare(connection: Connection, *, synchronous: str = "FULL") -> None:
    """
    Set what durability and safety rest on, and read it back.

    Raises `ConfigurationError` where SQLite is too old, or does not do as it is told.
    """
    # Before anything is read, so that no memory is shared with others, nor a file for it made.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    version = tuple(
        int(part) for part in connection.execute("SELECT sqlite_version()").fetchone()[0].split(".")
    )
    name = ".".join(map(str, version))
    if version < _OLDEST:
        raise ConfigurationError(f"Sqlite: SQLite {name} is too old; install 3.37 or later")
    for pragma, value, expected in (
        ("locking_mode", "EXCLUSIVE", "exclusive"),
        # A new file is made with a rollback journal: were its removal undone by a power cut, all
        # that came after would be rolled back with it.
        ("synchronous", "EXTRA", 3),
        ("journal_mode", "WAL", "wal"),
        ("synchronous", synchronous, {"FULL": 2, "NORMAL": 1}[synchronous]),
        ("fullfsync", 1, 1),
        ("checkpoint_fullfsync", 1, 1),
        ("wal_autocheckpoint", 0, 0),
        ("mmap_size", 0, 0),
        ("trusted_schema", 0, 0),
        ("cell_size_check", 1, 1),
        ("foreign_keys", 0, 0),
        ("temp_store", 2, 2),  # memory
    ):
        connection.execute(f"PRAGMA {pragma} = {value}").fetchall()
        row = connection.execute(f"PRAGMA {pragma}").fetchone()
        found = None if row is None else row[0]
        if pragma == "locking_mode" and found != expected and wal_is_sound(version):
            continue
        # Where SQLite is built without memory mapping, it answers nothing.
        if found != expected and not (pragma == "mmap_size" and found is None):
            raise ConfigurationError(
                f"Sqlite: SQLite {name} keeps {pragma} at {found!r} when told {value!r}, and "
                "a journal would not be safe"
            )
