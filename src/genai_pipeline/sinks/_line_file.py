"""A file that holds whole lines only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from genai_pipeline.sinks._disk import Disk, storage_errors

__all__ = ["LineFile"]


@attrs.define(kw_only=True, eq=False)
class LineFile:
    """An open file; what a failed write left behind is cut off, so it stays whole."""

    disk: Disk
    fd: int
    path: Path
    size: int = 0
    """The bytes that are whole lines."""

    _ragged: bool = False

    @classmethod
    def create(cls, disk: Disk, path: Path, mode: int = 0o600) -> LineFile:
        """Make a new file; raises `FileExistsError` when there is one."""
        fd = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        return cls(disk=disk, fd=fd, path=path)

    def append(self, lines: Sequence[bytes]) -> None:
        """Write *lines* after the others; all of them, or none and raise `StorageFailed`."""
        data = memoryview(b"".join(lines))
        offset = self.size
        with storage_errors("write", self.path):
            try:
                while data:
                    taken = self.disk.write(self.fd, data, offset)
                    offset += taken
                    data = data[taken:]
            except BaseException:
                self._ragged = True
                with contextlib.suppress(OSError):  # tried again before the file is synced
                    self._trim()
                raise
        self.size = offset

    def sync(self) -> None:
        """Return when the lines will survive a power cut."""
        with storage_errors("sync", self.path):
            if self._ragged:
                self._trim()
            self.disk.sync(self.fd)

    def cut(self, size: int) -> None:
        """Take back all that was written after the first *size* bytes."""
        self.size = size
        self._ragged = True
        with contextlib.suppress(OSError):  # tried again before the file is synced
            self._trim()

    def _trim(self) -> None:
        self.disk.cut(self.fd, self.size)
        self._ragged = False

    def close(self) -> None:
        """Close the file and give its lock free."""
        self.disk.close(self.fd)
