"""The journal in a file: who may have it, what lies beside it, and how it is written."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline._identity import Digests, generation_of, item_id, record_id
from genai_pipeline._journal_admin import Purged, Selector
from genai_pipeline.errors import AccountingError, ConfigurationError, StorageFailed
from genai_pipeline.journals import Sqlite, read_status
from genai_pipeline.journals import _filesystem as filesystem
from genai_pipeline.journals import _sql_calls as calls
from genai_pipeline.journals._connection import connect, prepare, wal_is_sound
from genai_pipeline.journals._operation import Operation
from genai_pipeline.journals._tables import Tables
from genai_pipeline.testing import FakeClock
from tests.journals.script import answered, ended, intent, item, run_info

pytestmark = pytest.mark.anyio


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """Nobody else may read the journal or what lies beside it; only the status stays."""
    async with Sqlite(tmp_path / "run.db", ballast=4096) as journal:
        await journal.begin_run(run_info())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert (tmp_path / "run.db.ballast").stat().st_size == 4096
        await journal.backup(tmp_path / "copy.db")
    names = ["", "-wal", ".ballast", ".lock", ".mark", ".status"]
    assert modes == {f"run.db{name}": 0o600 for name in names}
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "run.db", "run.db.status"]
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


async def test_durability_is_set_and_read_back(tmp_path: Path) -> None:
    """The connection syncs each commit, has the file alone, and trusts nothing in it."""
    async with Sqlite(tmp_path / "run.db", writer="inline", ballast=0) as journal:
        assert journal._file is not None
        connection = journal._file.tables.connection
        expected = {
            "synchronous": 2,
            "journal_mode": "wal",
            "locking_mode": "exclusive",
            "wal_autocheckpoint": 0,
            "trusted_schema": 0,
            "cell_size_check": 1,
        }
        found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in expected}
        assert found == expected


class _Disobedient:
    """A connection that keeps one setting as it is, or tells another version."""

    def __init__(self, inner: Any, *, keeps: str = "", version: str | None = None) -> None:
        self._inner, self._keeps, self._version = inner, keeps, version

    def execute(self, sql: str, *parameters: Any) -> Any:
        if self._version and "sqlite_version" in sql:
            return self._inner.execute(f"SELECT '{self._version}'")
        if self._keeps and sql.startswith(f"PRAGMA {self._keeps} ="):
            sql = f"PRAGMA {self._keeps}"
        return self._inner.execute(sql, *parameters)


@pytest.mark.parametrize("pragma", ["synchronous", "journal_mode", "cell_size_check"])
def test_a_setting_that_is_not_kept_is_refused(tmp_path: Path, pragma: str) -> None:
    """Where SQLite does not do as it is told, a journal is not opened."""
    with closing(connect(tmp_path / "run.db")) as connection:
        disobedient: Any = _Disobedient(connection, keeps=pragma)
        with pytest.raises(ConfigurationError, match=f"keeps {pragma} at"):
            prepare(disobedient)


@pytest.mark.parametrize(
    ("version", "fine"), [("3.40.1", False), ("3.51.3", True), ("3.44.6", True), ("3.50.6", False)]
)
def test_a_file_that_others_may_open_needs_a_sound_sqlite(
    tmp_path: Path, version: str, fine: bool
) -> None:
    """Where the file cannot be had alone, only a SQLite without the WAL-reset bug will do."""
    assert wal_is_sound(tuple(map(int, version.split(".")))) == fine
    with closing(connect(tmp_path / "run.db")) as connection:
        sharing: Any = _Disobedient(connection, keeps="locking_mode", version=version)
        if fine:
            prepare(sharing)
        else:
            with pytest.raises(ConfigurationError, match="keeps locking_mode at 'normal'"):
                prepare(sharing)


def test_an_old_sqlite_is_refused(tmp_path: Path) -> None:
    """A SQLite without strict tables is a ConfigurationError that names the one that is needed."""
    with closing(connect(tmp_path / "run.db")) as connection:
        old: Any = _Disobedient(connection, version="3.36.0")
        with pytest.raises(ConfigurationError, match=r"3\.36\.0 is too old; install 3\.37"):
            prepare(old)


async def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    """A journal in use is refused with its owner's process and host, in this process too."""
    path = tmp_path / "run.db"
    code = (
        "import anyio, sys; from genai_pipeline.journals import Sqlite\n"
        "async def main():\n"
        "    async with Sqlite(sys.argv[1], ballast=0): print('in')\n"
        "anyio.run(main)"
    )
    other = [sys.executable, "-c", code, str(path)]
    async with Sqlite(path, ballast=0) as journal:
        await journal.begin_run(run_info())
        done = await anyio.run_process(other, check=False)
        assert f"in use by process {os.getpid()} on".encode() in done.stderr
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()}"):
            async with Sqlite(path, ballast=0):
                pass
        await journal.begin_run(run_info())
    assert (await anyio.run_process(other)).stdout == b"in\n"


async def test_several_users_share_one(tmp_path: Path) -> None:
    """A journal that two entered stays open until the second has left."""
    journal = Sqlite(tmp_path / "run.db", ballast=0)
    async with journal:
        async with journal:
            assert await journal.begin_run(run_info()) == 1
        assert await journal.begin_run(run_info()) == 2
    with pytest.raises(ConfigurationError, match="async with"):
        await journal.begin_run(run_info())


async def test_loops_in_several_threads_share_one(tmp_path: Path) -> None:
    """Event loops in several threads use one journal at once."""
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        run = await journal.begin_run(run_info())

        def work(name: str) -> None:
            async def claims() -> None:
                for number in range(20):
                    assert (await journal.claim(run, f"{name}{number}")).state == "claimed"

            anyio.run(claims)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(anyio.to_thread.run_sync, work, name)
        assert await journal.counts("p") == {"claimed": 60}


async def test_what_is_asked_together_is_one_commit(tmp_path: Path) -> None:
    """Many operations at once cost few commits, and one that fails fails alone."""
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        run = await journal.begin_run(run_info())
        assert journal._file is not None
        before = journal._file.committed
        states: list[str] = []

        async def claim(number: int) -> None:
            if number == 50:
                with pytest.raises(UnicodeEncodeError):
                    await journal.end_run(run, "\ud800", 1.0, {})
            states.append((await journal.claim(run, f"{number}")).state)

        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(claim, number)
        assert states == ["claimed"] * 200
        assert journal._file.committed - before <= 10


async def test_what_fails_in_a_commit_is_undone_alone(tmp_path: Path) -> None:
    """Of what is one commit, the part that fails leaves nothing; the rest is kept, and once."""
    async with Sqlite(tmp_path / "run.db", writer="inline", ballast=0) as journal:
        run = await journal.begin_run(run_info())
        await journal.claim(run, "first")
        assert journal._file is not None

        def begin(tables: Tables) -> Any:
            return calls.begin_calls(tables, [intent("first")])[0]

        def fail(tables: Tables) -> None:
            tables.name("a word of the failed")
            begin(tables)
            raise AccountingError("on purpose")

        asked = [Operation(begin), Operation(fail), Operation(begin)]
        journal._file.carry_out(asked)
        assert [type(each.error) for each in asked] == [type(None), AccountingError, type(None)]
        first, _, last = asked
        assert last.result > first.result
        assert journal._file.tables.known("a word of the failed") == 0
        again = await journal.begin_call(intent("first"))
        assert again > last.result
        assert len(await journal.past_calls(["first"], run_info().pipeline)) == 1
        assert await journal.check() == []


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_error_nobody_foresaw_is_told_to_all_who_wait(tmp_path: Path) -> None:
    """Whatever breaks in the writer's thread ends the journal with an error, and nobody waits."""

    def breaks(tables: Tables) -> None:
        raise KeyboardInterrupt

    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        run = await journal.begin_run(run_info())
        with pytest.raises(StorageFailed, match="nothing more is written"):
            await journal._ask(breaks)
        with pytest.raises(StorageFailed, match="nothing more is written"):
            await journal.claim(run, "a")


async def test_a_log_in_long_use_stays_within_its_bound(tmp_path: Path) -> None:
    """Written back again and again, the log keeps the size it has, and is cut when it grew."""
    log, sizes = tmp_path / "run.db-wal", []
    async with Sqlite(
        tmp_path / "run.db", writer="inline", ballast=0, checkpoint_bytes=64 << 10
    ) as journal:
        run = await journal.begin_run(run_info())
        for number in range(150):
            await journal.claim(run, f"{number}" * 1000)
            sizes.append(log.stat().st_size)
    assert max(sizes) < 3 * (64 << 10)
    assert any(later < earlier for earlier, later in itertools.pairwise(sizes))


async def test_the_log_is_written_back(tmp_path: Path) -> None:
    """The log does not grow beyond its bound by much, and shrinks when the journal rests."""
    log = tmp_path / "run.db-wal"
    async with Sqlite(
        tmp_path / "run.db", writer="inline", ballast=0, checkpoint_bytes=128 << 10
    ) as journal:
        run = await journal.begin_run(run_info())
        for number in range(40):
            await journal.claim(run, f"{number}" * 1000)
        assert log.stat().st_size < 400 << 10
        assert journal._file is not None
        journal._file.rest()
        assert log.stat().st_size == 0


async def test_the_status_of_a_journal_in_use_is_told(tmp_path: Path) -> None:
    """What a running owner does is readable beside the file, at most a second old."""
    path = tmp_path / "run.db"
    assert read_status(path) is None
    clock = FakeClock()
    async with Sqlite(path, writer="inline", ballast=0, clock=clock) as journal:
        await journal.begin_run(run_info())
        await journal.claim(1, "a")
        call = await journal.begin_call(intent("a"))
        clock.advance(1.0)
        await journal.end_call(call, answered(256, cost=4))
        status = read_status(path)
        assert status is not None
        assert (status.state, status.is_running, status.owner.pid) == ("open", True, os.getpid())
        assert status.counts == {"records.claimed": 1, "calls.inflight": 1, "calls.answered": 1}
        assert (status.charged, status.budgets) == (4, {"run": (4, 0, 1000)})
        await journal.end_item(item("a"), ended("done"))
        assert read_status(path) == status
    status = read_status(path)
    assert status is not None
    assert (status.state, status.is_running) == ("closed", False)
    assert status.counts["records.done"] == 1


async def test_a_status_that_does_not_fit_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that runs full in the middle of a status leaves the one before."""
    path, write = tmp_path / "run.db", os.write
    clock = FakeClock()
    async with Sqlite(path, writer="inline", ballast=0, clock=clock) as journal:
        status = read_status(path)
        assert status is not None
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: write(file, data[:-1]))
            clock.advance(1.0)
            await journal.begin_run(run_info())
            assert read_status(path) == status
        clock.advance(1.0)
        await journal.claim(1, "a")
        assert read_status(path) != status


class _Backwards:
    """A codec that turns bodies around and adds what they belong to."""

    name = "backwards"

    def encode(self, body: bytes, context: str, /) -> bytes:
        return context.encode() + body[::-1]

    def decode(self, body: bytes, context: str, /) -> bytes:
        assert body.startswith(context.encode())
        return body[len(context) :][::-1]


async def test_bodies_go_through_the_codec(tmp_path: Path) -> None:
    """Answers and letters are kept as the codec makes them, and need it to be read again."""
    path = tmp_path / "run.db"
    async with Sqlite(path, ballast=0, codec=_Backwards()) as journal:
        run = await journal.begin_run(run_info())
        await journal.claim(run, "a")
        call = await journal.begin_call(intent("a"))
        await journal.end_call(call, answered(256))
        await journal.end_item(item("a"), ended("dead"))
        assert (await journal.answer(call)).body == bytes(range(256))
        assert await journal.letter(item("a")) == b'{"payload": 1}'
    assert b'{"payload": 1}' not in path.read_bytes()
    async with Sqlite(path, ballast=0) as journal:
        assert await journal.check() == []
        for ask in (journal.answer(call), journal.letter(item("a"))):
            with pytest.raises(ConfigurationError, match="kept by 'backwards'"):
                await ask


async def test_a_backup_is_the_journal(tmp_path: Path) -> None:
    """A backup of a journal in use opens as the journal was; an existing file is not touched."""
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        run = await journal.begin_run(run_info())
        await journal.claim(run, "a")
        await journal.end_item(item("a"), ended("done"))
        await journal.backup(tmp_path / "copy.db")
        with pytest.raises(ConfigurationError, match="exists"):
            await journal.backup(tmp_path / "copy.db")
        await journal.claim(run, "b")
    async with Sqlite(tmp_path / "copy.db", ballast=0) as copy:
        assert await copy.counts("p") == {"done": 1}
        assert await copy.check() == []


async def test_a_purge_and_a_vacuum_make_it_small(folder: Path) -> None:
    """What is purged is no longer in the file, in many small steps, and resume stays exact."""
    path = folder / "run.db"
    async with Sqlite(path, ballast=0) as journal:
        run = await journal.begin_run(run_info())

        async def one(key: str) -> None:
            await journal.claim(run, key)
            call = await journal.begin_call(attrs.evolve(intent(key), budgets=(), labels={}))
            await journal.end_call(call, answered(512))
            await journal.end_item(item(key), ended("done"))

        async with anyio.create_task_group() as group:
            for number in range(1200):
                group.start_soon(one, f"secret-{number}")
        assert await journal.purge(100.0) == Purged(records=1200, calls=1200)
        await journal.vacuum()
        assert await journal.check() == []
        finished = await journal.finished("p", "f")
        assert [f"secret-{number}" in finished for number in (0, 1199, 1200)] == [True, True, False]
        assert [line.charged for line in await journal.costs()] == [4800]
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_size < 220_000


async def test_a_redrive_without_reuse_offers_no_answers(tmp_path: Path) -> None:
    """A redriven record has its answered calls again, unless they are not to be used."""
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        run = await journal.begin_run(run_info())
        await journal.claim(run, "a")
        await journal.end_call(await journal.begin_call(intent("a")), answered(256))
        await journal.end_item(item("a"), ended("dead"))
        assert await journal.redrive(Selector(keys=("b",))) == 0
        assert await journal.redrive(Selector(error="Refused", pipeline="p")) == 1
        claim = await journal.claim(run, "a")
        assert [call.call for call in claim.calls] == [1]
        await journal.end_item(claim.item, ended("dead"))
        assert await journal.redrive(Selector(), reuse=False) == 1
        claim = await journal.claim(run, "a")
        assert (claim.calls, generation_of(claim.item)) == ((), 2)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is mounted from elsewhere is a ConfigurationError, before anything is made."""
    mounts = tmp_path / "mountinfo"
    place = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        f"90 22 0:55 / {place}/far rw,relatime shared:9 - nfs4 server:/far rw\n"
        f"91 22 0:56 / {place}/fuse rw - fuse.sshfs me@far rw\n"
        f"92 22 0:57 / {place}/farther rw - xfs /dev/vdb rw\n"
    )
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)

    async def check() -> None:
        for name, kind in (("far", "nfs4"), ("fuse", "fuse.sshfs")):
            (tmp_path / name).mkdir()
            with pytest.raises(ConfigurationError, match=rf"network file system \({kind}\)"):
                async with Sqlite(tmp_path / name / "run.db", ballast=0):
                    pass
            assert os.listdir(tmp_path / name) == []
        (tmp_path / "farther").mkdir()
        async with Sqlite(tmp_path / "farther" / "run.db", ballast=0):
            pass

    anyio.run(check)


_FORKS = textwrap.dedent(
    """
    import gc, os, sys, time
    import anyio
    from genai_pipeline.errors import StorageFailed
    from genai_pipeline.journals import Sqlite
    from tests.journals.script import run_info

    async def main(path, direction):
        async with Sqlite(path, ballast=4096) as journal:
            run = await journal.begin_run(run_info())
            await journal.claim(run, "before")
            child = os.fork()
            if child == 0:
                try:
                    await journal.claim(run, "in the child")
                except StorageFailed as error:
                    assert "forked" in str(error), error
                    os.write(1, b"refused ")
                if direction == "child lives":
                    os.close(0)
                    time.sleep(60)
                # What the end of an interpreter does to a connection, without that of the loop.
                journal._file.tables.connection = None
                gc.collect()
                os._exit(0)
            if direction == "child lives":
                os.write(1, b"%d " % child)
                await journal.claim(run, "after")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            for number in range(20):
                await journal.claim(run, f"after {number}")
        os.write(1, b"left")

    anyio.run(main, *sys.argv[1:])
    """
)


async def test_a_fork_harms_nobody_when_the_child_ends(tmp_path: Path) -> None:
    """A forked child may not use the journal, and its end leaves the parent's whole."""
    done = await anyio.run_process(
        [sys.executable, "-c", _FORKS, str(tmp_path / "run.db"), "child ends"]
    )
    assert done.stdout == b"refused left"
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        assert await journal.check() == []
        assert await journal.counts("p") == {"ready": 21}


async def test_a_fork_harms_nobody_when_the_parent_ends(tmp_path: Path) -> None:
    """A forked child that lives on does not keep the journal from the next owner."""
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS, str(tmp_path / "run.db"), "child lives"],
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert await anyio.to_thread.run_sync(parent.wait) == 0
        said = b""
        while b"refused" not in said or not said.replace(b"refused", b"").strip():
            said += await anyio.to_thread.run_sync(os.read, parent.stdout.fileno(), 100)
        child = int(said.replace(b"refused", b""))
        async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
            assert await journal.check() == []
            assert (await journal.claim(await journal.begin_run(run_info()), "after")).crashes == 1
        os.kill(child, signal.SIGKILL)


_WORKS = textwrap.dedent(
    """
    import os, sys
    import anyio
    from genai_pipeline.journals import Sqlite
    from tests.journals.script import answered, ended, intent, item, run_info

    async def main(path):
        async with Sqlite(path, ballast=0) as journal:
            run = await journal.begin_run(run_info())

            async def work(name):
                for number in range(100_000):
                    key = f"{os.getpid()}-{name}-{number}"
                    await journal.claim(run, key)
                    call = await journal.begin_call(intent(key, hold=0))
                    await journal.end_call(call, answered(2048, cost=0))
                    os.write(1, b"answered %d\\n" % call)
                    await journal.end_item(item(key), ended("done"))
                    os.write(1, b"done %b\\n" % key.encode())

            async with anyio.create_task_group() as group:
                for name in range(20):
                    group.start_soon(work, name)

    anyio.run(main, *sys.argv[1:])
    """
)


async def test_kill_9_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    """Killed at any moment, again and again, a journal has all that it said it has."""
    path = folder / "run.db"
    answers: set[int] = set()
    done: set[str] = set()
    for lines in (1, 7, 150, 400):
        with subprocess.Popen(
            [sys.executable, "-c", _WORKS, str(path)], stdout=subprocess.PIPE
        ) as worker:
            assert worker.stdout is not None
            said = [worker.stdout.readline() for _ in range(lines)]
            worker.send_signal(signal.SIGKILL)
            said += worker.stdout.read().splitlines(keepends=True)
            assert worker.wait() == -signal.SIGKILL
        for line in said:
            if line.endswith(b"\n"):
                what, name = line.decode().split()
                if what == "done":
                    done.add(name)
                else:
                    answers.add(int(name))
    assert len(done) > 100
    async with Sqlite(path, ballast=0) as journal:
        assert await journal.check() == []
        finished = await journal.finished("p", "f")
        assert [key for key in done if key not in finished] == []
        for call in answers:
            assert (await journal.answer(call)).body == bytes(range(256)) * 8
        states = await journal.counts("p")
        assert set(states) <= {"ready", "done"}
        assert states["done"] >= len(done)


@given(keys=st.sets(st.text(max_size=3), max_size=30), others=st.sets(st.text(max_size=3)))
def test_digests_are_a_set_of_keys(keys: set[str], others: set[str]) -> None:
    """Keys are told apart by 14 bytes each, in either order of their halves."""
    found = Digests.of("p", sorted(record_id("p", key) for key in keys))
    assert len(found) == len(keys)
    assert {key for key in keys | others if key in found} == keys
    assert 3 not in found


def test_digests_that_nearly_agree_are_told_apart() -> None:
    """A record is found whole and in its place, not across two others, whatever lies beside it."""
    target = record_id("p", "a")
    near = [
        target[:13] + bytes([target[13] ^ 1]),
        target[:1] + bytes(13),
        target[:1] + b"\xff" * 13,
    ]
    assert "a" in Digests.of("p", sorted([*near, target]))
    assert "a" not in Digests.of("p", sorted(near))
    rest = target[1:]
    across = sorted([target[:1] + bytes(6) + rest[:7], target[:1] + bytes(5) + b"\xff" * 8])
    straddled = [target[:1] + b"\0" * 5 + rest[:8], target[:1] + rest[8:] + b"\xff" * 8]
    for pair in (across, straddled):
        assert "a" not in Digests.of("p", pair)
        assert len(Digests.of("p", pair)) == 2


def test_many_digests_are_found() -> None:
    """A large set is kept otherwise than a small one, and answers alike."""
    found = Digests.of("p", sorted(record_id("p", f"{number}") for number in range(120_000)))
    assert len(found) == 120_000
    assert sum(f"{number}" in found for number in range(0, 240_000, 7)) == 17_143


def test_a_record_cannot_be_redriven_for_ever() -> None:
    """After 65,536 generations there are no more, which is told."""
    record = record_id("p", "a")
    names = [item_id(record, number) for number in (0, 1, 255, 256, 65_535)]
    assert names == sorted(names)
    assert [generation_of(name) for name in names] == [0, 1, 255, 256, 65_535]
    with pytest.raises(StorageFailed, match="another key"):
        item_id(record, 65_536)


def test_names_do_not_run_together() -> None:
    """A pipeline and a key are told apart wherever the one ends and the other begins."""
    pairs = list(itertools.product(["", "a", "aa", "1:"], ["", "a", "aa", ":a"]))
    assert len({record_id(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": ""}, "path=''"),
        ({"path": ":memory:"}, "journals.Memory"),
        ({"path": 3}, "path=3"),
        ({"ballast": -1}, "ballast=-1"),
        ({"checkpoint_bytes": 1}, "checkpoint_bytes=1"),
        ({"writer": "other"}, "writer='other'"),
        ({"synchronous": "OFF"}, "synchronous='OFF'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Sqlite(**{"path": os.devnull, **options})


async def test_another_connection_cannot_read_along(tmp_path: Path) -> None:
    """While the journal is in use, no other program of SQLite gets in."""
    async with Sqlite(tmp_path / "run.db", ballast=0) as journal:
        await journal.begin_run(run_info())
        code = f"import sqlite3; sqlite3.connect({str(tmp_path / 'run.db')!r}, timeout=0)"
        done = await anyio.run_process(
            [sys.executable, "-c", code + ".execute('SELECT * FROM run')"], check=False
        )
        assert b"database is locked" in done.stderr
        assert sqlite3.sqlite_version
