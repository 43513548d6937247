"""Vectors as servers send them, where what is odd is an error."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Sequence

__all__ = ["check_alike", "to_vector"]


def to_vector(told: object) -> array[float]:
    """
    Answer the numbers in *told*: a list, or base64 of little-endian single precision.

    Raises `ValueError` for anything else.
    """
    vector = array("f")
    try:
        if isinstance(told, str):
            vector.frombytes(base64.b64decode(told, validate=True))
            if sys.byteorder == "big":  # pragma: no cover - where there is one
                vector.byteswap()
        elif isinstance(told, list):
            vector.extend(told)
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise ValueError("a vector is neither a list of numbers nor base64 of such") from None
    if not vector or not math.isfinite(sum(vector)):
        raise ValueError("a vector is empty, or has numbers that are none")
    return vector


def check_alike(vectors: Sequence[array[float]], count: int) -> None:
    """Raise `ValueError` unless there is a vector for each of *count* texts, all of a length."""
    if len(vectors) != count:
        raise ValueError(f"{len(vectors)} vectors came for {count} texts")
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("the vectors are of different lengths")
