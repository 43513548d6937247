"""Blocks of bytes as lines, in constant memory whatever the lines are like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from genai_pipeline.sources._encoding import Encoding
from genai_pipeline.sources._faults import PAYLOAD, Unreadable

__all__ = ["Line", "lines"]


class Line(NamedTuple):
    """A line of a file, without its newline."""

    number: int
    offset: int
    raw: bytes
    excess: int
    """Its size in bytes if that is more than allowed, and *raw* its beginning; else zero."""


def lines(blocks: Iterable[bytes], encoding: Encoding, max_line_bytes: int) -> Iterator[Line]:
    """
    Yield the lines of a text in *encoding*; the byte order mark is not part of the first.

    A line of more than *max_line_bytes* is passed over, and only its beginning kept. Where the
    blocks end in `Unreadable`, that is told the number, offset and beginning of the line it cut.
    """
    number, offset, mark = 0, encoding.mark, encoding.mark
    tail, newline = _Tail(max_line_bytes), encoding.newline
    step = len(newline)
    try:
        for pieces in _split(blocks, newline):
            first = pieces[0]
            if mark:  # a mark is shorter than the first block
                first, mark = first[mark:], 0
            if len(pieces) == 1:
                tail.add(first)
                continue
            last = pieces.pop()
            pieces[0] = first
            if tail.size:
                tail.add(first)
                number += 1
                yield tail.take(number, offset)
                offset += tail.taken + step
                del pieces[0]
            for raw in pieces:
                number += 1
                size = len(raw)
                if size <= max_line_bytes:
                    yield Line(number, offset, raw, 0)
                else:
                    yield Line(number, offset, raw[:PAYLOAD], size)
                offset += size + step
            tail.add(last)
    except Unreadable as fault:
        fault.line, fault.offset, fault.partial = number + 1, offset, bytes(tail.kept)
        raise
    if tail.size:
        yield tail.take(number + 1, offset)


class _Tail:
    """The part of a line that was read so far; only its beginning when it is too long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept = bytearray()
        self.size = 0
        self.taken = 0

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= self._most:
            self.kept += piece
        elif len(self.kept) < PAYLOAD:
            self.kept += piece[: PAYLOAD - len(self.kept)]
        else:
            del self.kept[PAYLOAD:]

    def take(self, number: int, offset: int) -> Line:
        size, self.size, self.taken = self.size, 0, self.size
        raw, self.kept = bytes(self.kept), bytearray()
        return Line(number, offset, raw, size if size > self._most else 0)


def _split(blocks: Iterable[bytes], newline: bytes) -> Iterator[list[bytes]]:
    if len(newline) == 1:
        for block in blocks:
            yield block.split(newline)
        return
    held = b""
    for block in blocks:
        data = held + block
        whole = len(data) - len(data) % len(newline)
        held = data[whole:]
        if whole:
            yield _split_units(data[:whole], newline)
    if held:
        yield [held]


def _split_units(data: bytes, newline: bytes) -> list[bytes]:
    """Split where *newline* stands at a whole number of code units, not across two."""
    pieces, start, position = [], 0, data.find(newline)
    while position >= 0:
        if position % len(newline):
            position = data.find(newline, position + 1)
            continue
        pieces.append(data[start:position])
        start = position + len(newline)
        position = data.find(newline, start)
    pieces.append(data[start:])
    return pieces
