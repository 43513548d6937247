"""Salvage of a journal with tables of sinks: who has lost a row is asked for again, nobody else."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from genai_pipeline._journal import ItemEnd
from genai_pipeline.journals import Sqlite, salvage
from genai_pipeline.testing import FakeClock
from tests.journals.damage import PAGE, overwrite, pages
from tests.journals.script import TABLE, ended, item, rows, run_info

RECORDS = 240


def _run(check: Callable[[], Awaitable[None]]) -> None:
    anyio.run(check)


def _journal(path: Path) -> Sqlite:
    return Sqlite(path, writer="inline", ballast=0, clock=FakeClock())


def _rows_of(number: int) -> list[str]:
    """Answer the keys of a record's rows: three, two, one or none, which do not lie together."""
    return [f"{part} of {number:03}" for part in range(number % 4)]


async def _filled(path: Path) -> None:
    """Make a journal of records with rows, and of as many of another pipeline, without."""
    async with _journal(path) as journal:
        await journal.open_table(TABLE)
        run = await journal.begin_run(run_info())
        other = await journal.begin_run(attrs.evolve(run_info(), pipeline="other"))
        for number in range(RECORDS):
            key = f"k{number}"
            await journal.claim(run, key)
            end = ended("filtered" if number % 4 == 0 else "done")
            await journal.end_item(item(key), end, rows=rows(*_rows_of(number), size=60))
            claim = await journal.claim(other, key)
            await journal.end_item(claim.item, ended("done"))


async def _seen(path: Path) -> tuple[set[int], set[int], int]:
    """Answer which records are done, which have all their rows, and how many others are done."""
    async with _journal(path) as journal:
        assert await journal.check() == []
        there: set[Any] = set()
        if await journal.tables():
            there = {row["key"] for row in await journal.rows(TABLE.name)}
        finished = await journal.finished("p", "f")
        others = await journal.finished("other", "f")
    numbers = range(RECORDS)
    done = {number for number in numbers if f"k{number}" in finished}
    whole = {number for number in numbers if there.issuperset(_rows_of(number))}
    return done, whole, sum(f"k{number}" in others for number in numbers)


INDEXES = (f"sqlite_autoindex_{TABLE.name}_1", f"gp_record_of_{TABLE.name}")


def test_only_those_who_lost_a_row_are_worked_on_again(folder: Path) -> None:
    """Who has lost one row of several is; who has all, or never had any, keeps its end."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        leaves = pages(path, TABLE.name)
        assert len(leaves) > 4
        overwrite(path, leaves[1:3], b"\xff" * PAGE)
        found = salvage(path, folder / "new.db")
        assert found.damaged == (TABLE.name,)
        done, whole, others = await _seen(folder / "new.db")
        assert done == whole
        assert RECORDS / 2 < len(done) < RECORDS
        assert others == RECORDS

    _run(check)


def test_rows_that_vanish_without_a_trace_in_their_table_are_missed(folder: Path) -> None:
    """A page of a table that is read without an error, as if it were empty, is found out."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        empty = bytes([13, 0, 0, 0, 0, 0x10, 0, 0])
        overwrite(path, pages(path, TABLE.name)[2:3], empty)
        assert salvage(path, folder / "new.db").damaged == (TABLE.name,)
        done, whole, others = await _seen(folder / "new.db")
        assert done == whole
        assert len(done) < RECORDS
        assert others == RECORDS

    _run(check)


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_is_damaged_takes_nothing_away(folder: Path, index: str) -> None:
    """As long as the rows themselves are whole, all keep their ends."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        overwrite(path, pages(path, index)[:1], b"\xff" * PAGE)
        assert salvage(path, folder / "new.db").damaged == ()
        done, whole, others = await _seen(folder / "new.db")
        assert (len(done), len(whole), others) == (RECORDS, RECORDS, RECORDS)

    _run(check)


@pytest.mark.parametrize("index", [*INDEXES, "a group", "its note"])
def test_where_nobody_can_tell_all_are_worked_on_again(folder: Path, index: str) -> None:
    """Without knowing whose rows are lost, no end of a record is believed."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        if index == "a group":
            async with _journal(path) as journal:
                run = await journal.begin_run(run_info())
                group = await journal.freeze_group(run, "map", [bytes(16)], b"[]")
                end = ItemEnd(state="done", at=5.0, fingerprint="f")
                await journal.end_item(group.item, end, rows=rows("of a group", size=60))
        leaves = pages(path, TABLE.name)
        if index == "its note":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("DELETE FROM meta WHERE name = ?", (f"table {TABLE.name}",))
                connection.commit()
        else:
            overwrite(path, leaves[-1:], b"\xff" * PAGE)
        if index in INDEXES:
            overwrite(path, pages(path, index)[:1], b"\xff" * PAGE)
        assert salvage(path, folder / "new.db").damaged == (TABLE.name,)
        done, _, others = await _seen(folder / "new.db")
        assert (done, others) == (set(), 0)

    _run(check)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_pages_are_damaged_no_end_is_without_its_rows(folder: Path, seed: int) -> None:
    """Pages of the table and its indexes, overwritten or with bits flipped: done means whole."""

    async def check() -> None:
        path, chance = folder / "run.db", random.Random(seed)
        await _filled(path)
        places = [place for name in (TABLE.name, *INDEXES) for place in pages(path, name)]
        for place in chance.sample(places, chance.randint(1, 3)):
            if chance.random() < 0.5:
                overwrite(path, [place], chance.randbytes(PAGE))
            else:
                # What is there of rows may change unseen, so no more than where they begin.
                overwrite(path, [place + chance.randrange(12)], chance.randbytes(1))
        salvage(path, folder / "new.db")
        done, whole, _ = await _seen(folder / "new.db")
        assert done <= whole

    _run(check)
