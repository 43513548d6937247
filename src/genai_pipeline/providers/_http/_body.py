"""Undo the compression of an answer, within limits."""

from __future__ import annotations

import importlib.util
import zlib

__all__ = ["ACCEPTED", "TooLarge", "Undecodable", "decode"]

_ZSTD = importlib.util.find_spec("zstandard") is not None  # the extra ``zstd``

ACCEPTED = "gzip, deflate, zstd" if _ZSTD else "gzip, deflate"

_MAX_LAYERS = 3
_ZSTD_WINDOW = 8 * 2**20  # what RFC 8878 asks decoders to support, and lets them refuse beyond
_ZSTD_BITE = 256  # bytes in at a time; four of them may give 128 KiB


class TooLarge(Exception):
    """Raised when a body is larger than the limit."""


class Undecodable(Exception):
    """Raised when a body is not what its ``content-encoding`` says, or is cut short."""


def decode(body: bytes, encodings: str, *, limit: int) -> bytes:
    """
    Answer *body* without the compressions that the header *encodings* names.

    Raises `TooLarge` as soon as more than *limit* bytes come out, before they take memory;
    `Undecodable` for anything that is not whole and right.
    """
    layers = [name for part in encodings.split(",") if (name := part.strip().lower())]
    if len(layers) > _MAX_LAYERS:
        raise Undecodable(f"compressed {len(layers)} times")
    for name in reversed(layers):
        if name in {"gzip", "x-gzip"}:
            body = _inflate(body, 31, limit)
        elif name == "deflate":
            body = _deflated(body, limit)
        elif name == "zstd" and _ZSTD:
            body = _zstd(body, limit)
        elif name != "identity":
            raise Undecodable(f"content-encoding {name[:40]!r} was not asked for")
    return body


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    out = bytearray()
    try:
        while body:
            inflater = zlib.decompressobj(window)
            out += inflater.decompress(body, limit + 1 - len(out))
            if len(out) > limit:
                raise TooLarge
            if not inflater.eof:
                raise Undecodable("the compressed body is cut short")
            body = inflater.unused_data
    except zlib.error as error:
        raise Undecodable(f"the compressed body is broken: {error}") from None
    return bytes(out)


def _deflated(body: bytes, limit: int) -> bytes:
    try:
        return _inflate(body, 15, limit)
    except Undecodable:
        return _inflate(body, -15, limit)  # some servers leave out the zlib frame


def _zstd(body: bytes, limit: int) -> bytes:
    import zstandard  # noqa: PLC0415 - an extra, and seldom needed

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    out = bytearray()
    inflater = None
    try:
        for start in range(0, len(body), _ZSTD_BITE):
            bite = body[start : start + _ZSTD_BITE]
            while bite:
                inflater = inflater or decompressor.decompressobj()
                out += inflater.decompress(bite)
                if len(out) > limit:
                    raise TooLarge
                bite = inflater.unused_data
                inflater = None if inflater.eof else inflater
    except zstandard.ZstdError as error:
        raise Undecodable(f"the compressed body is broken: {error}") from None
    if inflater is not None:
        raise Undecodable("the compressed body is cut short")
    return bytes(out)
