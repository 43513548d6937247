"""A folder of finished parts, and the one that is being written."""

from __future__ import annotations

import attrs

from genai_pipeline.errors import StorageFailed, StorageFull
from genai_pipeline.sinks._keys import Held, Line
from genai_pipeline.sinks._open_segment import OpenSegment
from genai_pipeline.sinks._parts import Parts

__all__ = ["Segments"]


@attrs.define(kw_only=True, eq=False)
class Segments:
    """
    Lines are synced in an open segment, which becomes a part of the folder when it is full.

    ``part-000001.jsonl`` and so on are complete and never change. The open one is
    ``.open.jsonl.tmp``; one that a killed process left is cut to its whole lines and published
    at the next open. Which records lines are of stands beside each, so that a line that is in the
    folder is not written again.
    ``.lock`` keeps a second process out.
    """

    parts: Parts
    segment: int
    """The records in each part."""

    header: bytes = b""
    """Stands at the top of every part."""

    _open: OpenSegment | None = attrs.field(default=None, init=False)
    _held: Held = attrs.field(factory=Held, init=False)
    _broken: str | None = attrs.field(default=None, init=False)

    @property
    def name(self) -> str:
        """What errors call this."""
        return str(self.parts.folder.path)

    def open(self) -> None:
        """Lock the folder, publish what a killed process left, and see what is there."""
        self.parts.folder.open()
        try:
            self._held = self.parts.open()
            # Find out now, not after the first paid answer, whether a file can be made here.
            self._open = OpenSegment.create(self.parts.folder, self.parts.suffix)
        except BaseException:
            self._let_go()
            raise

    def write(self, lines: list[Line]) -> None:
        """Append those *lines* that are new and sync them, publishing each part that is full."""
        new = self._held.new(lines)
        while new:
            file = self._ready()
            room = self.segment - file.records
            if room > 0:
                self._append(file, new[:room])
                new = new[room:]
            if file.records >= self.segment:
                self._publish_or_wait(more=bool(new))

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - what was synced stays in any case
        """Publish what is in the open segment."""
        try:
            if self._broken is None:
                self._publish()
        finally:
            self._let_go()

    def _publish_or_wait(self, *, more: bool) -> None:
        """Publish; on a full disk, only raise where *more* is to be written after it."""
        try:
            self._publish()
        except StorageFull:
            if more:
                raise

    def _ready(self) -> OpenSegment:
        if self._broken is not None:
            raise StorageFailed(self._broken)
        if self._open is None:
            self._open = OpenSegment.create(self.parts.folder, self.parts.suffix)
        return self._open

    def _append(self, file: OpenSegment, lines: list[Line]) -> None:
        if not file.records and self.header:
            lines = [Line.header(self.header), *lines]
        file.append(lines)
        try:
            file.sync()
        except StorageFailed as error:
            # After a failed sync nobody knows what the disk holds: no second try in this run.
            file.take_back(lines)
            self._broken = (
                f"{error}; nothing more is written here, and the next run recovers the lines "
                f"that were synced before from {file.lines.path}"
            )
            raise StorageFailed(self._broken) from error
        self._held.add(line.entry for line in lines)

    def _publish(self) -> None:
        file = self._open
        if file is None:
            return
        if not file.records:
            file.remove()
        else:
            try:
                self.parts.publish(file)
            except StorageFull:
                raise  # its lines are safe, and it is published before the next are written
            except StorageFailed as error:
                self._broken = (
                    f"{error}; its lines are safe in {file.lines.path} until the next run"
                )
                raise StorageFailed(self._broken) from error
        self._open = None
        file.close()

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        self.parts.folder.close()
