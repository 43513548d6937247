"""The store in a file."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError, StorageFailed, Transient
from genai_pipeline.stores import Sqlite
from genai_pipeline.stores._sqlite_batch import Put, carry_out
from genai_pipeline.stores._sqlite_file import connected, made
from genai_pipeline.testing import FakeClock, StoreContract
from genai_pipeline.types import Store

pytestmark = pytest.mark.anyio


class TestSqliteContract(StoreContract):
    """Sqlite keeps what every store promises."""

    trials = settings(max_examples=12, stateful_step_count=15, deadline=None)

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.files = (tmp_path / f"{number}.db" for number in itertools.count())

    def make(self, clock: Clock) -> Store[Any]:
        """Make a store on a file of its own."""
        return Sqlite(next(self.files), clock=clock)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=_JSON.filter(lambda value: value is not None))
@settings(max_examples=30, deadline=None)
async def test_any_json_comes_back_the_same(value: Any) -> None:
    """Whatever JSON can hold is got as it was put."""
    with tempfile.TemporaryDirectory() as folder:
        async with Sqlite(Path(folder, "s.db")) as store:
            await store.put("k", value)
            assert await store.get("k") == value


async def test_values_outlive_the_store(tmp_path: Path) -> None:
    """Another store on the same file, later, has what the first put, with its time to live."""
    clock = FakeClock()
    async with Sqlite(tmp_path / "s.db", clock=clock) as first:
        await first.put("a", {"n": [1]})
        await first.put("b", 2, ttl=10)
    clock.advance(9)
    async with Sqlite(tmp_path / "s.db", clock=clock) as second:
        assert [await second.get("a"), await second.get("b")] == [{"n": [1]}, 2]
        clock.advance(1)
        assert [await second.get("a"), await second.get("b")] == [{"n": [1]}, None]


async def test_a_lone_call_opens_and_closes(tmp_path: Path) -> None:
    """Without ``async with``, each call opens the file and leaves nothing open."""
    store = Sqlite(str(tmp_path / "s.db"))
    await store.put("a", 1)
    assert await store.get("a") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.db"]


async def test_entered_twice_it_closes_last(tmp_path: Path) -> None:
    """A store that two share stays open until the second has left."""
    store = Sqlite(tmp_path / "s.db")
    async with store:
        async with store:
            await store.put("a", 1)
        assert (tmp_path / "s.db-wal").exists()
        assert await store.get("a") == 1
    assert not (tmp_path / "s.db-wal").exists()


async def test_the_file_is_its_owners(tmp_path: Path) -> None:
    """Nobody but the owner may read the file, or those beside it."""
    async with Sqlite(tmp_path / "s.db") as store:
        await store.put("a", 1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"s.db": 0o600, "s.db-wal": 0o600, "s.db-shm": 0o600}


async def test_the_oldest_go_first(tmp_path: Path) -> None:
    """Beyond max_entries, the entries put longest ago go; a later put makes an entry young."""
    async with Sqlite(tmp_path / "s.db", max_entries=2) as store:
        for key in ("a", "b", "a", "c"):
            await store.put(key, key)
        assert [await store.get(key) for key in "abc"] == ["a", None, "c"]


async def test_the_expired_go_before_the_oldest(tmp_path: Path) -> None:
    """When room is needed, what is expired goes first, however young."""
    clock = FakeClock()
    async with Sqlite(tmp_path / "s.db", max_entries=2, clock=clock) as store:
        await store.put("old", 1)
        await store.put("expired", 1, ttl=5)
        clock.advance(5)
        await store.put("new", 1)
        assert [await store.get("old"), await store.get("new")] == [1, 1]


async def test_a_value_too_large_drives_nobody_out(tmp_path: Path) -> None:
    """A value over max_bytes is not kept, nor the value it was to replace; the others stay."""
    async with Sqlite(tmp_path / "s.db", max_bytes=100) as store:
        await store.put("a", "small")
        await store.put("b", "small")
        await store.put("b", "x" * 98)
        assert [await store.get("a"), await store.get("b")] == ["small", None]
        await store.put("b", "x" * 97)  # with its key and quotes, 100 bytes
        assert [await store.get("a"), await store.get("b")] == [None, "x" * 97]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    max_entries=st.integers(1, 5),
    max_bytes=st.integers(30, 120),
)
@settings(max_examples=25, deadline=None)
def test_bounds_hold_and_no_more_goes_than_must(
    sizes: list[int], max_entries: int, max_bytes: int
) -> None:
    """After any batch, the youngest entries that fit are there, and the totals are true."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.db")
        made(path)
        with closing(connected(path, busy_timeout=1)) as connection:
            batch = [
                Put(str(number).encode(), 0.0, "x", None, size) for number, size in enumerate(sizes)
            ]
            carry_out(connection, batch, max_entries=max_entries, max_bytes=max_bytes)
            found = connection.execute("SELECT key, bytes FROM entries ORDER BY id").fetchall()
            total = connection.execute("SELECT entries, bytes FROM total").fetchone()
    expected: list[tuple[bytes, int]] = []
    fitting = [(put.key, put.bytes) for put in batch if put.bytes <= max_bytes]
    for key, size in reversed(fitting):
        if len(expected) == max_entries or size + sum(s for _, s in expected) > max_bytes:
            break
        expected.insert(0, (key, size))
    assert found == expected
    assert total == (len(found), sum(size for _, size in found))


async def test_changes_asked_for_together_are_one_transaction(tmp_path: Path) -> None:
    """Many puts at once cost few transactions."""
    async with Sqlite(tmp_path / "s.db") as store:
        assert store._connection is not None
        begun: list[str] = []
        store._connection.set_trace_callback(
            lambda statement: begun.append(statement) if "BEGIN I" in statement else None
        )
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(store.put, str(number), number)
        assert await store.get("199") == 199
    assert 1 <= len(begun) <= 3


async def test_a_cancelled_put_harms_no_other(tmp_path: Path) -> None:
    """Puts that are cancelled while they wait leave the others' to be done."""
    async with Sqlite(tmp_path / "s.db") as store:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(store.put, f"kept {number}", number)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await store.put("dropped", 1)
        assert [await store.get(f"kept {number}") for number in range(20)] == list(range(20))
        assert scope.cancelled_caught


async def test_a_call_cancelled_before_its_thread_begins_harms_no_other(tmp_path: Path) -> None:
    """Puts that wait behind one are done also when it is cancelled while no thread is free."""
    path, threads = tmp_path / "s.db", anyio.to_thread.current_default_thread_limiter()
    before, asked = threads.total_tokens, anyio.Event()
    begun, busy = threading.Event(), threading.Event()

    async def ask() -> None:
        await store.put("first", 1)
        asked.set()

    async def give_up() -> None:
        with scope:
            await store.put("dropped", 1)

    async with Sqlite(path, busy_timeout=60) as store:
        try:
            threads.total_tokens = 1
            scope = anyio.CancelScope()
            assert store._connection is not None
            store._connection.set_trace_callback(lambda _: begun.set())
            async with anyio.create_task_group() as group:
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    group.start_soon(ask)
                    await anyio.to_thread.run_sync(begun.wait, limiter=anyio.CapacityLimiter(1))
                    for work in (partial(anyio.to_thread.run_sync, busy.wait), give_up):
                        group.start_soon(work)
                        await anyio.wait_all_tasks_blocked()
                    for number in range(3):
                        group.start_soon(store.put, str(number), number)
                    await anyio.wait_all_tasks_blocked()
                await asked.wait()
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                await anyio.wait_all_tasks_blocked()
                busy.set()
        finally:
            busy.set()
            threads.total_tokens = before
        assert [await store.get(str(number)) for number in range(3)] == [0, 1, 2]
        assert await store.get("dropped") is None


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), {1: 2}, object()])
async def test_what_json_cannot_hold_is_refused(tmp_path: Path, value: Any) -> None:
    """A value that is no JSON is a ConfigurationError, and nothing is put."""
    store = Sqlite(tmp_path / "s.db")
    with pytest.raises(ConfigurationError, match="Sqlite: the value"):
        await store.put("a", value)
    assert await store.get("a") is None


async def test_a_damaged_file_is_told_and_left(tmp_path: Path) -> None:
    """A file that is no database is StorageFailed, which names it and the mend, and stays."""
    path = tmp_path / "s.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StorageFailed, match=r"s\.db is damaged.*move it away"):
        async with Sqlite(path):
            pass
    assert path.read_bytes() == b"no database at all" * 100


async def test_a_file_damaged_within_is_told(tmp_path: Path) -> None:
    """A database whose pages are overwritten is StorageFailed as well, to each who asks."""
    path = tmp_path / "s.db"
    async with Sqlite(path) as store:
        for number in range(200):
            await store.put(str(number), "x" * 200)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StorageFailed, match="damaged"):
        await Sqlite(path).get("7")


async def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    """A database of another program is a ConfigurationError, and stays as it is."""
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program"):
        await Sqlite(path).put("a", 1)
    assert path.read_bytes() == before


async def test_a_later_versions_file_is_refused(tmp_path: Path) -> None:
    """A file with a schema of another version is a ConfigurationError that names both."""
    path = tmp_path / "s.db"
    await Sqlite(path).put("a", 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(ConfigurationError, match="schema 7, this one knows 1"):
        await Sqlite(path).get("a")


async def test_an_empty_file_is_taken(tmp_path: Path) -> None:
    """An empty file, as tempfile makes them, becomes the store's."""
    path = tmp_path / "s.db"
    path.touch()
    await Sqlite(path).put("a", 1)
    assert await Sqlite(path).get("a") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["s.db"]


async def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    """A path in no folder is StorageFailed with the mend."""
    with pytest.raises(StorageFailed, match="give a path in a folder that exists"):
        await Sqlite(tmp_path / "none" / "s.db").get("a")


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """When the file cannot grow, the put is StorageFailed, and what was there stays."""
    async with Sqlite(tmp_path / "s.db") as store:
        await store.put("a", 1)
        assert store._connection is not None
        store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StorageFailed, match="the disk is full: free some space"):
            await store.put("b", "x" * 1_000_000)
        assert await store.get("a") == 1


async def test_a_lock_of_another_is_transient(tmp_path: Path) -> None:
    """While another holds the file for longer than busy_timeout, a put is Transient."""
    async with Sqlite(tmp_path / "s.db", busy_timeout=0.02) as store:
        await store.put("a", 1)
        with closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Transient, match="locked by another process"):
                await store.put("a", 2)
            assert await store.get("a") == 1
        await store.put("a", 3)
        assert await store.get("a") == 3


_MAKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from genai_pipeline.stores._sqlite_file import made

    print("ready", flush=True)
    for line in sys.stdin:
        path = Path(line.strip())
        made(path)
        print(path.stat().st_ino, flush=True)
    """
)


@pytest.mark.parametrize("empty", [False, True], ids=["a new file", "an empty file"])
def test_processes_that_begin_at_once_get_one_file(tmp_path: Path, *, empty: bool) -> None:
    """Of two processes that make the same file, neither takes it from under the other."""
    command = [sys.executable, "-c", _MAKER]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as two,
    ):
        for each in (one, two):
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        for number in range(50):
            path = tmp_path / f"{number}.db"
            if empty:
                path.touch()
            for each in (one, two):
                assert each.stdin is not None
                print(path, file=each.stdin, flush=True)
            used = {int(each.stdout.readline()) for each in (one, two) if each.stdout is not None}
            assert used == {path.stat().st_ino}


_WRITER = textwrap.dedent(
    """
    import itertools, os, sys
    import anyio
    from genai_pipeline.stores import Sqlite

    async def main(path, name):
        numbers = itertools.count()

        async def work():
            for number in numbers:
                await store.put(f"{name} {number}", "x" * number)
                os.write(1, b"%d\\n" % number)

        # The other process writes all the time, and SQLite does not let them take turns.
        async with Sqlite(path, busy_timeout=60) as store, anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(work)

    anyio.run(main, *sys.argv[1:])
    """
)


def test_what_was_put_survives_kill_9_beside_another_process(tmp_path: Path) -> None:
    """Two processes write one new file; killed, both leave a whole file with all they put."""
    path = tmp_path / "s.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name], stdout=subprocess.PIPE)
        for name in "ab"
    ]
    seen: dict[str, set[int]] = {}
    for name, writer in zip("ab", writers, strict=True):
        assert writer.stdout is not None
        seen[name] = {int(writer.stdout.readline()) for _ in range(100)}
    for name, writer in zip("ab", writers, strict=True):
        writer.send_signal(signal.SIGKILL)
        with writer:
            assert writer.stdout is not None
            seen[name] |= {int(line) for line in writer.stdout.read().split()}
        assert writer.returncode == -signal.SIGKILL

    async def check() -> None:
        async with Sqlite(path) as store:
            for name, numbers in seen.items():
                for number in numbers:
                    assert await store.get(f"{name} {number}") == "x" * number
            await store.put("after", 1)

    anyio.run(check)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [each.name for each in tmp_path.iterdir()] == ["s.db"]


async def test_threads_and_loops_share_a_store(tmp_path: Path) -> None:
    """Event loops in several threads use one store at once, and lose nothing."""
    async with Sqlite(tmp_path / "s.db") as store:

        def work(name: str) -> None:
            async def puts() -> None:
                for number in range(20):
                    await store.put(f"{name} {number}", number)

            anyio.run(puts)

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(anyio.to_thread.run_sync, work, name)
        for name, number in itertools.product("abc", range(20)):
            assert await store.get(f"{name} {number}") == number


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"path": ""}, "path=''"),
        ({"path": ":memory:"}, "stores.Memory"),
        ({"path": 3}, "path=3"),
        ({"max_entries": 0}, "max_entries=0"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"busy_timeout": 0}, "busy_timeout=0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Sqlite(**{"path": os.devnull, **options})
