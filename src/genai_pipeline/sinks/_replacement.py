"""One file, written beside the old one and put in its place at the end."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

import attrs

from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.sinks._disk import UNSUPPORTED, Disk, storage_errors
from genai_pipeline.sinks._keys import Held, Line
from genai_pipeline.sinks._line_file import LineFile

__all__ = ["Replacement", "parent_of"]

_PERMISSIONS = 0o666


@attrs.define(kw_only=True, eq=False)
class Replacement:
    """
    Lines go to a locked temporary file, which takes the place of *path* at the end.

    It does when anything was written, or the run did not fail; else the old file stays. A line
    that is there is not written again.
    """

    path: Path
    disk: Disk
    make_dirs: bool
    header: bytes = b""
    """Stands before the first line."""

    _temporary: LineFile | None = attrs.field(default=None, init=False)
    _held: Held = attrs.field(factory=Held, init=False)
    _mode: int = attrs.field(default=0, init=False)

    @property
    def name(self) -> str:
        """What errors call this."""
        return str(self.path)

    def open(self) -> None:
        """Make the temporary file; raises before the run begins if that cannot go well."""
        self.path = Path(os.path.realpath(self.path))  # a link stays a link to the new file
        parent_of(self.path, make_dirs=self.make_dirs)
        self._check_target()
        with storage_errors("create a file beside", self.path):
            self._create()
        try:
            self._sweep()
        except BaseException:
            self._discard()
            raise

    def write(self, lines: list[Line]) -> None:
        """Append *lines*."""
        file = self._file
        new = self._held.new(lines)
        if not new:
            return
        header = [self.header] if not file.size and self.header else []
        file.append([*header, *(line.data for line in new)])
        self._held.add(line.entry for line in new)

    def close(self, *, failed: bool) -> None:
        """Publish, unless the run failed before anything was written."""
        if failed and not self._file.size:
            self._discard()
            return
        try:
            self._publish()
        except StorageFailed as error:
            raise StorageFailed(
                f"{error}; {self.path} is what it was before, and the new lines stay in "
                f"{self._file.path} until the next run"
            ) from error
        finally:
            self._file.close()

    @property
    def _file(self) -> LineFile:
        assert self._temporary is not None, "write and close come after open"
        return self._temporary

    def _check_target(self) -> None:
        with storage_errors("look at", self.path):
            try:
                found = self.path.stat()
            except FileNotFoundError:
                return
        if stat.S_ISDIR(found.st_mode):
            raise ConfigurationError(
                f"{self.path} is a directory; give a file, or segment= for a folder of parts"
            )
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(
                f"{self.path} is no regular file and cannot be replaced; give another path, "
                "or use Stdout"
            )
        if not os.access(self.path, os.W_OK):
            raise ConfigurationError(
                f"{self.path} is write-protected; give another path, or allow it with chmod u+w"
            )

    def _create(self) -> None:
        while True:
            path = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}.tmp")
            file = LineFile.create(self.disk, path, _PERMISSIONS)
            try:
                self._mode = os.fstat(file.fd).st_mode & _PERMISSIONS  # as the umask has it
                os.fchmod(file.fd, 0o600)  # nobody reads it before it is published
                if self._lock(file.fd) and _is_named(path, file.fd):
                    self._temporary = file
                    return
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            finally:
                if self._temporary is not file:  # an error, or another run swept it up
                    file.close()

    def _lock(self, fd: int) -> bool:
        try:
            return self.disk.lock(fd)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return True  # without locks nothing is swept up either

    def _sweep(self) -> None:
        """Remove what runs that were killed have left; refuse to race with one that lives."""
        ours = re.compile(rf"\.{re.escape(self.path.name)}\.[0-9a-f]{{16}}\.tmp")
        with storage_errors("look into", self.path.parent), os.scandir(self.path.parent) as names:
            found = [Path(each.path) for each in names if ours.fullmatch(each.name)]
        for path in found:
            if path != self._file.path:
                with storage_errors("remove", path):
                    self._sweep_one(path)

    def _sweep_one(self, path: Path) -> None:
        try:
            fd = self.disk.open(path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            if not self.disk.lock(fd):
                raise ConfigurationError(
                    f"{self.path} is being written by another run, into {path.name}; "
                    "wait for its end, or give another path"
                )
            if _is_named(path, fd):
                self.disk.remove(path)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        finally:
            self.disk.close(fd)

    def _publish(self) -> None:
        file = self._file
        if not file.size and self.header:
            file.append([self.header])
        with storage_errors("publish", self.path):
            with contextlib.suppress(FileNotFoundError):
                self._mode = self.path.stat().st_mode & 0o777
            os.fchmod(file.fd, self._mode)
        file.sync()
        with storage_errors("publish", self.path):
            self.disk.replace(file.path, self.path)
        with storage_errors("sync", self.path.parent):
            self.disk.sync_folder(self.path.parent)

    def _discard(self) -> None:
        file = self._file
        try:
            with storage_errors("remove", file.path):
                self.disk.remove(file.path)
        finally:
            file.close()


def _is_named(path: Path, fd: int) -> bool:
    """Tell whether *path* still is the name of the open file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(fd))


def parent_of(path: Path, *, make_dirs: bool) -> None:
    """Raise `ConfigurationError` unless *path* has a folder to be in; make it if asked to."""
    parent = path.parent
    if make_dirs:
        with storage_errors("make the directory", parent):
            parent.mkdir(parents=True, exist_ok=True)
    elif not parent.is_dir():
        what = "is no directory" if parent.exists() else "does not exist"
        raise ConfigurationError(
            f"{path}: the directory {parent} {what}; make it, or set make_dirs=True"
        )
