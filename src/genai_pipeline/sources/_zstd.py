"""Zstandard files; the only module that imports `zstandard`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sources._faults import Unreadable

try:
    import zstandard
except ImportError as missing:
    raise ConfigurationError(
        "reading zstd files needs a package: pip install 'genai_pipeline[zstd]'"
    ) from missing

__all__ = ["unzstd"]

SLICE = 512
"""Bytes decoded at a time: four bytes can stand for 128 KiB, so this much for 16 MiB."""


def unzstd(data: bytes, read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield what zstd frames hold; raises `Unreadable` when they are damaged or truncated."""
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    begun, position = False, 0
    while data:
        for each in _slices(data):
            position += len(each)
            piece = each
            while piece:
                try:
                    block = frame.decompress(piece)
                except zstandard.ZstdError as error:
                    reason = f"damaged zstd data before byte {position}: {error}"
                    raise Unreadable(reason) from error
                begun, piece = not frame.eof, frame.unused_data
                if block:
                    yield block
                if frame.eof:
                    frame = decompressor.decompressobj()
        data = read()
    if begun:
        raise Unreadable(f"truncated zstd file: it ends at byte {position}, too early")


def _slices(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), SLICE):
        yield data[start : start + SLICE]
