"""Opening what is certainly a regular file, and reading it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.sources._faults import Unreadable
from genai_pipeline.sources._paths import Found

__all__ = ["OpenFile", "opened_file"]

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO that took the file's place must not hold us
)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class OpenFile:
    """A regular file, open for reading."""

    def __init__(self, file: FileIO, found: Found, size: int) -> None:
        self._file = file
        self.found = found
        self.size = size

    def read(self, size: int) -> bytes:
        """Answer the next bytes, none at the end; raises `StorageFailed`."""
        try:
            return self._file.read(size) or b""
        except OSError as error:
            raise StorageFailed(f"{self.found.path}: reading failed: {error.strerror}") from error


@contextmanager
def opened_file(found: Found, *, follow_symlinks: bool) -> Iterator[OpenFile]:
    """
    Open *found* and look at what was opened, so that nobody can exchange it in between.

    Raises `Unreadable` when it may not be read, has gone or is no regular file; or
    `ConfigurationError` where the user named this very file.
    """
    follow = follow_symlinks or found.named
    try:
        descriptor = os.open(found.path, _FLAGS if follow else _FLAGS | _NOFOLLOW)
    except OSError as error:
        raise _translated(error, found) from error
    with FileIO(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file any more; nothing else is ever opened")
        yield OpenFile(file, found, status.st_size)


def _translated(error: OSError, found: Found) -> Exception:
    theirs = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
    reason = f"cannot be opened: {error.strerror}"
    if error.errno not in theirs:
        return StorageFailed(f"{found.path}: {reason}")
    if found.named:
        return ConfigurationError(f"{found.path}: {reason}")
    return Unreadable(reason)
