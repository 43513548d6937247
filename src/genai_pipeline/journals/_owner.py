"""Which process has a journal: a lock beside its file, which dies with its holder."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._recovery import Owner

__all__ = ["OwnerLock", "boot_id", "this_process"]

_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Answer what tells this start of the machine from others; empty where nothing does."""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""


def this_process(since: float) -> Owner:
    """Answer this process as an owner."""
    return Owner(pid=os.getpid(), host=socket.gethostname(), boot=boot_id(), since=since)


@attrs.define(eq=False)
class OwnerLock:
    """The lock of a journal; held from `acquire` until `release`, or the death of the process."""

    path: Path
    descriptor: int = -1

    def acquire(self, owner: Owner, journal: Path) -> None:
        """Take the lock, and say in the file who has it; raises `ConfigurationError`."""
        while True:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It may have been removed by an owner that left between opening and locking.
                if self._is_there(descriptor):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, json.dumps(attrs.asdict(owner)).encode(), 0)
                    self.descriptor = descriptor
                    return
            except BlockingIOError:
                holder = os.pread(descriptor, 1000, 0)
                os.close(descriptor)
                raise _taken(journal, holder) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def acquire_or_look(self, owner: Owner, journal: Path) -> bool:
        """
        Take the lock where a file for it can be made, and answer true.

        Elsewhere, as on a disk that is read-only, only see that nobody has it.
        """
        try:
            self.acquire(owner, journal)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            self._require_free(journal)
            return False
        return True

    def _require_free(self, journal: Path) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(journal, os.pread(descriptor, 1000, 0)) from None
        finally:
            os.close(descriptor)

    def _is_there(self, descriptor: int) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def release(self) -> None:
        """Give the lock up, and take its file away."""
        if self.descriptor >= 0:
            self.path.unlink(missing_ok=True)
            self.drop()

    def drop(self) -> None:
        """Let go of the lock without a trace, as the death of the process does."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _taken(journal: Path, holder: bytes) -> ConfigurationError:
    try:
        owner = Owner(**json.loads(holder))
        who = f"process {owner.pid} on {owner.host}"
    except (ValueError, TypeError):  # it is being written just now
        who = "another process"
    return ConfigurationError(
        f"Sqlite: path={str(journal)!r} is in use by {who}; wait until it has ended; "
        f"`genai-pipeline status {journal}` tells how it is doing"
    )
