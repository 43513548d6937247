"""How many records a source has, as far as that can be told without reading it."""

from __future__ import annotations

import operator
from collections.abc import Sized
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from genai_pipeline import sources
from genai_pipeline.cli._sample import Narrowed, Sample

__all__ = ["total"]

_STEP = 32 << 20
_CHUNK = 1 << 20
_QUOTE = b'"'


async def total(source: object) -> int | None:
    """
    Answer how many records *source* has; `None` when nobody can tell.

    A source tells it by ``__len__`` or ``__length_hint__``; of plain JSON Lines and CSV files
    the lines are counted, in a worker thread.
    """
    if isinstance(source, Sample):
        known = await total(source.source)
        return source.most if known is None else min(source.most, known)
    if isinstance(source, Narrowed):
        return await total(source.source)
    known = operator.length_hint(source, -1)
    if known >= 0:
        return known
    if isinstance(source, sources.Values) and isinstance(source.iterable, Sized):
        return len(source.iterable)
    if isinstance(source, sources.JsonLines | sources.Csv):
        return await _lines(source)
    return None


async def _lines(source: sources.JsonLines | sources.Csv) -> int | None:
    counted = 0
    for path in map(Path, source.path):
        if not path.is_file():
            return None  # a folder or a glob
        number = await _lines_in(path, plain=isinstance(source, sources.JsonLines))
        if number is None:
            return None
        header = isinstance(source, sources.Csv) and source.fields is None
        counted += max(0, number - header)
    return counted


async def _lines_in(path: Path, *, plain: bool) -> int | None:
    """Count the lines; `None` for what is no plain text, or has quotes that may span lines."""
    lines, end = 0, b"\n"
    try:
        with path.open("rb") as file:
            while True:
                read = await anyio.to_thread.run_sync(_count, file)
                if read is None or (read.quoted and not plain):
                    return None
                lines += read.lines
                if read.end == b"":
                    return lines + (end != b"\n")
                end = read.end
    except OSError:
        return None


class _Read:
    """What one step found: full lines, whether there are quotes, and the last byte."""

    lines = 0
    quoted = False
    end = b""


def _count(file: BinaryIO) -> _Read | None:
    read, left = _Read(), _STEP
    while left > 0 and (chunk := file.read(_CHUNK)):
        if b"\0" in chunk or chunk.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
            return None  # compressed, or not in UTF-8
        read.lines += chunk.count(b"\n")
        read.quoted = read.quoted or _QUOTE in chunk
        read.end = chunk[-1:]
        left -= len(chunk)
    return read
