"""Which encoding a text has: named, told by its byte order mark, or seen in its pattern."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

import attrs

from genai_pipeline._options import check
from genai_pipeline.sources._faults import Unreadable

__all__ = ["Encoding", "an_encoding", "peeked", "resolve"]

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FAMILY = {"utf-8-sig": "utf-8", "utf-16": "utf-16-", "utf-32": "utf-32-"}
_SAMPLE = 4096


@attrs.frozen
class Encoding:
    """How the bytes of one file stand for text."""

    codec: str
    mark: int
    """Bytes of the byte order mark, which is no text."""

    named: bool

    @property
    def newline(self) -> bytes:
        """What ends a line."""
        return "\n".encode(self.codec)

    def trouble(self, raw: bytes, error: UnicodeDecodeError) -> str:
        """Say why *raw* cannot be decoded, and what to do about it."""
        bad = raw[error.start : error.end].hex(" ").upper()
        advice = (
            "name the right one with encoding="
            if self.named
            else "if the file has another encoding, name it: encoding='cp1252'"
        )
        return f"byte {error.start + 1}, {bad}, is not {self.codec.upper()}; {advice}"


def an_encoding(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow `None` or the name of a text encoding that Python knows."""
    if value is None:
        return
    try:
        fine = bool(str(value).encode("ascii")) and bool("\n".encode(value))
    except (LookupError, UnicodeError, TypeError):
        fine = False
    check(fine, owner, option.name, value, "a text encoding, such as 'utf-8' or 'cp1252'")


def resolve(sample: bytes, named: str | None) -> Encoding:
    """
    Tell the encoding of a text from its first bytes and the name it was given.

    Raises `Unreadable` when its byte order mark contradicts the name.
    """
    name = None if named is None else codecs.lookup(named).name
    family = None if name is None else _FAMILY.get(name, name)
    marks = [(mark, codec) for mark, codec in _MARKS if sample.startswith(mark)]
    if marks:
        # The mark of UTF-16 before a NUL is that of UTF-32, so what was named decides.
        fitting = [each for each in marks if family is None or each[1].startswith(family)]
        mark, codec = (fitting or marks)[0]
        if not fitting:
            raise Unreadable(f"begins with the byte order mark of {codec}, but encoding={named!r}")
        return Encoding(codec, len(mark), named is not None)
    if family is None:
        return Encoding(_pattern(sample) or "utf-8", 0, named=False)
    if family.endswith("-"):
        pattern = _pattern(sample) or ""
        return Encoding(pattern if pattern.startswith(family) else family + "le", 0, named=True)
    return Encoding(family, 0, named=True)


def peeked(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Answer the first bytes of *blocks*, enough to tell the encoding, and all the blocks."""
    held, fault = bytearray(), None
    try:
        while len(held) < _SAMPLE and (block := next(blocks, b"")):
            held += block
    except Unreadable as error:
        fault = error
    sample = bytes(held)

    def again() -> Iterator[bytes]:
        if sample:
            yield sample
        if fault is not None:
            raise fault
        yield from blocks

    return sample, again()


def _pattern(sample: bytes) -> str | None:
    """See UTF-16 without a mark: in most texts, every other byte is zero."""
    sample = sample[:_SAMPLE]
    pairs = len(sample) // 2
    first, second = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    if pairs < 2 or max(first, second) < 0.4 * pairs or min(first, second) > 0:  # noqa: PLR2004
        return None
    return "utf-16-le" if second else "utf-16-be"
