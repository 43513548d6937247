"""Erasing a subject: nothing of it is left in any file, through kills and power cuts."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from genai_pipeline._journal import BudgetUse, CallEnd, Intent, ItemEnd, RawAnswer
from genai_pipeline._journal_admin import Erased, Selector
from genai_pipeline._journal_tables import TableRows
from genai_pipeline.errors import BudgetExhausted, StorageFailed
from genai_pipeline.journals import Encryption, LocalKeys, Memory, Sqlite, SqliteReader
from genai_pipeline.journals._schema import MIGRATIONS, migrate
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Disk, PowerCuts, kills
from tests.journals.script import TABLE, run_info
from tests.journals.test_encryption import artefacts, found_in

pytestmark = pytest.mark.anyio

CODECS = [None, Encryption(LocalKeys(bytes(32)))]
ANN, BOB = "ann-4711", "bob-0815"


def sqlite(path: Path, codec: Encryption | None, **options: Any) -> Sqlite:
    return Sqlite(path, ballast=0, codec=codec, **options)


async def carry(journal: Any, run: int, subject: str, name: str = "1") -> tuple[bytes, int]:
    """Let a record of *subject* make a call and die; its name is in all that is kept."""
    item = (await journal.claim(run, f"key-{subject}-{name}", subject=subject)).item
    call = await journal.begin_call(intent_of(run, item, subject))
    answer = RawAnswer(body=f"answer-{subject}".encode() * 400, headers={"h": subject})
    end = CallEnd(state="answered", at=2.0, cost=3, answer=answer, request_id=f"req-{name}")
    await journal.end_call(call, end)
    told: dict[str, Any] = {}
    if getattr(journal, "codec", None) is None:  # which keeps tables
        await journal.open_table(TABLE)
        told = {"rows": [TableRows(TABLE, ((f"row-{subject}-{name}", subject * 100, 1),))]}
    await journal.end_item(
        item,
        ItemEnd(
            state="dead",
            at=3.0,
            fingerprint="f",
            stage="map",
            error="ValueError",
            message=f"message-{subject}",
            category="permanent",
            letter=f'{{"payload": "{subject}"}}'.encode(),
        ),
        **told,
    )
    return item, call


def intent_of(run: int, item: bytes, subject: str) -> Intent:
    return Intent(
        run=run,
        item=item,
        stage="map",
        key=bytes(16),
        provider="openai",
        model="model",
        at=1.0,
        deadline=61.0,
        hold=5,
        budgets=(BudgetUse(budget=f"run customer={subject}", window="1", cap=1000),),
        labels={"customer": subject, "mail": f"{subject}@example.org"},
    )


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_nothing_of_a_subject_is_left(folder: Path, codec: Encryption | None) -> None:
    """No file has a byte of it, in pages or logs; all that is of others stays; costs stay."""
    path = folder / "run.db"
    async with sqlite(path, codec) as journal:
        run = await journal.begin_run(run_info())
        for number in range(20):
            await carry(journal, run, ANN, f"{number}")
            item, call = await carry(journal, run, BOB, f"{number}")
        costs = await journal.costs(("model",))
        assert codec is not None or "run.db-wal" in found_in(folder, ANN)
        would = await journal.erase(ANN, dry_run=True)
        assert (would.records, would.calls, would.groups) == (20, 20, 0)
        assert would.keys == tuple(sorted(f"key-{ANN}-{number}" for number in range(20)))
        assert ("openai", "req-7") in would.requests
        assert await journal.erase(ANN) == would
        assert found_in(folder, ANN) == []
        assert await journal.erase(ANN) == Erased()
        assert await journal.counts("p") == {"dead": 20}
        assert (await journal.answer(call)).body.startswith(f"answer-{BOB}".encode())
        assert f'"{BOB}"'.encode() in (await journal.letter(item) or b"")
        assert await journal.costs(("model",)) == costs
        assert {line.group["customer"] for line in await journal.costs(("customer",))} == {BOB, ""}
        names = [line.budget for line in await journal.budgets()]
        assert len(names) == 2
        assert f"run customer={BOB}" in names
        assert any(name.startswith("run erased-") for name in names)
        assert await journal.check() == []
    assert found_in(folder, ANN) == []
    async with sqlite(path, codec) as journal:
        assert await journal.check() == []
        assert len(await journal.records(Selector())) == 20


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_what_was_erased_is_passed_by_for_ever(
    folder: Path, codec: Encryption | None
) -> None:
    """An erased record is finished under any fingerprint, and not taken up by its key."""
    async with sqlite(folder / "run.db", codec) as journal:
        run = await journal.begin_run(run_info())
        await carry(journal, run, ANN)
        await carry(journal, run, BOB)
        await journal.erase(ANN)
        for fingerprint in "fg":
            finished = await journal.finished("p", fingerprint)
            assert f"key-{ANN}-1" in finished
            assert f"key-{ANN}-2" not in finished
            assert len(finished) == 2
        assert len(await journal.finished("another", "f")) == 0
        for subject in (ANN, None):
            claim = await journal.claim(run, f"key-{ANN}-1", subject=subject)
            assert (claim.state, claim.calls) == ("filtered", ())
        # Whoever comes back with new records is served, and erased again.
        await carry(journal, run, ANN, "2")
        assert (await journal.erase(ANN)).keys == (f"key-{ANN}-2",)
        assert found_in(folder, ANN) == []


async def test_erasing_reaches_older_copies(folder: Path) -> None:
    """In an older copy of an encrypted journal, nothing of the subject can be read any more."""
    path, codec = folder / "run.db", CODECS[1]
    async with sqlite(path, codec) as journal:
        run = await journal.begin_run(run_info())
        item, call = await carry(journal, run, ANN)
        _, other = await carry(journal, run, BOB)
        await journal.backup(folder / "copy.db")
        await journal.erase(ANN)
    shutil.copyfile(folder / "run.db.keys", folder / "copy.db.keys")
    async with sqlite(folder / "copy.db", codec) as copy:
        assert (await copy.answer(other)).body
        for ask in (copy.answer(call), copy.letter(item), copy.records(Selector())):
            with pytest.raises(StorageFailed, match="its subject is not in copy"):
                await ask


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_groups_go_with_any_of_their_members(folder: Path, codec: Encryption | None) -> None:
    """A group goes with a member's subject, also one made of groups; other groups stay."""
    async with sqlite(folder / "run.db", codec) as journal:
        run = await journal.begin_run(run_info())
        items = {who: (await carry(journal, run, who))[0] for who in (ANN, BOB)}
        groups = {}
        for name, of in {"a": [ANN], "b": [BOB], "m": [ANN, BOB]}.items():
            member, body = name.encode() * 16, f"{of} of {name}".encode()
            group = await journal.freeze_group(
                run, "map", [member], body, items=[items[who] for who in of]
            )
            call = await journal.begin_call(intent_of(run, group.item, of[0]))
            await journal.end_call(call, CallEnd(state="unknown", at=3.0))
            groups[name] = group.item
        nested = [groups["m"], groups["b"]]
        await journal.freeze_group(run, "map", [b"n" * 16], ANN.encode(), items=nested)
        erased = await journal.erase(ANN)
        assert (erased.records, erased.groups, erased.calls) == (1, 3, 3)
        kept = [await journal.group_of(run, name.encode() * 16) for name in "abmn"]
        assert [group is not None for group in kept] == [False, True, False, False]
        assert kept[1] is not None
        assert kept[1].body == f"['{BOB}'] of b".encode()
        assert found_in(folder, ANN) == []
        assert await journal.check() == []


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_what_was_purged_before_is_erased_too(folder: Path, codec: Encryption | None) -> None:
    """Labels that costs of purged records still had go with the subject; the costs stay."""
    async with sqlite(folder / "run.db", codec) as journal:
        run = await journal.begin_run(run_info())
        await carry(journal, run, ANN)
        await carry(journal, run, BOB)
        assert (await journal.purge(100.0)).records == 2
        costs = await journal.costs(("model",))
        assert {line.group["customer"] for line in await journal.costs(("customer",))} == {ANN, BOB}
        erased = await journal.erase(ANN)
        assert (erased.records, erased.keys) == (1, ())
        assert {line.group["customer"] for line in await journal.costs(("customer",))} == {"", BOB}
        assert await journal.costs(("model",)) == costs
        assert f"key-{ANN}-1" in await journal.finished("p", "g")
        assert found_in(folder, ANN) == []


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_a_cap_outlives_whom_it_was_for(folder: Path, codec: Encryption | None) -> None:
    """What was spent for an erased subject counts on against its cap, under another name."""
    async with sqlite(folder / "run.db", codec) as journal:
        run = await journal.begin_run(run_info())
        await carry(journal, run, ANN)
        await journal.erase(ANN)
        item = (await journal.claim(run, "new", subject=ANN)).item
        intent = intent_of(run, item, ANN)
        with pytest.raises(BudgetExhausted):
            await journal.begin_call(attrs.evolve(intent, hold=998))
        call = await journal.begin_call(attrs.evolve(intent, hold=997))
        settled = await journal.end_call(call, CallEnd(state="partial", at=2.0, cost=990))
        assert list(settled.spent.values()) == [(993, 0, 1000)]
        assert ANN not in str(await journal.budgets())
        assert await journal.check() == []


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
async def test_labels_of_others_stay(folder: Path, codec: Encryption | None) -> None:
    """Erasing the customer 1 takes no label off calls of others that happens to be 1 too."""
    async with sqlite(folder / "run.db", codec) as journal:
        run = await journal.begin_run(run_info())
        for subject in ("1", "2"):
            item = (await journal.claim(run, f"of {subject}", subject=subject)).item
            labels = {"priority": "1"}
            intent = attrs.evolve(intent_of(run, item, subject), labels=labels)
            await journal.end_call(
                await journal.begin_call(intent), CallEnd(state="unknown", at=2.0)
            )
            await journal.end_item(item, ItemEnd(state="done", at=3.0, fingerprint="f"))
        await journal.erase("1")
        lines = await journal.costs(("priority",))
        assert {line.group["priority"]: line.calls for line in lines} == {"1": 1, "": 1}


async def test_a_purge_leaves_nothing_in_free_pages(folder: Path) -> None:
    """What is purged is overwritten, and not only taken off the list of what is in use."""
    path = folder / "run.db"
    async with Sqlite(path, ballast=0) as journal:
        run = await journal.begin_run(run_info())
        item = (await journal.claim(run, "a")).item
        call = await journal.begin_call(attrs.evolve(intent_of(run, item, ANN), labels={}))
        answer = RawAnswer(body=b"s3cret" * 5000)
        await journal.end_call(call, CallEnd(state="answered", at=2.0, answer=answer))
        await journal.end_item(item, ItemEnd(state="done", at=3.0, fingerprint="f"))
    assert b"s3cret" in path.read_bytes()
    async with Sqlite(path, ballast=0) as journal:
        await journal.purge(100.0)
    assert b"s3cret" not in path.read_bytes()


@pytest.mark.parametrize("make", [lambda _: Memory(), lambda path: sqlite(path, None)])
async def test_carried_records_end_first(folder: Path, make: Any) -> None:
    """Erasing waits for what a worker carries, and lets nothing of the subject begin meanwhile."""
    async with make(folder / "run.db") as journal:
        run = await journal.begin_run(run_info())
        item = (await journal.claim(run, "a", subject=ANN)).item
        call = await journal.begin_call(intent_of(run, item, ANN))
        erased: list[Erased] = []

        async def erase() -> None:
            erased.append(await journal.erase(ANN))

        async with anyio.create_task_group() as group:
            group.start_soon(erase)
            while (await journal.claim(run, "new", subject=ANN)).state != "filtered":
                await journal.end_item(
                    (await journal.past_calls(["new"], "p"))["new"].item,
                    ItemEnd(state="ready", at=3.0, fingerprint="f"),
                )
            await journal.end_item(item, ItemEnd(state="ready", at=3.0, fingerprint="f"))
            assert not erased
            await journal.end_call(call, CallEnd(state="void", at=4.0))
        assert erased[0].calls == 1
        finished = await journal.finished("p", "f")
        assert [key in finished for key in ("a", "new", "b")] == [True, True, False]
        assert (await journal.claim(run, "b", subject=BOB)).state == "claimed"


@pytest.mark.parametrize("make", [lambda _: Memory(), lambda path: sqlite(path, None)])
async def test_an_interrupted_erasing_is_finished_next_time(folder: Path, make: Any) -> None:
    """Who asked may be cancelled, and the process die: whoever enters next finds it erased."""
    journal = make(folder / "run.db")
    await journal.__aenter__()
    run = await journal.begin_run(run_info())
    await carry(journal, run, ANN)
    await journal.claim(run, "a", subject=ANN)
    async with anyio.create_task_group() as group:
        group.start_soon(journal.erase, ANN)
        while (await journal.claim(run, "new", subject=ANN)).state != "filtered":
            item = (await journal.past_calls(["new"], "p"))["new"].item
            await journal.end_item(item, ItemEnd(state="ready", at=3.0, fingerprint="f"))
        group.cancel_scope.cancel()
    journal.crash()
    async with journal:
        finished = await journal.finished("p", "f")
        assert all(key in finished for key in ("a", "new", f"key-{ANN}-1"))
        assert await journal.counts("p") == {}
        assert await journal.erase(ANN) == Erased()
        assert found_in(folder, ANN) == []


async def test_who_is_unknown_changes_nothing(folder: Path) -> None:
    """Erasing a subject of which nothing is kept answers that, and writes no row."""
    async with sqlite(folder / "run.db", None) as journal:
        run = await journal.begin_run(run_info())
        await carry(journal, run, BOB)
        assert await journal.erase(ANN) == Erased()
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        assert connection.execute("SELECT count(*) FROM erasure").fetchone() == (0,)


async def test_a_dry_run_needs_no_writing(folder: Path) -> None:
    """What would be purged or erased is told by a reader, which leaves the file as it is."""
    async with sqlite(folder / "run.db", None) as journal:
        await carry(journal, await journal.begin_run(run_info()), ANN)
    before = artefacts(folder)
    async with SqliteReader(folder / "run.db") as journal:
        assert (await journal.erase(ANN, dry_run=True)).keys == (f"key-{ANN}-1",)
        assert (await journal.purge(100.0, dry_run=True)).calls == 1
        assert (await journal.purge(3.0, dry_run=True)).records == 0
    assert artefacts(folder) == before


async def test_a_journal_of_the_first_version_is_brought_forward(tmp_path: Path) -> None:
    """What an older library kept resumes exactly, and can be of a subject from now on."""
    path = tmp_path / "run.db"
    async with sqlite(path, None) as journal:
        run = await journal.begin_run(run_info())
        item = (await journal.claim(run, "a")).item
        await journal.end_item(item, ItemEnd(state="done", at=3.0, fingerprint="f"))
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        migrate(connection, old, {1: MIGRATIONS[1]})
        connection.execute("ATTACH ? AS new", (str(path),))
        for table in ("meta", "word", "run", "item"):
            names = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            columns = ", ".join(names)
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"
            )
        connection.execute("DELETE FROM meta WHERE name = 'salt'")
        assert connection.execute("PRAGMA main.user_version").fetchone() == (1,)
    async with sqlite(old, None) as journal:
        assert "a" in await journal.finished("p", "f")
        run = await journal.begin_run(run_info())
        assert (await journal.claim(run, "a", subject=ANN)).state == "done"
        later = await journal.begin_run(attrs.evolve(run_info(), fingerprint="g"))
        claim = await journal.claim(later, "a", subject=ANN)
        assert (claim.state, claim.item) == ("claimed", item)
        await journal.end_item(item, ItemEnd(state="done", at=3.0, fingerprint="g"))
        assert (await journal.erase(ANN)).keys == ("a",)
        assert "a" in await journal.finished("p", "h")
        assert await journal.check() == []


def _disks(log: Any, since: int) -> Iterator[tuple[int, Disk]]:
    yield from kills(log, since)
    yield from ((done, disk) for done, disk in PowerCuts(log, 1) if done >= since)


@pytest.mark.parametrize("codec", CODECS, ids=["plain", "encrypted"])
def test_erasing_bears_kills_and_power_cuts(folder: Path, codec: Encryption | None) -> None:
    """Wherever it is killed or the power goes, the next owner finds all of it, or nothing."""

    async def check() -> None:
        path, disk = folder / "run.db", Disk()
        options: dict[str, Any] = {"writer": "inline", "clock": FakeClock()}
        journal = sqlite(path, codec, connect=disk.connect, **options)
        await journal.__aenter__()
        run = await journal.begin_run(run_info())
        for subject in (ANN, BOB):
            item, call = await carry(journal, run, subject)
            await journal.freeze_group(
                run, "map", [subject.encode()[:3] * 5 + b"m"], subject.encode(), items=[item]
            )
        since = len(disk.log)
        await journal.erase(ANN)
        log = list(disk.log)
        journal.crash()
        outcomes = {"erased": 0, "whole": 0}
        for _, left in _disks(log, since):
            again = sqlite(path, codec, connect=left.connect, **options)
            path.with_name("run.db.status").unlink(missing_ok=True)
            async with again:
                assert (await again.answer(call)).body.startswith(f"answer-{BOB}".encode())
                counts = await again.counts("p")
                erased = counts == {"dead": 1}
                outcomes["erased" if erased else "whole"] += 1
                assert f"key-{ANN}-1" in await again.finished("p", "f")
                if not erased:
                    assert counts == {"dead": 2}
                    assert (await again.answer(call - 1)).body
                assert await again.check() == []
            if erased:
                if codec is not None:
                    with closing(left.connect(folder / "run.db.keys")) as keys:
                        assert keys.execute("SELECT count(*) FROM key").fetchone() == (1,)
                text = ANN.encode()
                assert [name for name, content in left.files.items() if text in content] == []
        assert outcomes["erased"] > 100
        assert outcomes["whole"] > 1

    anyio.run(check)
