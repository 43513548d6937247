"""What the errors of SQLite and of its disk mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genai_pipeline.errors import StorageFailed, StorageFull, Transient

__all__ = ["storage_errors"]

_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FIRST_BYTE = 0xFF
_MENDS = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "give a file that this user may write",
    sqlite3.SQLITE_CANTOPEN: "give a path in a folder that exists and may be written",
    sqlite3.SQLITE_IOERR: "the disk is failing, or a file was removed while it was in use",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and of the disk into ours, with the path and the mend."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & _FIRST_BYTE
        if code in _LOCKED:
            raise Transient(f"{path} is locked by another process: {error}") from error
        if code in _DAMAGED:
            raise StorageFailed(
                f"{path} is damaged, or no SQLite file ({error}); move it away, with the files "
                "beside it that end in -wal and -shm, and a new one is made"
            ) from error
        mend = _MENDS.get(code)
        told = f"{path}: {error}" + (f"; {mend}" if mend else "")
        if code == sqlite3.SQLITE_FULL:
            full = StorageFull(told)
            full.path = str(path)
            raise full from error
        raise StorageFailed(told) from error
    except OSError as error:
        raise StorageFailed(
            f"cannot make {path}: {error.strerror or error}; give a path in a folder that exists "
            "and may be written"
        ) from error
