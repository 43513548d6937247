"""A folder of finished parts, and the one that is being written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from pathlib import Path
from typing import BinaryIO

import attrs

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.sinks._disk import UNSUPPORTED, Disk, storage_errors
from genai_pipeline.sinks._line_file import LineFile
from genai_pipeline.sinks._replacement import parent_of

__all__ = ["Segments"]

_LOCK = ".lock"
_NO_LINKS = UNSUPPORTED | {errno.EPERM, errno.EMLINK}


@attrs.define(kw_only=True, eq=False)
class Segments:
    """
    Lines are synced in an open segment, which becomes a part of *folder* when it is full.

    ``part-000001.jsonl`` and so on are complete and never change. The open one is
    ``.open.jsonl.tmp``; one that a killed process left is cut to its whole lines and published
    at the next open.
    ``.lock`` keeps a second process out.
    """

    folder: Path
    disk: Disk
    make_dirs: bool
    segment: int
    suffix: str
    header: bytes = b""
    """Stands at the top of every part."""

    quoted: bool = False
    """Whether a line break between double quotes is no end of a line."""

    _lock: LineFile | None = attrs.field(default=None, init=False)
    _open: LineFile | None = attrs.field(default=None, init=False)
    _lines: int = attrs.field(default=0, init=False)
    _next: int = attrs.field(default=1, init=False)
    _mode: int = attrs.field(default=0, init=False)
    _broken: str | None = attrs.field(default=None, init=False)

    @property
    def name(self) -> str:
        """What errors call this."""
        return str(self.folder)

    @property
    def _open_path(self) -> Path:
        return self.folder / f".open{self.suffix}.tmp"

    def open(self) -> None:
        """Lock the folder, publish what a killed process left, and find the next number."""
        self.folder = Path(os.path.realpath(self.folder))
        parent_of(self.folder, make_dirs=self.make_dirs)
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(
                f"{self.folder} is a file; segment= writes parts into a folder of its own, "
                "so give another path"
            )
        with storage_errors("open the folder", self.folder):
            self.folder.mkdir(exist_ok=True)
            self._take_lock()
        try:
            with storage_errors("open the folder", self.folder):
                self._next = 1 + max(self._numbers(), default=0)
            self._recover()
            self._probe()
        except BaseException:
            self._let_go()
            raise

    def write(self, lines: list[bytes]) -> None:
        """Append *lines* and sync them, publishing each part that is full."""
        while lines:
            room = self.segment - self._lines
            self._append(lines[:room])
            lines = lines[room:]
            if self._lines >= self.segment:
                self._publish()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - what was synced stays in any case
        """Publish what is in the open segment."""
        try:
            if self._broken is None:
                self._publish()
        finally:
            self._let_go()

    def _append(self, lines: list[bytes]) -> None:
        if self._broken is not None:
            raise StorageFailed(self._broken)
        file = self._open or self._begin()
        before = file.size
        file.append([self.header, *lines] if not before and self.header else lines)
        try:
            file.sync()
        except StorageFailed as error:
            # After a failed sync nobody knows what the disk holds: no second try in this run.
            file.cut(before)
            self._broken = (
                f"{error}; nothing more is written here, and the next run recovers the lines "
                f"that were synced before from {file.path}"
            )
            raise StorageFailed(self._broken) from error
        self._lines += len(lines)

    def _begin(self) -> LineFile:
        self._lines = 0
        with storage_errors("create", self._open_path):
            file = self._open = LineFile.create(self.disk, self._open_path)
            self.disk.sync_folder(self.folder)
        return file

    def _publish(self) -> None:
        file = self._open
        if file is None:
            return
        if not self._lines:
            with storage_errors("remove", file.path):
                self.disk.remove(file.path)
        else:
            try:
                self._link(file)
            except StorageFailed as error:
                self._broken = f"{error}; its lines are safe in {file.path} until the next run"
                raise StorageFailed(self._broken) from error
        self._open = None
        self._lines = 0
        file.close()

    def _link(self, file: LineFile) -> None:
        """Give the synced *file* its number; a crash at any point loses and doubles nothing."""
        with storage_errors("publish a part in", self.folder):
            os.fchmod(file.fd, self._mode)
        file.sync()
        with storage_errors("publish a part in", self.folder):
            while True:
                part = self.folder / f"part-{self._next:06d}{self.suffix}"
                self._next += 1
                with contextlib.suppress(FileExistsError):
                    self._name(file.path, part)
                    break
            self.disk.sync_folder(self.folder)
            self.disk.remove(file.path)

    def _name(self, path: Path, part: Path) -> None:
        try:
            self.disk.publish(path, part)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if part.exists():  # the file system has no links; the lock keeps others away
                raise FileExistsError(errno.EEXIST, "is taken", str(part)) from error
            self.disk.replace(path, part)

    def _numbers(self) -> list[int]:
        part = re.compile(r"part-(\d{6,})\..+")
        with os.scandir(self.folder) as names:
            return [int(found[1]) for each in names if (found := part.fullmatch(each.name))]

    def _recover(self) -> None:
        with storage_errors("recover", self._open_path):
            try:
                fd = self.disk.open(self._open_path, os.O_RDWR)
            except FileNotFoundError:
                return
        file = self._open = LineFile(disk=self.disk, fd=fd, path=self._open_path)
        try:
            with storage_errors("recover", file.path):
                if os.fstat(fd).st_nlink > 1:  # it got its number, and died before the next step
                    self.disk.remove(file.path)
                else:
                    self._keep_whole(file)
        finally:
            self._open = None
            file.close()

    def _keep_whole(self, file: LineFile) -> None:
        with os.fdopen(os.dup(file.fd), "rb") as readable:
            size, lines = _whole(readable, quoted=self.quoted)
        file.cut(size)
        if lines > int(self.quoted):  # a table's own first line is no record
            self._link(file)
        else:
            self.disk.remove(file.path)

    def _probe(self) -> None:
        """Find out now, not after the first paid answer, whether a file can be made here."""
        self._begin()

    def _take_lock(self) -> None:
        path = self.folder / _LOCK
        fd = self.disk.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        file = LineFile(disk=self.disk, fd=fd, path=path)
        try:
            self._mode = os.fstat(fd).st_mode & 0o666  # what the umask makes of a new file
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
                f"{self.folder} is being written by {owner}; wait for its end, or give "
                "another folder"
            )

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _whole(file: BinaryIO, *, quoted: bool) -> tuple[int, int]:
    """
    Answer the bytes and the number of the whole lines that *file* begins with.

    A power cut may leave a torn line at the end, or NUL bytes where data was on its way. What
    comes after was never acknowledged.
    """
    size = good = lines = quotes = 0
    for line in file:
        if not line.endswith(b"\n") or b"\0" in line:
            break
        size += len(line)
        quotes += line.count(b'"')
        if not (quoted and quotes % 2):
            good = size
            lines += 1
    return good, lines
