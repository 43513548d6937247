"""What is kept with a gathered group: its members' keys and values, and what they were made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

__all__ = ["is_whole", "members_in", "packed_group", "records_of"]


def packed_group(keys: Sequence[str], values: Sequence[Any], items: Iterable[bytes]) -> bytes:
    """Answer the body of a group of members that were made of *items*, records and groups."""
    made_of = sorted(item.hex() for item in items)
    told = {"keys": keys, "values": values, "items": made_of}
    return json.dumps(told, separators=(",", ":")).encode()


def members_in(body: bytes) -> tuple[list[str], list[Any]]:
    """Answer the keys and values of the members in the *body* of a group."""
    told = json.loads(body)
    return told["keys"], told["values"]


def records_of(group: bytes, body_of: Callable[[bytes], bytes | None]) -> set[bytes]:
    """
    Answer the items of the records that a group was made of, through the groups it was made of.

    *body_of* answers the body of a group, and `None` for what is none. Of a body in another
    form, such as groups of older journals have, nothing is known.
    """
    found, left = set[bytes](), [group]
    while left:
        body = body_of(left[-1])
        item = left.pop()
        if body is None:
            found.add(item)
        else:
            left += _items_in(body)
    return found


def is_whole(
    group: bytes, body_of: Callable[[bytes], bytes | None], records: Collection[bytes]
) -> bool:
    """Tell whether *records*, items without their generation, are all that a group was made of."""
    found = records_of(group, body_of)
    return bool(found) and all(item[:-2] in records for item in found)


def _items_in(body: bytes) -> list[bytes]:
    try:
        told = json.loads(body)
    except ValueError:
        return []
    items = told.get("items", ()) if isinstance(told, dict) else ()
    return [bytes.fromhex(item) for item in items]
