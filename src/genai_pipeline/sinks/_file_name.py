"""Names of files made out of any text: safe, short, and no two alike."""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = ["file_name"]

_MOST_READABLE = 100
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_-]{0,99}")
_REFUSED = re.compile(r"[^a-z0-9_]+")
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")


def file_name(text: str, suffix: str = "") -> str:
    """
    Answer a file name that stands for *text*, at most 133 bytes and the *suffix* long.

    A text of at most 100 small ASCII letters, digits, ``_`` and ``-`` stands as it is. Of any
    other, what is readable is followed by ``~`` and 128 bits of a hash, so names are alike only
    where texts are, also where a file system takes ``A`` for ``a``. There is never a separator,
    a leading dot or a name that an operating system has reserved, whoever chose the text.
    """
    if _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text):
        return text + suffix
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    readable = _REFUSED.sub("-", text.lower()).strip("-")[:_MOST_READABLE]
    return f"{readable}~{digest}{suffix}"
