"""The file behind `Sqlite`: its schema, and how it comes to be."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from genai_pipeline.errors import ConfigurationError

__all__ = ["connected", "made"]

_APPLICATION = 0x67707374  # "gpst"
_VERSION = 1
_SCHEMA = """
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL UNIQUE,
        value TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        expiry REAL
    );
    CREATE INDEX entries_by_expiry ON entries (expiry) WHERE expiry IS NOT NULL;
    CREATE TABLE total (entries INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0, 0);
    CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
        UPDATE total SET entries = entries + 1, bytes = bytes + new.bytes;
    END;
    CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
        UPDATE total SET entries = entries - 1, bytes = bytes - old.bytes;
    END;
"""


_making = threading.Lock()


def made(path: Path) -> None:
    """
    Make the file, unless there is one: whole, or not at all, and for this user alone.

    It is made under another name and linked, so that two processes may begin at once.
    """
    with _making:
        if path.exists() and path.stat().st_size:
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            _write(draft)
            _publish(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _write(draft: Path) -> None:
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.executescript(_SCHEMA)


def _publish(draft: Path, path: Path) -> None:
    """Give *draft* the name *path*, unless another process was quicker: its file is in use."""
    try:
        os.link(draft, path)
    except FileExistsError:
        if not path.stat().st_size:
            _replace_empty(draft, path)


def _replace_empty(draft: Path, path: Path) -> None:
    """
    Put *draft* in the place of an empty file, once.

    Whoever would do the same locks the empty file first, and then finds it gone. This process
    has no connection to it, whose locks would end when the descriptor is closed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        found = os.fstat(descriptor)
        if not found.st_size and os.path.samestat(found, path.stat()):
            draft.replace(path)
    finally:
        os.close(descriptor)


def connected(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """
    Answer a connection to the file, for whichever thread has the lock.

    Raises `ConfigurationError` for a file that is another program's or a later version's.
    """
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
    )
    try:
        _check_ours(connection, path)
        # After a power cut the last answers may be missing, never after a crash of the process.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION:
        raise ConfigurationError(f"Sqlite: path={str(path)!r} is the file of another program")
    if version != _VERSION:
        raise ConfigurationError(
            f"Sqlite: path={str(path)!r} was made by another version of this library (schema "
            f"{version}, this one knows {_VERSION}); give another path"
        )
