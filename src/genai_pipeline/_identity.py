"""How a journal names a record: 16 bytes that stand for pipeline, key and generation."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b

import attrs

from genai_pipeline.errors import StorageFailed

__all__ = [
    "MOST_GENERATIONS",
    "RECORD_BYTES",
    "Digests",
    "generation_of",
    "group_id",
    "item_id",
    "record_id",
]

RECORD_BYTES = 14
"""So many stand for pipeline and key: 112 bits, the rest is the generation."""

MOST_GENERATIONS = 1 << 16


def record_id(pipeline: str, key: str) -> bytes:
    """Answer 14 bytes that stand for the record *key* of *pipeline*, in every generation."""
    digest = _begun(pipeline)
    digest.update(key.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _begun(pipeline: str) -> blake2b:
    name = pipeline.encode("utf-8", "surrogatepass")
    return blake2b(b"%d:%b" % (len(name), name), digest_size=RECORD_BYTES)


def item_id(record: bytes, generation: int = 0) -> bytes:
    """
    Answer the name of one generation of *record*; those of one record sort by generation.

    Raises `StorageFailed` when there have been 65,536 generations.
    """
    if generation >= MOST_GENERATIONS:
        raise StorageFailed(f"a record was redriven {generation} times; give it another key")
    return record + generation.to_bytes(2, "big")


def group_id(pipeline: str, members: Iterable[bytes]) -> bytes:
    """Answer the name of a group of *pipeline*, which stands for its members in their order."""
    return item_id(record_id(f"{pipeline}\0group", b"".join(members).hex()))


def generation_of(item: bytes) -> int:
    """Answer the generation that an item's name tells."""
    return int.from_bytes(item[RECORD_BYTES:], "big")


@attrs.frozen(eq=False, repr=False)
class Digests:
    """
    A set of keys of one pipeline, kept as 14 bytes each and nothing else.

    A key that is not in it is taken for one that is with a probability of 2**-112 for each that
    is: never.
    """

    pipeline: str
    _heads: array[int]
    _tails: array[int]
    _begun: blake2b = attrs.field(
        init=False, default=attrs.Factory(lambda self: _begun(self.pipeline), takes_self=True)
    )

    @classmethod
    def of(cls, pipeline: str, records: Iterable[bytes]) -> Digests:
        """Make one of what `record_id` answers, in ascending order and each once."""
        # Two words of 8 bytes each: the last two bytes are there to fill up.
        words = array("Q", b"\0\0".join([*records, b""]))
        if sys.byteorder == "little":
            words.byteswap()
        return cls(pipeline, words[0::2], words[1::2])

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        # As `record_id` does, without beginning anew for each of a million.
        digest = self._begun.copy()
        digest.update(key.encode("utf-8", "surrogatepass"))
        record = digest.digest()
        head = int.from_bytes(record[:8], "big")
        tail = int.from_bytes(record[8:], "big") << 16
        heads, place = self._heads, bisect_left(self._heads, head)
        while place < len(heads) and heads[place] == head:
            if self._tails[place] == tail:
                return True
            place += 1
        return False

    def __len__(self) -> int:
        return len(self._heads)
