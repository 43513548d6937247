"""A folder that one sink at a time writes."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sinks._disk import UNSUPPORTED, Disk, storage_errors
from genai_pipeline.sinks._line_file import LineFile
from genai_pipeline.sinks._replacement import parent_of

__all__ = ["Folder"]

_LOCK = ".lock"
_NO_LINKS = UNSUPPORTED | {errno.EPERM, errno.EMLINK}


@attrs.define(kw_only=True, eq=False)
class Folder:
    """A folder, locked by ``.lock`` between `open` and `close`."""

    path: Path
    disk: Disk
    make_dirs: bool
    purpose: str
    """What its error says when there is a file in its place."""

    mode: int = attrs.field(default=0, init=False)
    """What the umask makes of a new file."""

    _lock: LineFile | None = attrs.field(default=None, init=False)

    def open(self) -> None:
        """Make the folder if it is missing, and lock it."""
        self.path = Path(os.path.realpath(self.path))
        parent_of(self.path, make_dirs=self.make_dirs)
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"{self.path} is a file; {self.purpose}, so give another path")
        with storage_errors("open the folder", self.path):
            self.path.mkdir(exist_ok=True)
            self._take_lock()

    def close(self) -> None:
        """Let others write it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def names(self) -> list[str]:
        """Answer the names of what is in it, sorted."""
        with os.scandir(self.path) as found:
            return sorted(each.name for each in found)

    def sync(self) -> None:
        """Return when its names will survive a power cut."""
        self.disk.sync_folder(self.path)

    def name(self, source: Path, target: Path) -> None:
        """
        Give *source* the name *target*, or raise `FileExistsError` if it is taken.

        The old name stays beside it where there are hard links.
        """
        try:
            self.disk.publish(source, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(target):  # no links here; the lock keeps others away
                raise FileExistsError(errno.EEXIST, "is taken", str(target)) from error
            self.disk.replace(source, target)

    def _take_lock(self) -> None:
        path = self.path / _LOCK
        fd = self.disk.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        file = LineFile(disk=self.disk, fd=fd, path=path)
        try:
            self.mode = os.fstat(fd).st_mode & 0o666
            self._refuse_company(fd)
            owner = f"process {os.getpid()} on {socket.gethostname()}"
            self.disk.cut(fd, 0)
            file.append([f"{owner}\n".encode()])
        except BaseException:
            file.close()
            raise
        self._lock = file

    def _refuse_company(self, fd: int) -> None:
        if not self.disk.lock(fd):
            owner = os.pread(fd, 200, 0).decode(errors="replace").strip() or "another process"
            raise ConfigurationError(
                f"{self.path} is being written by {owner}; wait for its end, or give another folder"
            )
