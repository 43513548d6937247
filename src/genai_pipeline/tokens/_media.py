"""How many tokens pictures, recordings and files are, by what vendors tell of them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from genai_pipeline.parts import Audio, File, Image
from genai_pipeline.tokens._image_size import size_of

__all__ = ["audio_tokens", "file_tokens", "image_tokens"]

_UNKNOWN = 1000
_LOW_DETAIL = 85
_LONGEST_EDGE = 1568
_PIXELS_A_TOKEN = 750
_TOKENS_A_SECOND = 32
_BYTES_A_SECOND = 16_000
_BYTE_RATE_AT = 28
_TOKENS_A_PAGE = 1500
_TEXTS = ("text/", "application/json", "application/xml")


def image_tokens(image: Image) -> int:
    """
    Answer about how many tokens *image* is.

    A token for each 750 pixels, once it is shrunk to 1,568 pixels at its longer edge, as
    Anthropic has it; 85 in ``low`` detail, as OpenAI has it; 1,000 where its size is not known.
    """
    if image.detail == "low":
        return _LOW_DETAIL
    size = None if image.data is None else size_of(image.data)
    if size is None:
        return _UNKNOWN
    shrunk = min(1.0, _LONGEST_EDGE / max(size))
    return max(1, round(size[0] * shrunk * size[1] * shrunk / _PIXELS_A_TOKEN))


def audio_tokens(audio: Audio) -> int:
    """Answer about how many tokens *audio* is: 32 a second, as Gemini has it."""
    rate = _BYTES_A_SECOND  # of 128 kbit/s
    if audio.data.startswith(b"RIFF") and audio.data[8:12] == b"WAVE":
        try:
            (told,) = struct.unpack_from("<I", audio.data, _BYTE_RATE_AT)
        except struct.error:
            told = 0
        rate = told or rate
    return -(-len(audio.data) * _TOKENS_A_SECOND // rate)


def file_tokens(file: File, of_text: Callable[[str], int], token: int) -> int:
    """
    Answer about how many tokens *file* is, in parts of a *token*, which *of_text* counts in.

    A text counts as what it says; a PDF as 1,500 for each page that it shows, the least that
    Anthropic tells of; anything else, and what is not at hand, as 1,000.
    """
    if file.data is None:
        return _UNKNOWN * token
    if file.media_type.startswith(_TEXTS):
        return of_text(file.data.decode("utf-8", "replace"))
    if file.data.startswith(b"%PDF"):
        return _TOKENS_A_PAGE * max(1, _pages_of(file.data)) * token
    return _UNKNOWN * token


def _pages_of(data: bytes) -> int:
    return sum(
        data.count(b"/Type%s/Page" % gap) - data.count(b"/Type%s/Pages" % gap)
        for gap in (b"", b" ")
    )
