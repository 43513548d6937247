"""What servers that embed answer with."""

from __future__ import annotations

import hashlib

__all__ = ["numbers"]


def numbers(text: str) -> list[float]:
    """Answer four numbers that tell *text* from others, which single precision holds."""
    return [byte / 256 for byte in hashlib.blake2b(text.encode(), digest_size=4).digest()]
