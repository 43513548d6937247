"""Files as blocks of decoded bytes: gzip and zstd are told by their first bytes, and bounded."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import attrs

from genai_pipeline.sources._faults import Unreadable

__all__ = ["BLOCK", "Limits", "blocks"]

BLOCK = 128 * 1024
"""Bytes that are read, and decoded, at a time."""

HARMLESS = 64 * 1024 * 1024
"""Decoded bytes up to which no ratio is suspicious."""

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"


@attrs.frozen
class Limits:
    """How much a compressed file may decode to."""

    decoded_bytes: int
    ratio: int


def blocks(read: Callable[[int], bytes], limits: Limits) -> Iterator[bytes]:
    """
    Yield what a file holds, decompressed, in blocks of about 128 KiB; for worker threads.

    Raises `Unreadable` after the last good byte of a file that is truncated or damaged, or
    decodes to more than *limits* allow.
    """
    source = _Counted(read)
    first = source.read()
    if first.startswith(_GZIP):
        return _interruptible(_bounded(_gunzip(first, source.read), source, limits))
    if first.startswith(_ZSTD) or _is_skippable(first):
        from genai_pipeline.sources._zstd import unzstd  # noqa: PLC0415 - needs an extra

        return _interruptible(_bounded(unzstd(first, source.read), source, limits))
    return _interruptible(_plain(first, source.read))


def _interruptible(decoded: Iterator[bytes]) -> Iterator[bytes]:
    """Let a cancelled reader go after any block, be there a record in it or not."""
    from anyio.from_thread import check_cancelled  # noqa: PLC0415 - slow to import

    for block in decoded:
        check_cancelled()
        yield block


def _is_skippable(first: bytes) -> bool:
    return first[1:4] == b"\x2a\x4d\x18" and 0x50 <= first[0] <= 0x5F  # noqa: PLR2004 - RFC 8878


class _Counted:
    """Reads a file and counts its bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.count = 0

    def read(self) -> bytes:
        data = self._read(BLOCK)
        self.count += len(data)
        return data


def _plain(block: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    while block:
        yield block
        block = read()


def _bounded(decoded: Iterator[bytes], source: _Counted, limits: Limits) -> Iterator[bytes]:
    total = 0
    for block in decoded:
        total += len(block)
        if total > limits.decoded_bytes:
            yield block[: limits.decoded_bytes - total]
            raise Unreadable(
                f"decodes to more than max_decoded_bytes={limits.decoded_bytes}; "
                "give a greater one if the file is to be trusted"
            )
        if total > HARMLESS and total > limits.ratio * source.count:
            raise Unreadable(
                f"{source.count} bytes decode to {total} and more, beyond "
                f"max_ratio={limits.ratio}; give a greater one if the file is to be trusted"
            )
        yield block


def _gunzip(data: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    position = len(data)
    while True:
        try:
            block = decoder.decompress(data, BLOCK)
        except zlib.error as error:
            raise Unreadable(f"damaged gzip data before byte {position}: {error}") from error
        data = decoder.unconsumed_tail
        if block:
            yield block
        if decoder.eof:
            data = decoder.unused_data.lstrip(b"\0") or _next_member(read)
            if not data:
                return
            decoder = zlib.decompressobj(wbits=31)
        elif not data and len(block) < BLOCK:
            data = read()
            if not data:
                raise Unreadable(f"truncated gzip file: it ends at byte {position}, too early")
            position += len(data)


def _next_member(read: Callable[[], bytes]) -> bytes:
    """Answer what follows a member; zeros are padding."""
    while data := read():
        if member := data.lstrip(b"\0"):
            return member
    return b""
