"""Journal files that somebody or something damaged: told, never believed, and salvaged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline._journal_admin import Selector
from genai_pipeline.errors import ConfigurationError, PipelineError, StorageFailed
from genai_pipeline.journals import Sqlite, SqliteReader, read_status, salvage
from genai_pipeline.journals._schema import MIGRATIONS, migrate
from genai_pipeline.testing import FakeClock
from tests.journals.script import SCRIPT, answered, ended, intent, item, look, run_info


def _run(check: Callable[[], Awaitable[None]]) -> None:
    anyio.run(check)


async def _filled(path: Path, records: int = 40) -> None:
    """Make a journal of some pages, closed in order."""
    async with Sqlite(path, writer="inline", ballast=0) as journal:
        await journal.begin_run(run_info())
        for number in range(records):
            await journal.claim(1, f"k{number}")
            call = await journal.begin_call(intent(f"k{number}"))
            await journal.end_call(call, answered(2048))
            await journal.end_item(item(f"k{number}"), ended("dead" if number % 9 == 0 else "done"))


def _dead_owner(path: Path, to: Path) -> Path:
    """Copy the files of a journal in use, as ``kill -9`` would leave them."""
    to.mkdir()
    for suffix in ("", "-wal", ".status", ".mark"):
        shutil.copy(path.with_name(path.name + suffix), to)
    return to / path.name


async def _in_use(folder: Path) -> Path:
    """Answer a journal whose owner died with all in its log."""
    clock = FakeClock()
    path = folder / "run.db"
    async with Sqlite(path, writer="inline", ballast=0, clock=clock) as journal:
        for step in SCRIPT[:-2]:
            await step(journal)
            clock.advance(1.0)
        await journal.end_run(1, "ended", 1.0, {})
        return _dead_owner(path, folder / "dead")


def test_a_log_that_was_removed_is_told(folder: Path) -> None:
    """Without its -wal, a journal whose owner died is refused, and says how much is missing."""

    async def check() -> None:
        path = await _in_use(folder)
        path.with_name("run.db-wal").unlink()
        for _ in range(2):
            with pytest.raises(StorageFailed, match=r"lacks the last \d+ of \d+ commits.*-wal"):
                async with Sqlite(path, ballast=0):
                    pass
        path.with_name("run.db.status").unlink()
        path.with_name("run.db.mark").unlink()
        async with Sqlite(path, ballast=0) as journal:
            assert await journal.check() == []

    _run(check)


def test_a_stale_index_of_the_log_changes_nothing(folder: Path) -> None:
    """A -shm that another program left beside the file is neither believed nor in the way."""

    async def check() -> None:
        path = await _in_use(folder)
        whole = shutil.copytree(path.parent, folder / "whole") / path.name
        path.with_name("run.db-shm").write_bytes(bytes(range(256)) * 128)
        async with (
            Sqlite(whole, ballast=0) as expected,
            Sqlite(path, ballast=0) as journal,
        ):
            assert await journal.check() == []
            assert await look(journal) == await look(expected)

    _run(check)


def test_a_log_that_was_cut_is_told(folder: Path) -> None:
    """However much is cut off the -wal, what is lacking is told; whole, nothing is."""

    async def check() -> None:
        path = await _in_use(folder)
        log = path.with_name("run.db-wal").read_bytes()
        status = path.with_name("run.db.status").read_bytes()
        main = path.read_bytes()
        for part in (0.0, 0.3, 0.9):
            path.write_bytes(main)
            path.with_name("run.db-wal").write_bytes(log[: int(part * len(log))])
            path.with_name("run.db.status").write_bytes(status)
            with pytest.raises(StorageFailed, match="lacks the last"):
                async with Sqlite(path, ballast=0):
                    pass
        path.write_bytes(main)
        path.with_name("run.db-wal").write_bytes(log)
        path.with_name("run.db.status").write_bytes(status)
        async with Sqlite(path, ballast=0) as journal:
            assert (await journal.counts("p"))["ready"] > 0

    _run(check)


def test_a_log_that_was_cut_at_once_is_told(folder: Path) -> None:
    """Wherever the -wal is cut, and however soon, all that was durable is there, or it is told."""

    async def check() -> None:
        path = folder / "run.db"
        async with Sqlite(path, writer="inline", ballast=0, clock=FakeClock()) as journal:
            for step in SCRIPT[:-2]:
                await step(journal)
            await journal.end_run(1, "ended", 1.0, {})
            dead = _dead_owner(path, folder / "dead")
            status = read_status(path)
        assert status is not None
        assert status.commits < 3  # the status alone would not tell
        whole = {each.name: each.read_bytes() for each in dead.parent.iterdir()}
        log, chance, told = whole["run.db-wal"], random.Random(5), 0
        found: Sequence[str] = ()
        frames = [*range(32, len(log), 4096 + 24)]
        for end in (0, *frames[::3], *(chance.randrange(len(log)) for _ in range(20)), len(log)):
            for name, data in whole.items():
                (dead.parent / name).write_bytes(data[:end] if name == "run.db-wal" else data)
            async with SqliteReader(dead) as reader:
                found = await reader.check()
            if end < len(log):
                assert "lacks the last" in found[0]
                with pytest.raises(StorageFailed, match="lacks the last"):
                    async with Sqlite(dead, writer="inline", ballast=0):
                        pass
                told += 1
        assert list(found) == []
        async with Sqlite(dead, writer="inline", ballast=0) as journal:
            assert (await journal.counts("p"))["ready"] > 0
        assert told > 20
        assert not dead.with_name("run.db.mark").exists()

    _run(check)


@pytest.mark.parametrize("said", [b"", b"torn", bytes(44), bytes(200)])
def test_a_mark_that_is_torn_says_nothing(folder: Path, said: bytes) -> None:
    """What a power cut makes of the mark beside a journal is no false alarm."""

    async def check() -> None:
        path = await _in_use(folder)
        path.with_name("run.db.mark").write_bytes(said)
        async with Sqlite(path, ballast=0) as journal:
            assert (await journal.counts("p"))["ready"] > 0

    _run(check)


def test_an_older_copy_is_told(folder: Path) -> None:
    """A journal that was replaced by an older copy of itself is refused."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 2)
        old = path.read_bytes()
        async with Sqlite(path, ballast=0) as journal:
            await journal.begin_run(run_info())
        path.write_bytes(old)
        with pytest.raises(StorageFailed, match="older copy"):
            async with Sqlite(path, ballast=0):
                pass

    _run(check)


def test_a_new_file_after_all_was_removed_is_new(folder: Path) -> None:
    """Whoever removes the journal begins anew, whatever its status said."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 2)
        path.unlink()
        async with Sqlite(path, ballast=0) as journal:
            assert await journal.counts("p") == {}

    _run(check)


def test_flipped_bits_never_change_an_answer(folder: Path) -> None:
    """Wherever a bit flips, every answer that is given is the one that was kept."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path)
        whole = path.read_bytes()
        expected = answered(2048).answer
        assert expected is not None
        chance, told, found_by_check = random.Random(7), 0, 0
        for _ in range(150):
            flipped = bytearray(whole)
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            for told_beside in (".status", ".mark"):
                path.with_name(path.name + told_beside).unlink(missing_ok=True)
            try:
                async with Sqlite(path, writer="inline", ballast=0) as journal:
                    found_by_check += await journal.check() != []
                    for number in range(1, 41):
                        answer = await journal.answer(number)
                        assert answer.body == expected.body
                        assert answer.headers == expected.headers
            except PipelineError:
                told += 1
        assert told > 40
        assert found_by_check > 30

    _run(check)


def test_a_damaged_answer_is_not_given(folder: Path) -> None:
    """An answer that does not fit its digest is StorageFailed, and check names it."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 3)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE answer SET body = x'00' WHERE call = 2")
            connection.execute("UPDATE ending SET letter = x'00' WHERE letter IS NOT NULL")
            connection.commit()
        async with Sqlite(path, ballast=0) as journal:
            assert await journal.check() == ["answer of call 2: it does not fit its digest"]
            with pytest.raises(StorageFailed, match=r"answer of call 2 is damaged.*salvage"):
                await journal.answer(2)
            with pytest.raises(StorageFailed, match=r"letter.*is damaged"):
                await journal.letter((await journal.records(Selector()))[0].item)
            assert (await journal.answer(1)).body

    _run(check)


def test_check_adds_the_accounts_up(folder: Path) -> None:
    """Money that does not add up, and answers that are missing, are found by check."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 3)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE budget SET spent = spent - 1")
            connection.execute("DELETE FROM answer WHERE call = 1")
            connection.commit()
        async with Sqlite(path, ballast=0) as journal:
            assert await journal.check() == [
                "call 1: it is answered, and its answer is missing",
                "budget 'run' '1': reserved 0, by its calls 0; spent 11, by its calls 12",
            ]

    _run(check)


def test_salvage_of_a_whole_journal_is_all_of_it(folder: Path) -> None:
    """What is salvaged from a whole journal is the journal, its log included."""

    async def check() -> None:
        path = await _in_use(folder)
        found = salvage(path, folder / "new.db")
        assert (found.damaged, found.lost_answers) == ((), ())
        async with Sqlite(folder / "new.db", ballast=0) as journal:
            assert await journal.check() == []
            seen = await look(journal)
        async with Sqlite(path, ballast=0) as journal:
            assert await look(journal) == seen

    _run(check)


@pytest.mark.parametrize("seed", range(4))
def test_salvage_brings_over_what_is_whole(folder: Path, seed: int) -> None:
    """From a journal with pages overwritten, what is salvaged is consistent, and most of it."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 120)
        chance, data = random.Random(seed), bytearray(path.read_bytes())
        pages = len(data) // 4096
        for page in chance.sample(range(pages // 3, pages), 4):
            data[page * 4096 : page * 4096 + 4096] = chance.randbytes(4096)
        path.write_bytes(data)
        found = salvage(path, folder / "new.db")
        assert path.read_bytes() == data
        assert sorted(os.listdir(folder)) == ["new.db", "run.db", "run.db.status"]
        async with Sqlite(folder / "new.db", ballast=0) as journal:
            assert await journal.check() == []
            assert found.rows["answer"] >= 60
            seen = await look(journal)
            assert seen["budgets"][0].spent >= 4 * found.rows["answer"]
            claim = await journal.claim(await journal.begin_run(run_info()), "again")
            assert claim.state == "claimed"

    _run(check)


def test_salvage_needs_a_file_and_a_new_name(folder: Path) -> None:
    """A salvage of nothing, into an existing file, or of a journal in use, is refused."""

    async def check() -> None:
        path = folder / "run.db"
        with pytest.raises(ConfigurationError, match="path="):
            salvage(path, folder / "new.db")
        async with Sqlite(path, ballast=0):
            with pytest.raises(ConfigurationError, match="in use by process"):
                salvage(path, folder / "new.db")
        with pytest.raises(ConfigurationError, match="to="):
            salvage(path, path)
        path.write_bytes(b"no database at all" * 1000)
        with pytest.raises(StorageFailed):
            salvage(path, folder / "new.db")
        assert not (folder / "new.db").exists()

    _run(check)


def test_what_is_no_journal_is_left_alone(folder: Path) -> None:
    """A file of another program, or none at all, is refused and stays as it is."""

    async def check() -> None:
        path = folder / "run.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match="another program"):
            async with Sqlite(path, ballast=0):
                pass
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
        assert len(before) == path.stat().st_size
        path.write_bytes(b"no database at all" * 1000)
        with pytest.raises(StorageFailed, match="no journal"):
            async with Sqlite(path, ballast=0):
                pass
        assert path.read_bytes() == b"no database at all" * 1000

    _run(check)


def test_a_later_schema_is_refused(folder: Path) -> None:
    """A file of a later version is a ConfigurationError that names both schemas."""

    async def check() -> None:
        path = folder / "run.db"
        await _filled(path, 1)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 7")
        with pytest.raises(ConfigurationError, match="schema 7, this one knows 2"):
            async with Sqlite(path, ballast=0):
                pass

    _run(check)


def test_an_earlier_schema_is_brought_forward_whole_or_not_at_all(tmp_path: Path) -> None:
    """Migrations run in order and in one transaction: one that fails leaves the file as it was."""
    path = tmp_path / "run.db"
    second = {**MIGRATIONS, 3: "ALTER TABLE run ADD COLUMN note TEXT;\nCREATE TABLE more (x);\n"}
    broken = {**second, 4: "CREATE TABLE even_more (x);\nCREATE TABLE more (x);\n"}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, path)
        connection.execute("INSERT INTO meta VALUES ('kept', 1)")
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            migrate(connection, path, broken)
        tables: list[Any] = connection.execute("SELECT name FROM sqlite_schema").fetchall()
        assert ("more",) not in tables
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        migrate(connection, path, second)
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT count(note) FROM run").fetchone() == (0,)
        assert connection.execute("SELECT value FROM meta").fetchall() == [(1,)]
        with pytest.raises(ConfigurationError, match="schema 3, this one knows 2"):
            migrate(connection, path)


def test_the_status_of_a_dead_owner_says_so(folder: Path) -> None:
    """A status that its owner left open is no sign of life on another start of the machine."""

    async def check() -> None:
        path = await _in_use(folder)
        status = read_status(path)
        assert status is not None
        assert status.is_running  # this very process
        text = path.with_name("run.db.status").read_text("utf-8")
        for changed, expected in (
            (text.replace(status.owner.boot, "another"), False),
            (text.replace(f'"pid": {status.owner.pid}', '"pid": 4194303'), False),
            (text.replace(f'"host": "{status.owner.host}"', '"host": "far"'), None),
            (text[:50], "none"),
        ):
            path.with_name("run.db.status").write_text(changed, "utf-8")
            found = read_status(path)
            assert (found.is_running if found else "none") == expected

    _run(check)
