"""How large a picture is, read from the beginning of its file."""

from __future__ import annotations

import struct

__all__ = ["size_of"]

_NO_SIZE = (0xC4, 0xC8, 0xCC)
"""Markers among those of JPEG's frames that are none."""


def size_of(data: bytes) -> tuple[int, int] | None:
    """Answer the width and height of a PNG, GIF, JPEG or WebP file; `None` for anything else."""
    try:
        size = _read(data)
    except struct.error:
        return None  # it ends too early
    return size if size and all(size) else None


def _read(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return struct.unpack_from(">II", data, 16)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return struct.unpack_from("<HH", data, 6)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        head, marker, length = struct.unpack_from(">BBH", data, at)
        if head != 0xFF:  # noqa: PLR2004 - begins every marker
            return None
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:  # noqa: PLR2004 - a frame's
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    return None
