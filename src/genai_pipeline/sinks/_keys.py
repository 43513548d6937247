"""Which records lines are of: what makes writing one again harmless."""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import attrs

__all__ = ["HEADER", "NOBODY", "Entry", "Held", "Line", "entries_in", "matching"]

_DIGEST = 16
_ENTRY = struct.Struct(f"<{_DIGEST}s{_DIGEST}sQ")

NOBODY = b"\0" * _DIGEST
"""Stands for a record without a key, which is never taken for a repeat."""

HEADER = b"\xff" * _DIGEST
"""Stands where a line is the header of a table, and no record's."""


@attrs.frozen
class Entry:
    """One line of a part: 40 bytes in the file of its keys."""

    key: bytes
    """The BLAKE2b-128 digest of the record's key."""

    mark: bytes
    """The digest of that and of the line: equal for a repeat, and for nothing else."""

    length: int
    """The bytes of the line, with its end."""

    def __bytes__(self) -> bytes:
        return _ENTRY.pack(self.key, self.mark, self.length)


@attrs.frozen
class Line:
    """Bytes to write, and whose they are."""

    data: bytes
    entry: Entry

    @classmethod
    def of(cls, key: str, data: bytes) -> Line:
        """Make the line of the record *key*."""
        return cls._under(_digest(key.encode("utf-8", "surrogatepass")) if key else NOBODY, data)

    @classmethod
    def header(cls, data: bytes) -> Line:
        """Make a line that is no record's."""
        return cls._under(HEADER, data)

    @classmethod
    def _under(cls, key: bytes, data: bytes) -> Line:
        return cls(data, Entry(key, _digest(key + data), len(data)))


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST).digest()


def entries_in(data: bytes) -> list[Entry]:
    """Answer the entries that *data*, the content of a file of keys, begins with."""
    whole = len(data) // _ENTRY.size * _ENTRY.size
    return [Entry(*fields) for fields in _ENTRY.iter_unpack(data[:whole])]


def matching(fd: int, entries: Iterable[Entry]) -> list[Entry]:
    """
    Answer the *entries*, up to the first whose line does not stand in the open file as it says.

    Lines that a power cut tore or lost, and entries that it did, are so told from whole ones.
    """
    found: list[Entry] = []
    size, offset = os.fstat(fd).st_size, 0
    for entry in entries:
        if not 0 < entry.length <= size - offset:
            break
        if _digest(entry.key + os.pread(fd, entry.length, offset)) != entry.mark:
            break
        offset += entry.length
        found.append(entry)
    return found


class Held:
    """
    The marks of lines that are there: a hash table of 16 bytes a slot, at most 2/3 full.

    So a line costs 24 to 48 bytes of memory. One that is not in it is taken for one that is with
    a probability of 2**-128 for each that is: never.
    """

    def __init__(self) -> None:
        self._count = 0
        self._slots = 1 << 10
        self._words = array("Q", bytes(16 * self._slots))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, mark: bytes) -> bool:
        return self._words[self._place(*_words(mark))] != 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Remember that the lines of *entries* are there."""
        for entry in entries:
            if entry.key not in (NOBODY, HEADER):
                self._add(*_words(entry.mark))

    def new(self, lines: Sequence[Line]) -> list[Line]:
        """Answer the *lines* that are not there yet, each once."""
        seen: set[bytes] = set()
        found = []
        for line in lines:
            mark = line.entry.mark
            if line.entry.key != NOBODY:
                if mark in seen or mark in self:
                    continue
                seen.add(mark)
            found.append(line)
        return found

    def _add(self, head: int, tail: int) -> None:
        place = self._place(head, tail)
        if self._words[place]:
            return
        self._words[place], self._words[place + 1] = head, tail
        self._count += 1
        if 3 * self._count > 2 * self._slots:
            self._grow()

    def _place(self, head: int, tail: int) -> int:
        """Answer where a mark stands, or would."""
        words, last = self._words, 2 * self._slots - 2
        place = 2 * head & last
        while (found := words[place]) and (found != head or words[place + 1] != tail):
            place = (place + 2) & last
        return place

    def _grow(self) -> None:
        old = self._words
        self._slots *= 2
        self._words = array("Q", bytes(16 * self._slots))
        for head, tail in _pairs(old):
            if head:
                place = self._place(head, tail)
                self._words[place], self._words[place + 1] = head, tail


def _pairs(words: array[int]) -> Iterator[tuple[int, int]]:
    return zip(words[0::2], words[1::2], strict=True)


def _words(mark: bytes) -> tuple[int, int]:
    # 0 says that a slot is free, so no mark may begin so.
    return int.from_bytes(mark[:8], "little") or 1, int.from_bytes(mark[8:], "little")
