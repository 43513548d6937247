"""A folder in which each write is a file of its own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Literal

import attrs

from genai_pipeline.sinks._disk import storage_errors
from genai_pipeline.sinks._folder import Folder
from genai_pipeline.sinks._line_file import LineFile

__all__ = ["FileFolder", "NewFile"]

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")


@attrs.define(kw_only=True, eq=False)
class NewFile:
    """A file to write."""

    name: str
    data: bytes = attrs.field(repr=False)
    refused: str | None = None
    """Why it was not written, when another is there that must stay."""


@attrs.define(kw_only=True, eq=False)
class FileFolder:
    """Files that are whole or not there; one sync of the folder for all that come together."""

    folder: Folder
    on_existing: Literal["replace", "keep", "refuse"]

    @property
    def name(self) -> str:
        """What errors call this."""
        return str(self.folder.path)

    def open(self) -> None:
        """Lock the folder, and remove what a killed process left half-written."""
        self.folder.open()
        try:
            with storage_errors("tidy up", self.folder.path):
                for name in filter(_TEMPORARY.fullmatch, self.folder.names()):
                    self.folder.disk.remove(self.folder.path / name)
            self._probe()
        except BaseException:
            self.folder.close()
            raise

    def write(self, files: list[NewFile]) -> None:
        """Write all *files*; those that were before an error are there, which harms nothing."""
        try:
            for file in files:
                self._write_one(file)
        finally:
            with storage_errors("sync", self.folder.path):
                self.folder.sync()

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - what was written stays in any case
        """Let others write the folder."""
        self.folder.close()

    def _probe(self) -> None:
        """Find out now, not after the first paid answer, whether a file can be made here."""
        path = self._temporary_path()
        with storage_errors("create a file in", self.folder.path):
            LineFile.create(self.folder.disk, path).close()
            self.folder.disk.remove(path)

    def _write_one(self, file: NewFile) -> None:
        target = self.folder.path / file.name
        if self.on_existing != "replace" and os.path.lexists(target):
            self._meet(file, target)
            return
        path = self._temporary_path()
        with storage_errors("create a file in", self.folder.path):
            temporary = LineFile.create(self.folder.disk, path)
        try:
            self._fill(temporary, file.data)
            with storage_errors("write", target):
                self._publish(path, file, target)
        finally:
            temporary.close()
            # It is gone after a rename, one name too many after a link, useless after an error.
            with contextlib.suppress(OSError):
                self.folder.disk.remove(path)

    def _fill(self, temporary: LineFile, data: bytes) -> None:
        temporary.append([data])
        with storage_errors("write", temporary.path):
            os.fchmod(temporary.fd, self.folder.mode)
        temporary.sync()

    def _publish(self, path: Path, file: NewFile, target: Path) -> None:
        if self.on_existing == "replace":
            self.folder.disk.replace(path, target)
            return
        try:
            self.folder.name(path, target)
        except FileExistsError:  # somebody else's, since a moment ago
            self._meet(file, target)

    def _meet(self, file: NewFile, target: Path) -> None:
        """Keep the file that is there; note it where that is no repeat."""
        if self.on_existing == "refuse" and not self._holds(target, file.data):
            file.refused = (
                f"{target} is there already, with other content; "
                "on_existing='replace' or 'keep' allows that"
            )

    def _holds(self, target: Path, data: bytes) -> bool:
        with storage_errors("read", target):
            fd = self.folder.disk.open(target, os.O_RDONLY)
        with os.fdopen(fd, "rb") as readable, storage_errors("read", target):
            return readable.read(len(data) + 1) == data

    def _temporary_path(self) -> Path:
        return self.folder.path / f".{secrets.token_hex(8)}.tmp"
