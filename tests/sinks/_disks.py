"""Disks that fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genai_pipeline.sinks import Disk


class PowerCut(BaseException):
    """The machine is off; nothing after it has an effect."""


class FaultyDisk(Disk):
    """Makes the *at*-th call to the disk fail, once or from then on."""

    def __init__(self, at: int, failure: Callable[[], BaseException], *, lasting: bool) -> None:
        self.calls = 0
        self.at = at
        self.failure = failure
        self.lasting = lasting
        self._synced: list[tuple[int, int]] = []

    def lose(self) -> None:
        """Lose what was not synced, as a power cut does: bytes that were on their way are zero."""
        for fd, size in self._synced:
            length = os.fstat(fd).st_size
            if length > size:
                os.ftruncate(fd, size)
                os.ftruncate(fd, length)
            os.close(fd)
        self._synced.clear()

    def forget(self) -> None:
        """Close what is kept to know about unsynced bytes."""
        for fd, _ in self._synced:
            os.close(fd)
        self._synced.clear()

    def _fails(self) -> bool:
        self.calls += 1
        return self.calls >= self.at if self.lasting else self.calls == self.at

    def _try(self) -> None:
        if self._fails():
            raise self.failure()

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """Open, or fail."""
        self._try()
        fd = super().open(path, flags, mode)
        self._synced.append((os.dup(fd), 0))
        return fd

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """Write, or write the half of it and then fail."""
        if self._fails():
            super().write(fd, data[: len(data) // 2], offset)
            raise self.failure()
        return super().write(fd, data, offset)

    def cut(self, fd: int, size: int) -> None:
        """Cut, or fail."""
        self._try()
        super().cut(fd, size)

    def sync(self, fd: int) -> None:
        """Sync, or fail."""
        self._try()
        super().sync(fd)
        self._synced = [
            (copy, os.fstat(fd).st_size if os.path.sameopenfile(copy, fd) else size)
            for copy, size in self._synced
        ]

    def sync_folder(self, folder: Path) -> None:
        """Sync, or fail."""
        self._try()
        super().sync_folder(folder)

    def replace(self, source: Path, target: Path) -> None:
        """Rename, or fail."""
        self._try()
        super().replace(source, target)

    def publish(self, source: Path, target: Path) -> None:
        """Link, or fail."""
        self._try()
        super().publish(source, target)

    def remove(self, path: Path) -> None:
        """Remove, or fail."""
        self._try()
        super().remove(path)


def error_of(number: int) -> Callable[[], OSError]:
    """Answer what makes the error the system would raise for *number*."""
    return lambda: OSError(number, os.strerror(number))


class SlowDisk(Disk):
    """Counts the calls that write, and holds each until *gate* opens."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.groups: list[int] = []

    def write(self, fd: int, data: memoryview, offset: int) -> int:
        """Wait for the gate, then write."""
        self.groups.append(bytes(data).count(b"\n"))
        self.gate.wait()
        return super().write(fd, data, offset)
