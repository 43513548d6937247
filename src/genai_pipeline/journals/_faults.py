"""What the errors of SQLite and of the disk mean for a journal."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genai_pipeline.errors import StorageFailed

__all__ = ["is_fatal", "is_full", "is_of_the_data", "storage_errors", "translated"]

_FIRST_BYTE = 0xFF
_OF_ONE_OPERATION = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
_OF_THE_DATA = frozenset(
    {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}
)
_MENDS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, and run again",
    sqlite3.SQLITE_READONLY: "give a file that this user may write",
    sqlite3.SQLITE_CANTOPEN: "give a path in a folder that exists and may be written",
    sqlite3.SQLITE_IOERR: "the disk is failing, or a file was removed while it was in use",
    sqlite3.SQLITE_BUSY: "another program has it open",
    sqlite3.SQLITE_CORRUPT: "it is damaged: `genai-pipeline journal salvage` saves what it can",
    sqlite3.SQLITE_NOTADB: "it is damaged, or no journal; move it away, or give another path",
}


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _FIRST_BYTE


def is_fatal(error: BaseException) -> bool:
    """Whether the connection cannot be trusted after *error*; else it is of one operation."""
    return isinstance(error, sqlite3.Error) and _code(error) not in _OF_ONE_OPERATION


def is_of_the_data(error: BaseException) -> bool:
    """Whether SQLite refused what it was given, by a constraint, its type or its size."""
    return isinstance(error, sqlite3.Error) and _code(error) in _OF_THE_DATA


def is_full(error: BaseException) -> bool:
    """Whether there was no room on the disk."""
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL


def translated(error: BaseException, path: Path) -> StorageFailed:
    """Answer *error* as one of ours, with the path and the mend."""
    if isinstance(error, StorageFailed):
        return StorageFailed(str(error))
    if isinstance(error, OSError):
        mend = None if error.errno == errno.EIO else _MENDS[sqlite3.SQLITE_CANTOPEN]
    else:
        mend = _MENDS.get(_code(error))
    told = StorageFailed(f"the journal {path}: {error}" + (f"; {mend}" if mend else ""))
    told.__cause__ = error
    return told


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the disk into ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translated(error, path) from error
