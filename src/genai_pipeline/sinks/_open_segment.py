"""The segment that is being written, and which records its lines are of."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from genai_pipeline.sinks._disk import storage_errors
from genai_pipeline.sinks._folder import Folder
from genai_pipeline.sinks._keys import HEADER, Entry, Line
from genai_pipeline.sinks._line_file import LineFile

__all__ = ["OpenSegment", "keys_path", "open_path"]


def open_path(folder: Path, suffix: str) -> Path:
    """Answer where the lines of the open segment are."""
    return folder / f".open{suffix}.tmp"


def keys_path(folder: Path, suffix: str) -> Path:
    """Answer where the keys of the open segment are."""
    return folder / f".open{suffix}.keys.tmp"


@attrs.define(kw_only=True, eq=False)
class OpenSegment:
    """
    Two files that are written and synced together: lines, and an entry for each.

    A line without an entry was never acknowledged, nor was an entry without a line.
    """

    lines: LineFile
    keys: LineFile | None
    """`None` for what an older version left, which kept no keys."""

    records: int = 0

    @classmethod
    def create(cls, folder: Folder, suffix: str) -> OpenSegment:
        """Make both files; raises `StorageFailed`, and then neither is there."""
        files: list[LineFile] = []
        try:
            for path in (keys_path(folder.path, suffix), open_path(folder.path, suffix)):
                with storage_errors("create", path):
                    files.append(LineFile.create(folder.disk, path))
            with storage_errors("sync", folder.path):
                folder.sync()
        except BaseException:
            for file in files:
                with contextlib.suppress(OSError):
                    folder.disk.remove(file.path)
                file.close()
            raise
        keys, lines = files
        return cls(lines=lines, keys=keys)

    def append(self, lines: Sequence[Line]) -> None:
        """Write *lines* after the others; all of them, or none and raise `StorageFailed`."""
        assert self.keys is not None, "what an older version left is published as it is"
        before = self.keys.size
        self.keys.append([bytes(line.entry) for line in lines])
        try:
            self.lines.append([line.data for line in lines])
        except BaseException:
            self.keys.cut(before)
            raise
        self.records += _records([line.entry for line in lines])

    def sync(self) -> None:
        """Return when all will survive a power cut."""
        if self.keys is not None:
            self.keys.sync()
        self.lines.sync()

    def take_back(self, lines: Sequence[Line]) -> None:
        """Cut off *lines*, which were the last to be appended."""
        assert self.keys is not None, "only what was appended is taken back"
        entries = [line.entry for line in lines]
        self.lines.cut(self.lines.size - sum(entry.length for entry in entries))
        self.keys.cut(self.keys.size - sum(len(bytes(entry)) for entry in entries))
        self.records -= _records(entries)

    def keep(self, entries: Sequence[Entry]) -> None:
        """Cut what was found to the lines of *entries*."""
        assert self.keys is not None, "without keys nobody knows the lines"
        self.lines.cut(sum(entry.length for entry in entries))
        self.keys.cut(sum(len(bytes(entry)) for entry in entries))
        self.records = _records(entries)

    def allow(self, mode: int) -> None:
        """Let others read both files, as *mode* has it."""
        for file in self._files():
            os.fchmod(file.fd, mode)

    def remove(self) -> None:
        """Remove both files."""
        for file in reversed(self._files()):  # lines without keys would be an older version's
            with storage_errors("remove", file.path):
                file.disk.remove(file.path)

    def close(self) -> None:
        """Close both files."""
        for file in self._files():
            file.close()

    def _files(self) -> list[LineFile]:
        return [self.lines] if self.keys is None else [self.keys, self.lines]


def _records(entries: Sequence[Entry]) -> int:
    return sum(entry.key != HEADER for entry in entries)
