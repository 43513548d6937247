"""Damage to a journal's file, where it is to be: in the pages of a table or an index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["PAGE", "overwrite", "pages"]

PAGE = 4096


def pages(path: Path, name: str) -> list[int]:
    """Answer where the leaves of a table or an index lie."""
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchone()
    data = path.read_bytes()
    found, left = [], [root]
    while left:
        page = left.pop()
        at = (page - 1) * PAGE
        if data[at] in {2, 5}:  # it has others below it
            count = int.from_bytes(data[at + 3 : at + 5], "big")
            cells = [int.from_bytes(data[at + 12 + 2 * each :][:2], "big") for each in range(count)]
            left += [int.from_bytes(data[at + cell :][:4], "big") for cell in cells]
            left.append(int.from_bytes(data[at + 8 : at + 12], "big"))
        else:
            found.append(at)
    return sorted(found)


def overwrite(path: Path, places: list[int], data: bytes) -> None:
    """Put *data* at each of *places* in the file."""
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(data)
