"""`JsonLines`: one JSON value a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import attrs

from genai_pipeline._strict_json import DEEPEST, examine, may_hide_more, scan
from genai_pipeline.records import Delivery, Record
from genai_pipeline.sources._compression import blocks
from genai_pipeline.sources._encoding import Encoding, peeked, resolve
from genai_pipeline.sources._faults import broken, excerpt
from genai_pipeline.sources._files import LineFiles, Weighed, place
from genai_pipeline.sources._keys import keyed
from genai_pipeline.sources._lines import Line, lines
from genai_pipeline.sources._open import OpenFile

__all__ = ["JsonLines"]

A = TypeVar("A")

_BLANK = " \t\r\n"


@attrs.frozen(kw_only=True, eq=False)
class JsonLines(LineFiles[Any]):
    """
    Reads files of one JSON value a line, plain or packed with gzip or zstd.

    *path* is a file, a folder (its ``.jsonl`` and ``.ndjson`` files, also ``.gz`` and ``.zst``),
    a glob, or a list of them. Files are read lazily, in memory that does not depend on their
    size, in the order of their names; ``.`` files and symbolic links in folders are not read.

    The key is ``name:line``: the name is the path as it was written, or, of a file found in a
    folder or by a glob, its path below that; with several paths, the path as written stands
    before it. Attributes are ``origin`` (the path), ``line`` (from 1) and ``offset`` (bytes from
    the beginning, unpacked). Blank lines are no records.

    A line that cannot be used is delivered with a `DataError` that says where and why, and the
    reading goes on: no JSON, an object with the same key twice, NaN, Infinity or a number
    beyond a double, a lone surrogate, more than 200 levels, too long, or no text in the file's
    encoding. So is a file that cannot be read on.

    Raises `ConfigurationError` when reading begins and a path does not exist, and
    `StorageFailed` when the disk fails.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def _read(self, file: OpenFile) -> Iterator[Weighed[Any]]:
        sample, content = peeked(blocks(file.read, self._limits()))
        encoding = resolve(sample, self.encoding)
        codec, name, origin, key = encoding.codec, file.found.name, file.found.origin, self.key
        for line in lines(content, encoding, self.max_line_bytes):
            number, offset, raw, excess = line
            try:
                if excess or not (text := raw.decode(codec).strip(_BLANK)):
                    if excess:
                        yield self._broken(file, line, encoding, None), len(raw)
                    continue
                value, end = scan(text, 0)
                if end != len(text) or may_hide_more(text):
                    examine(text, value, end)
            except (ValueError, RecursionError, StopIteration) as error:
                yield self._broken(file, line, encoding, error), len(raw)
                continue
            attributes = {"origin": origin, "line": number, "offset": offset}
            if key is None:
                yield Delivery(Record(value, f"{name}:{number}", attributes)), len(raw)
            else:
                yield keyed(value, f"{name}:{number}", attributes, key), len(raw)

    def _broken(
        self, file: OpenFile, line: Line, encoding: Encoding, error: Exception | None
    ) -> Delivery[Any]:
        column = None
        if error is None:
            reason = self._too_long(line.excess)
        elif isinstance(error, UnicodeDecodeError):
            reason, column = encoding.trouble(line.raw, error), error.start + 1
        else:
            reason, column = _reason(line.raw.decode(encoding.codec), line.number, error)
        return broken(
            reason,
            value=excerpt(line.raw, line.excess or None, encoding.codec),
            key=f"{file.found.name}:{line.number}",
            attributes=place(file, line.number, line.offset),
            column=column,
            cause=error,
        )


def _reason(text: str, number: int, error: Exception) -> tuple[str, int | None]:
    """Say why *text* was refused, and at which column."""
    if isinstance(error, RecursionError):
        return f"nested deeper than {DEEPEST} levels", None
    indent = len(text) - len(text.lstrip(_BLANK))
    if isinstance(error, StopIteration):
        error = json.JSONDecodeError("Expecting value", text.strip(_BLANK), error.value)
    if not isinstance(error, json.JSONDecodeError):
        return str(error), None
    reason = f"no JSON: {error.msg}"
    if number == 1 and text.strip(_BLANK) in ("[", "{"):
        reason += "; the file seems to hold one JSON value over many lines: write one a line"
    return reason, indent + error.pos + 1
