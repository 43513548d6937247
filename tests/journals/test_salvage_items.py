"""Salvage of a journal whose records are damaged: ends that are there stay, answers are kept."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import attrs
import pytest

from genai_pipeline._journal import ItemEnd
from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Sqlite, salvage
from genai_pipeline.testing import FakeClock
from tests.journals.damage import PAGE, overwrite, pages
from tests.journals.script import answered, ended, intent, item, run_info

KEYS = [f"k{number}" for number in range(400)]
MEMBERS = [bytes([number]) * 16 for number in range(2)]
BROKEN = b"\xff" * PAGE


def _run(check: Callable[[], Awaitable[None]]) -> None:
    anyio.run(check)


def _journal(path: Path) -> Sqlite:
    return Sqlite(path, writer="inline", ballast=0, clock=FakeClock())


async def _filled(path: Path) -> None:
    """Make a journal of records, and of a group, each of which has ended after a call."""
    async with _journal(path) as journal:
        run = await journal.begin_run(run_info())
        group = await journal.freeze_group(run, "map", MEMBERS, b"[1, 2]")
        for key in KEYS:
            await journal.claim(run, key)
            call = await journal.begin_call(intent(key))
            await journal.end_call(call, answered(256, cost=1))
            end = ended("done")
            if key.endswith("0"):
                end = attrs.evolve(ended("dead"), letter=bytes(700))
            await journal.end_item(item(key), end)
        call = await journal.begin_call(attrs.evolve(intent("k0"), item=group.item))
        await journal.end_call(call, answered(256, cost=1))
        await journal.end_item(group.item, ItemEnd(state="done", at=4.0, fingerprint="f"))


async def _ends(path: Path) -> int:
    """See that each record has its end, or is worked on with its answer; answer how many have."""
    async with _journal(path) as journal:
        assert await journal.check() == []
        finished = await journal.finished("p", "f")
        run = await journal.begin_run(run_info())
        for key in KEYS:
            claim = await journal.claim(run, key)
            assert [call.state for call in claim.calls] == ["answered"]
            assert (await journal.answer(claim.calls[0].call)).body
            assert claim.state in {"claimed", "done", "dead"}
            assert (claim.state == "claimed") == (key not in finished)
            if claim.state == "claimed":
                await journal.end_item(claim.item, ended("done"))
        counts = await journal.counts("p")
        assert sum(counts.values()) == len(KEYS)
        group = await journal.group_of(run, MEMBERS[0])
        assert group is not None
        assert [call.state for call in group.calls] == ["answered"]
        return sum(key in finished for key in KEYS)


def test_ends_between_damaged_pages_stay(folder: Path) -> None:
    """Records that lie between pages that are lost keep their ends."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        leaves = pages(path, "item")
        assert len(leaves) > 4
        overwrite(path, [leaves[1], leaves[-1]], BROKEN)
        found = salvage(path, folder / "new.db")
        assert "item" in found.damaged
        assert found.lost_answers == ()
        each = len(KEYS) / len(leaves)
        assert await _ends(folder / "new.db") > len(KEYS) - 4 * each

    _run(check)


def test_letters_between_damaged_pages_stay(folder: Path) -> None:
    """Dead letters that lie between pages that are lost are brought over."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        leaves = pages(path, "ending")
        assert len(leaves) > 4
        overwrite(path, [leaves[0], leaves[-1]], BROKEN)
        assert salvage(path, folder / "new.db").damaged == ("ending",)
        assert await _ends(folder / "new.db") == len(KEYS)
        async with _journal(folder / "new.db") as journal:
            dead = await journal.records(Selector(), limit=1000)
            letters = [await journal.letter(each.item) for each in dead]
            assert 3 * len(leaves) < sum(letter is not None for letter in letters) < len(dead)

    _run(check)


def test_groups_that_are_named_by_an_index_stay(folder: Path) -> None:
    """Where the members of groups are lost, the index by group has them all."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        overwrite(path, pages(path, "member"), BROKEN)
        assert salvage(path, folder / "new.db").damaged == ("member",)
        assert await _ends(folder / "new.db") == len(KEYS)

    _run(check)


def test_without_any_record_all_is_worked_on_with_its_answers(folder: Path) -> None:
    """Where all records are lost, what was paid for them counts, and the group is the same."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        overwrite(path, pages(path, "item"), BROKEN)
        salvage(path, folder / "new.db")
        assert await _ends(folder / "new.db") < len(KEYS) / 10

    _run(check)


def test_where_groups_are_lost_too_none_is_taken_for_a_record(folder: Path) -> None:
    """Calls of which nobody can tell whether a record or a group made them make no record."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        overwrite(path, pages(path, "item"), BROKEN)
        overwrite(path, pages(path, "gathered"), BROKEN)
        assert {"item", "gathered"} <= set(salvage(path, folder / "new.db").damaged)
        async with _journal(folder / "new.db") as journal:
            assert await journal.check() == []
            counts = await journal.counts("p")
            assert counts.get("ready", 0) == 0
            assert sum(counts.values()) < len(KEYS)

    _run(check)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_pages_of_records_are_damaged_no_answer_is_bought_again(
    folder: Path, seed: int
) -> None:
    """Pages of records and of what finds them, overwritten: each has its end, or its answer."""

    async def check() -> None:
        path, chance = folder / "run.db", random.Random(seed)
        await _filled(path)
        names = ("item", "item_stuck", "ending", "sqlite_autoindex_ending_1")
        places = [place for name in names for place in pages(path, name)]
        overwrite(path, chance.sample(places, chance.randint(1, 4)), chance.randbytes(PAGE))
        salvage(path, folder / "new.db")
        await _ends(folder / "new.db")

    _run(check)
