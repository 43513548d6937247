"""A disk in memory that loses power, runs full and fails: a VFS for the real SQLite."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import apsw
import attrs

__all__ = ["Change", "Connection", "Disk", "PowerCuts", "kills"]

SECTOR = 512

Change: TypeAlias = tuple[str, str, int, bytes]
"""What was done to which file: ``write`` at an offset, ``truncate`` to a size, ``sync`` …"""

Trouble: TypeAlias = Callable[[str, str], type[apsw.Error] | None]
"""Answers the error that a kind of change to a file meets, if any."""

_numbers = itertools.count()


def _healthy(kind: str, name: str) -> type[apsw.Error] | None:
    return None


@attrs.define(eq=False)
class Disk:
    """
    Files in memory, and the log of all that was done to them.

    Give `connect` to a journal. What *trouble* answers is raised instead of a change.
    """

    files: dict[str, bytearray] = attrs.field(factory=dict)
    log: list[Change] = attrs.field(factory=list)
    found: dict[str, bytes] = attrs.field(factory=dict)
    """What was on it, for good, before the log began."""

    trouble: Trouble = _healthy
    _vfs: Any = None

    def connect(self, path: Path) -> Any:
        """Open *path* on this disk, by an interface like `sqlite3`'s."""
        if self._vfs is None:
            self._vfs = _Vfs(self, f"disk {next(_numbers)}")
        return Connection(self._vfs.name, str(path))

    def change(self, kind: str, name: str, place: int = 0, data: bytes = b"") -> None:
        """Do something to a file, unless there is trouble."""
        error = self.trouble(kind, name)
        if error is not None:
            raise error(f"{kind} of {name}")
        self.log.append((kind, name, place, data))
        _do(self.files, (kind, name, place, data))

    def after_a_kill(self) -> Disk:
        """Answer the disk as the next process finds it: all is there, and may be unsynced still."""
        files = {name: bytearray(content) for name, content in self.files.items()}
        return Disk(files, list(self.log), self.found)

    def after_a_power_cut(self, chance: random.Random) -> Disk:
        """Answer the disk as it may be when the power goes now."""
        surface = _Surface({name: bytearray(content) for name, content in self.found.items()})
        for change in self.log:
            surface.take(change)
        torn = surface.torn(chance)
        torn.found = {name: bytes(content) for name, content in torn.files.items()}
        return torn


def _do(files: dict[str, bytearray], change: Change) -> None:
    kind, name, place, data = change
    if kind == "delete":
        files.pop(name, None)
    elif kind == "write":
        content = files.setdefault(name, bytearray())
        if len(content) < place:
            content.extend(bytes(place - len(content)))
        content[place : place + len(data)] = data
    elif kind == "truncate":
        del files.setdefault(name, bytearray())[place:]


def kills(log: Sequence[Change], since: int = 0) -> Iterator[tuple[int, Disk]]:
    """Answer what a disk holds when the process is killed after each change *since* one."""
    for number in range(since, len(log) + 1):
        files: dict[str, bytearray] = {}
        for change in log[:number]:
            _do(files, change)
        yield number, Disk(files)


@attrs.define(eq=False)
class _Surface:
    """What of a log of changes is on the disk for good, and what was not synced."""

    durable: dict[str, bytearray] = attrs.field(factory=dict)
    pending: dict[str, list[Change]] = attrs.field(factory=dict)

    def take(self, change: Change) -> None:
        kind, name, _, _ = change
        if kind == "sync":
            for each in self.pending.pop(name, ()):
                _do(self.durable, each)
        else:
            self.pending.setdefault(name, []).append(change)

    def torn(self, chance: random.Random) -> Disk:
        """Answer a disk that has each piece which was not synced by a coin's toss."""
        files = {name: bytearray(content) for name, content in self.durable.items()}
        for changes in self.pending.values():
            for change in changes:
                for piece in _pieces(change):
                    if chance.random() < 0.5:
                        _do(files, piece)
        return Disk(files)


class PowerCuts:
    """What a disk may hold when the power goes after each of the changes in a log."""

    def __init__(self, log: Sequence[Change], seed: int) -> None:
        self._log = log
        self._random = random.Random(seed)

    def __iter__(self) -> Iterator[tuple[int, Disk]]:
        """Answer each point, as the number of changes done, with a disk as it may be then."""
        surface = _Surface()
        yield 0, Disk()
        for number, change in enumerate(self._log, 1):
            surface.take(change)
            yield number, surface.torn(self._random)


def _pieces(change: Change) -> Iterable[Change]:
    kind, name, place, data = change
    if kind != "write":
        return [change]
    ends = range(SECTOR - place % SECTOR, len(data), SECTOR)
    cuts = [0, *ends, len(data)]
    return [(kind, name, place + a, data[a:b]) for a, b in itertools.pairwise(cuts)]


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk, name: str) -> None:
        self.name, self._disk = name, disk
        super().__init__(name, "")

    def xFullPathname(self, name: str) -> str:
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:
        return pathname in self._disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.change("delete", filename)
        if syncdir:
            self._disk.change("sync", filename)

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = (
            f"temporary {next(_numbers)}"
            if name is None
            else str(name.filename() if isinstance(name, apsw.URIFilename) else name)
        )
        self._disk.files.setdefault(path, bytearray())
        return _File(self._disk, path)


class _File:
    def __init__(self, disk: Disk, name: str) -> None:
        self._disk, self._name = disk, name

    @property
    def _content(self) -> bytearray:
        return self._disk.files.setdefault(self._name, bytearray())

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.change("write", self._name, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        self._disk.change("truncate", self._name, newsize)

    def xSync(self, flags: int) -> None:
        self._disk.change("sync", self._name)

    def xFileSize(self) -> int:
        return len(self._content)

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xClose(self) -> None:
        pass


def _translated(error: apsw.Error) -> sqlite3.Error:
    told = sqlite3.OperationalError(str(error))
    told.sqlite_errorcode = getattr(error, "extendedresult", 0) or _CODES.get(
        type(error), sqlite3.SQLITE_MISUSE
    )
    return told


_CODES = {
    apsw.IOError: sqlite3.SQLITE_IOERR,
    apsw.FullError: sqlite3.SQLITE_FULL,
    apsw.SQLError: sqlite3.SQLITE_ERROR,
    apsw.ConstraintError: sqlite3.SQLITE_CONSTRAINT,
    apsw.ReadOnlyError: sqlite3.SQLITE_READONLY,
    apsw.CorruptError: sqlite3.SQLITE_CORRUPT,
    apsw.NotADBError: sqlite3.SQLITE_NOTADB,
    apsw.CantOpenError: sqlite3.SQLITE_CANTOPEN,
}


class Connection:
    """An apsw connection with the face of one of `sqlite3`."""

    def __init__(self, vfs: str, path: str) -> None:
        try:
            self._inner = apsw.Connection(path, vfs=vfs)
        except apsw.Error as error:
            raise _translated(error) from error

    @property
    def in_transaction(self) -> bool:
        try:
            return self._inner.in_transaction
        except apsw.Error as error:
            raise _translated(error) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        try:
            cursor = self._inner.execute(sql, tuple(parameters))
            return _Rows(cursor.fetchall())
        except apsw.Error as error:
            raise _translated(error) from error

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]]) -> Any:
        try:
            self._inner.executemany(sql, list(parameters))
        except apsw.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        try:
            self._inner.close()
        except apsw.Error as error:
            raise _translated(error) from error


class _Rows:
    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows
