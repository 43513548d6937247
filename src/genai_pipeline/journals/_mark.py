"""How many commits are durable, told beside a journal after each of them."""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import attrs

from genai_pipeline.journals._recovery import commits
from genai_pipeline.journals._status import read_status, status_path
from genai_pipeline.journals._tables import Tables

__all__ = ["Mark", "loss_of", "mark_path"]

_BODY = struct.Struct("<32sQ")  # the journal's own name, and how many
_SUM = struct.Struct("<I")


def mark_path(path: Path) -> Path:
    """Answer where the mark of the journal *path* is."""
    return path.with_name(path.name + ".mark")


@attrs.define(eq=False)
class Mark:
    """
    A few bytes beside a journal, written over after each commit.

    They are written once the commit is on the disk, and never synced: so they outlive the process,
    and after a power cut they are behind the journal, or as they were, and never ahead of it.
    What cannot be written is left out, since the status tells it too, about once a second.
    """

    path: Path
    _name: bytes = b""
    _descriptor: int = -1

    def open(self, journal: str) -> None:
        """Begin to tell of the journal that calls itself *journal*."""
        self._name = journal.encode()
        with suppress(OSError):
            flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)

    def tell(self, commits: int) -> None:
        """Tell that so many are durable."""
        if self._descriptor >= 0:
            body = _BODY.pack(self._name, commits)
            with suppress(OSError):
                os.pwrite(self._descriptor, body + _SUM.pack(zlib.crc32(body)), 0)

    def remove(self) -> None:
        """Take it away: the journal was left in order, and its status tells how many there are."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            self.drop()

    def drop(self) -> None:
        """Leave it as it is, as the death of the process does."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _read(path: Path) -> tuple[str, int] | None:
    """Answer the journal's own name and its commits; `None` where nothing is told."""
    try:
        said = path.read_bytes()
        body = said[: _BODY.size]
        if _SUM.unpack(said[_BODY.size :]) != (zlib.crc32(body),):
            return None
        name, number = _BODY.unpack(body)
        return name.decode(), number
    except (OSError, struct.error, UnicodeDecodeError):
        return None


def loss_of(tables: Tables, path: Path) -> str | None:
    """Answer what is missing of the journal *path* that was durable; `None` if nothing is."""
    status, told = read_status(path), list[tuple[str, int]]()
    if status is not None:
        told.append((status.journal, status.commits))
    if (mark := _read(mark_path(path))) is not None:
        told.append(mark)
    row = tables.one("SELECT value FROM meta WHERE name = 'journal'")
    found = commits(tables)
    most = max(
        (number for name, number in told if found == 0 or (row is not None and name == row[0])),
        default=0,
    )
    if found >= most:
        return None
    return (
        f"the journal {path} lacks the last {most - found} of {most} commits that were durable: "
        f"the file {path.name}-wal was removed or cut, or the journal replaced by an older copy. "
        f"Put the files back; or, to go on without what is lost, remove {status_path(path)} and "
        f"{mark_path(path)}: answers among it would be paid for again"
    )
