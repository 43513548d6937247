"""The stress of a store that several processes share, for a moment, and that it can tell."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from genai_pipeline.stores import Sqlite

from .stress import SOUND, Plan, contents, integrity, stress, value_of


def test_processes_and_threads_share_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Processes and threads that put, get, delete and let expire find what they put."""
    # Without a SQLite that is sound, it would tell of that one's fault now and then.
    plan = Plan(seconds=0.2, processes=2, ordinary=not SOUND)
    assert stress(folder, plan) == []
    assert "'put': " in capsys.readouterr().out


def test_the_stress_can_tell(folder: Path) -> None:
    """What is gone, there again, other than it was put, or damaged is told."""
    path, kept = folder / "s.db", {f"{number}": number for number in range(100)}

    async def put() -> None:
        async with Sqlite(path) as store:
            for key, number in kept.items():
                await store.put(key, value_of(key, number))

    anyio.run(put)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert integrity(connection) + contents(connection, kept) == []
        assert contents(connection, kept | {"lost": 1}) == ["lost is gone"]
        assert contents(connection, {**kept, "7": 8})[0].startswith("7 is ['7', 7,")
        assert contents(connection, {key: kept[key] for key in kept if key != "7"}) == [
            "7 is there"
        ]
        connection.execute("UPDATE total SET entries = 7")
        assert contents(connection, kept)[0].startswith("the totals are (7, ")
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\xa5" * 4096
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as connection:
        assert integrity(connection)
