"""The finished parts of a folder, and what a killed process left there."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import BinaryIO

import attrs

from genai_pipeline.errors import StorageFailed, StorageFull
from genai_pipeline.sinks._disk import storage_errors
from genai_pipeline.sinks._folder import Folder
from genai_pipeline.sinks._keys import Entry, Held, entries_in, matching
from genai_pipeline.sinks._line_file import LineFile
from genai_pipeline.sinks._open_segment import OpenSegment, keys_path, open_path

__all__ = ["Parts"]


@attrs.define(kw_only=True, eq=False)
class Parts:
    """
    ``part-000001.jsonl`` and so on, and the keys of each in ``.part-000001.jsonl.keys``.

    A part without such a file is an older version's: it is left as it is, its keys unknown. Keys
    without their part are forgotten.
    """

    folder: Folder
    suffix: str
    quoted: bool
    """Whether a line break between double quotes is no end of a line."""

    _next: int = attrs.field(default=1, init=False)

    def open(self) -> Held:
        """Put in order what a killed process left; answer which lines are there."""
        path = self.folder.path
        with storage_errors("open the folder", path):
            part = re.compile(r"part-(\d{6,})\..+")
            numbers = [int(found[1]) for name in self.folder.names() if (found := part.match(name))]
            self._next = 1 + max(numbers, default=0)
        left = open_path(path, self.suffix)
        with storage_errors("recover", left):
            self._recover(left)
        with storage_errors("recover", keys_path(path, self.suffix)):
            self._adopt(keys_path(path, self.suffix))
        with storage_errors("read the keys of", path):
            return self._held()

    def publish(self, segment: OpenSegment) -> None:
        """
        Give *segment* its number; a crash at any point loses and doubles nothing.

        Raises `StorageFull` when it has none yet and may be published later, `StorageFailed` for
        what cannot be tried again.
        """
        path = self.folder.path
        with storage_errors("publish a part in", path):
            segment.allow(self.folder.mode)
        segment.sync()
        with storage_errors("publish a part in", path):
            part = self._numbered(segment.lines.path)
        try:
            self._finish(segment, part)
        except StorageFull as error:
            raise StorageFailed(*error.args) from error

    def _finish(self, segment: OpenSegment, part: Path) -> None:
        with storage_errors("publish a part in", self.folder.path):
            self.folder.sync()
            # From here on a crash leaves keys without an open segment, which are adopted.
            if segment.keys is not None:
                self.folder.disk.replace(segment.keys.path, _keys_of(part))
            self.folder.disk.remove(segment.lines.path)

    def _numbered(self, path: Path) -> Path:
        while True:
            part = self.folder.path / f"part-{self._next:06d}{self.suffix}"
            self._next += 1
            with contextlib.suppress(FileExistsError):
                self.folder.name(path, part)
                return part

    def _finished(self) -> list[Path]:
        part = re.compile(rf"part-\d{{6,}}{re.escape(self.suffix)}")
        return [self.folder.path / name for name in self.folder.names() if part.fullmatch(name)]

    def _held(self) -> Held:
        held = Held()
        parts = {_keys_of(part).name for part in self._finished()}
        keys = re.compile(rf"\.part-\d{{6,}}{re.escape(self.suffix)}\.keys")
        for name in self.folder.names():
            if name in parts:
                held.add(entries_in(self._read(self.folder.path / name)))
            elif keys.fullmatch(name):
                self.folder.disk.remove(self.folder.path / name)
        return held

    def _read(self, path: Path) -> bytes:
        with os.fdopen(self.folder.disk.open(path, os.O_RDONLY), "rb") as file:
            return file.read()

    def _recover(self, left: Path) -> None:
        """Publish the open segment that a killed process left, cut to its whole lines."""
        lines = self._found(left)
        if lines is None:
            return
        keys = None
        try:
            if os.fstat(lines.fd).st_nlink > 1:  # it got its number, and died before the next step
                self.folder.disk.remove(left)
                return
            keys = self._found(keys_path(self.folder.path, self.suffix))
            segment = OpenSegment(lines=lines, keys=keys)
            self._cut_to_whole(segment)
            if segment.records:
                self.publish(segment)
            else:
                segment.remove()
        finally:
            lines.close()
            if keys is not None:
                keys.close()

    def _cut_to_whole(self, segment: OpenSegment) -> None:
        fd = segment.lines.fd
        if segment.keys is not None:
            segment.keep(matching(fd, entries_in(self._read(segment.keys.path))))
            return
        with os.fdopen(os.dup(fd), "rb") as readable:
            size, count = _whole(readable, quoted=self.quoted)
        segment.lines.cut(size)
        segment.records = max(count - self.quoted, 0)  # a table's own first line is no record

    def _adopt(self, left: Path) -> None:
        """Give keys that were left alone to the part they are of, if it is there."""
        file = self._found(left)
        if file is None:
            return
        file.close()
        entries = entries_in(self._read(left))
        for part in reversed(self._finished()):
            if not _keys_of(part).exists() and self._is_of(part, entries):
                self.folder.disk.replace(left, _keys_of(part))
                return
        self.folder.disk.remove(left)

    def _is_of(self, part: Path, entries: list[Entry]) -> bool:
        if part.stat().st_size != sum(entry.length for entry in entries):
            return False
        fd = self.folder.disk.open(part, os.O_RDONLY)
        try:
            return len(matching(fd, entries)) == len(entries)
        finally:
            os.close(fd)

    def _found(self, path: Path) -> LineFile | None:
        try:
            fd = self.folder.disk.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        return LineFile(disk=self.folder.disk, fd=fd, path=path)


def _keys_of(part: Path) -> Path:
    return part.with_name(f".{part.name}.keys")


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
