"""What sinks ask of the operating system, in one place that tests can put another in."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genai_pipeline.errors import StorageFailed, StorageFull

__all__ = ["Disk", "storage_errors"]

_MENDS = {
    errno.ENOSPC: "the disk is full: free some space and run again",
    errno.EDQUOT: "the quota is used up: free some space and run again",
    errno.EFBIG: "the file would grow beyond its limit (see ulimit -f)",
    errno.EROFS: "the file system is read-only: give another path",
    errno.EACCES: "give a path that this user may write",
    errno.EPERM: "give a path that this user may write",
    errno.EIO: "the disk is failing: check it before the next run",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

# What a file system answers that does not know such a call at all.
UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK})


class Disk:
    """
    The system calls that file sinks make; each blocks, and raises `OSError`.

    A test gives a subclass that fails as ``disk=`` to see what a sink does about it.
    """

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open *path* without following a link, and without handing it to child processes."""
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """Write *data* at *offset*; answer how many bytes were taken."""
        return os.pwrite(fd, data, offset)

    def cut(self, fd: int, size: int) -> None:
        """Make the file *size* bytes long."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Return when the file's bytes will survive a power cut."""
        full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS, whose fsync does not reach the platter
        if full is None:
            os.fsync(fd)
        else:
            fcntl.fcntl(fd, full)

    def sync_folder(self, folder: Path) -> None:
        """Return when the names in *folder* will survive a power cut."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in UNSUPPORTED:  # some network file systems keep names in step
                raise
        finally:
            os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Give the file *source* the name *target*, in place of any other file of that name."""
        source.replace(target)

    def publish(self, source: Path, target: Path) -> None:
        """Give the file *source* the name *target* too, raising FileExistsError if it is taken."""
        os.link(source, target, follow_symlinks=False)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone is no error."""
        path.unlink(missing_ok=True)

    def lock(self, fd: int) -> bool:
        """Lock the file for this process until it is closed; answer whether it was free."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self, fd: int) -> None:
        """Close the file, and unlock it even where a forked child has it open."""
        try:
            fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        finally:
            os.close(fd)


@contextmanager
def storage_errors(doing: str, path: Path) -> Iterator[None]:
    """
    Turn an `OSError` into a `StorageFailed` that names the path, the reason and the mend.

    A full disk is a `StorageFull`.
    """
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        mend = _MENDS.get(error.errno or 0)
        told = f"cannot {doing} {path}: {error.strerror or error} ({name})"
        told += f"; {mend}" if mend else ""
        if error.errno in FULL:
            full = StorageFull(told)
            full.path = str(path)
            raise full from error
        raise StorageFailed(told) from error
