"""How a journal names a record: 16 bytes that stand for pipeline, key and generation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

import attrs

from genai_pipeline.errors import StorageFailed

__all__ = [
    "MOST_GENERATIONS",
    "RECORD_BYTES",
    "Digests",
    "WithErased",
    "generation_of",
    "group_id",
    "item_id",
    "pseudonym",
    "record_id",
    "tombstone",
]

RECORD_BYTES = 14
"""So many stand for pipeline and key: 112 bits, the rest is the generation."""

MOST_GENERATIONS = 1 << 16

_MANY = 100_000


def record_id(pipeline: str, key: str, secret: bytes = b"") -> bytes:
    """
    Answer 14 bytes that stand for the record *key* of *pipeline*, in every generation.

    With a *secret*, nobody without it can tell whether they stand for a key.
    """
    text = _prefix(pipeline) + key.encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=RECORD_BYTES, key=secret).digest()


@lru_cache(maxsize=64)
def _prefix(pipeline: str) -> bytes:
    name = pipeline.encode("utf-8", "surrogatepass")
    return b"%d:%b" % (len(name), name)


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


def tombstone(record: bytes, salt: bytes) -> bytes:
    """Answer all that is kept of a record that was erased."""
    return blake2b(record, digest_size=RECORD_BYTES, key=salt).digest()


def pseudonym(budget: str, salt: bytes) -> str:
    """Answer what a budget is called whose name told of a subject that was erased."""
    told = budget.encode("utf-8", "surrogatepass")
    digest = blake2b(told, digest_size=8, key=salt, person=b"budget").hexdigest()
    return f"{budget.partition(' ')[0]} erased-{digest}"


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

    _prefix: bytes
    _length: int
    _width: int
    _buckets: Mapping[bytes, bytes]
    """What follows the first bytes of records that agree in these, one after the other."""

    _secret: bytes = b""

    @classmethod
    def of(cls, pipeline: str, records: Iterable[bytes], secret: bytes = b"") -> Digests:
        """Make one of what `record_id` answers, in ascending order and each once."""
        known = list(records)
        width = 1 if len(known) < _MANY else 2
        buckets, begin = {}, 0
        while begin < len(known):
            head = known[begin][:width]
            end = bisect_right(known, head + b"\xff" * RECORD_BYTES, begin)
            buckets[head] = b"".join([record[width:] for record in known[begin:end]])
            begin = end
        return cls(_prefix(pipeline), len(known), width, buckets, secret)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        text = self._prefix + key.encode("utf-8", "surrogatepass")
        record = blake2b(text, digest_size=RECORD_BYTES, key=self._secret).digest()
        width = self._width
        bucket = self._buckets.get(record[:width])
        if bucket is None:
            return False
        rest = record[width:]
        place = bucket.find(rest)
        while place >= 0 and place % (RECORD_BYTES - width):  # across two of them
            place = bucket.find(rest, place + 1)
        return place >= 0

    def __len__(self) -> int:
        return self._length


@attrs.frozen(eq=False, repr=False)
class WithErased:
    """Keys that are in *known*, and those of records that were erased, as salted digests."""

    known: Digests
    erased: frozenset[bytes]
    _pipeline: str
    _secret: bytes
    _salt: bytes

    def __contains__(self, key: object) -> bool:
        if key in self.known:
            return True
        if not isinstance(key, str):
            return False
        return tombstone(record_id(self._pipeline, key, self._secret), self._salt) in self.erased

    def __len__(self) -> int:
        return len(self.known) + len(self.erased)
