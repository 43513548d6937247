"""
Several processes and threads at one `Sqlite` store: ``python -m tests.stores.stress 60``.

Each of them puts, gets, deletes and lets expire, and looks whether what it gets is what it put.
Meanwhile the log is written back to the file after every commit, and by connections that do
nothing else: far more often than in earnest, since this is where a SQLite with the WAL-reset bug
damages a file. The file is checked all the time, and in the end for every value that was put.

Where the SQLite of the standard library has the bug, that of `apsw` is used in its place; with
``--library sqlite3`` it shows, within a minute or so. With ``--ordinary`` the log is written back
when SQLite does it by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Literal, TypeAlias
from unittest.mock import patch

import anyio
import anyio.to_thread
import apsw
import attrs

from genai_pipeline.journals._connection import wal_is_sound
from genai_pipeline.stores import Sqlite, _sqlite_file

__all__ = ["stress"]

PROCESSES, THREADS, TASKS, KEYS = 3, 2, 3, 40
ROUND = 100
"""How many operations a task makes before its process closes the store and opens it again."""

BUSY = 60.0
"""SQLite does not let those who write take turns: one may wait for long."""

Library: TypeAlias = Literal["sqlite3", "apsw"]
VERSIONS: dict[Library, tuple[int, ...]] = {
    "sqlite3": sqlite3.sqlite_version_info,
    "apsw": tuple(map(int, apsw.sqlite_lib_version().split("."))),
}
SOUND: list[Library] = [library for library, version in VERSIONS.items() if wal_is_sound(version)]
"""Whose SQLite several connections may use."""

DEFAULT: Library = SOUND[0] if SOUND else "sqlite3"

WAYS = (*["PASSIVE"] * 20, "FULL", "RESTART", "TRUNCATE")
ROOT, MEMORY = Path(__file__).parents[2], Path("/dev/shm")


class Apsw(apsw.Connection):
    """A connection of the SQLite that comes with `apsw`, as `Sqlite` uses one."""

    def executescript(self, script: str) -> None:
        """Carry out several statements."""
        self.execute(script)


def connect(path: Path, *, timeout: float, **_: object) -> Any:
    """Open *path* by `apsw`, as ``sqlite3.connect`` does."""
    connection = Apsw(str(path))
    connection.set_busy_timeout(round(timeout * 1000))
    return connection


class Sqlite3:
    """What stands in the place of the module `sqlite3` for `apsw`."""

    connect = staticmethod(connect)


LIBRARIES: dict[Library, Any] = {"sqlite3": sqlite3, "apsw": Sqlite3}


@attrs.frozen(kw_only=True)
class Plan:
    """How the file is stressed."""

    seconds: float
    processes: int = PROCESSES
    library: Library = DEFAULT
    ordinary: bool = False
    """Whether the log is written back no more often than `Sqlite` does it."""

    def options(self) -> list[str]:
        """Answer the options of the command that say the same."""
        told = [str(self.seconds), "--library", self.library]
        return [*told, "--ordinary"] if self.ordinary else told

    def names(self) -> list[str]:
        """Answer the names of the processes."""
        names = [str(number) for number in range(self.processes)]
        return names if self.ordinary else [*names, "checkpoints"]

    def connect(self, path: Path, *, timeout: float) -> Any:
        """Open the file."""
        return LIBRARIES[self.library].connect(path, timeout=timeout, isolation_level=None)


def value_of(key: str, number: int) -> list[Any]:
    """Answer what is put under *key* as the put of this *number*: some need several pages."""
    chance = random.Random(f"{key} {number}")
    return [key, number, f"{number:x}." * chance.choice([1, 10, 100, 3000])]


@attrs.frozen
class Kept:
    """A value that was put, and between which wall times it expires."""

    number: int
    earliest: float | None = None
    latest: float | None = None


@attrs.define
class Hand:
    """One who alone puts and deletes its keys, and so knows what must be there."""

    name: str
    kept: dict[str, Kept] = attrs.field(factory=dict)
    done: Counter[str] = attrs.field(factory=Counter)
    number: int = 0

    async def work(self, store: Sqlite, until: float) -> None:
        """Make the operations of a round, or fewer, but one at least, when the time is up."""
        for _ in range(ROUND):
            key = f"{self.name}/{random.randrange(KEYS)}"
            what = random.choice([self.put, self.put, self.get, self.get, self.delete])
            if not self.number:
                what = self.put
            await what(store, key)
            self.done[what.__name__] += 1
            if time.monotonic() > until:
                return

    async def put(self, store: Sqlite, key: str) -> None:
        """Put what was never put before, some of it for a short time."""
        self.number += 1
        ttl = random.choice([None, None, 0.001, 0.1])
        before = time.time()
        await store.put(key, value_of(key, self.number), ttl=ttl)
        self.kept[key] = Kept(
            self.number, *([] if ttl is None else [before + ttl, time.time() + ttl])
        )

    async def delete(self, store: Sqlite, key: str) -> None:
        """Delete a key, whether it is there or not."""
        await store.delete(key)
        self.kept.pop(key, None)

    async def get(self, store: Sqlite, key: str) -> None:
        """See that what is got is what was put last, unless that has expired."""
        before = time.time()
        found, kept = await store.get(key), self.kept.get(key)
        if found is None and kept is not None and kept.earliest is not None:
            assert time.time() >= kept.earliest, f"{key} expired too early"
            self.done["expired"] += 1
            return
        assert found == (kept and value_of(key, kept.number)), f"{key} is {str(found)[:99]}"
        assert kept is None or kept.latest is None or before < kept.latest, f"{key} is too old"


def worker(path: Path, name: str, plan: Plan) -> None:
    """Work on the file in this process, and print what must be in it in the end."""
    until = time.monotonic() + plan.seconds
    hands = [[Hand(f"{name}{one}{two}") for two in range(TASKS)] for one in range(THREADS)]
    with patch.object(_sqlite_file, "sqlite3", LIBRARIES[plan.library]):
        anyio.run(one_round, path, hands, until, plan)
        while time.monotonic() < until:
            anyio.run(one_round, path, hands, until, plan)
    all_hands = [hand for some in hands for hand in some]
    kept = {key: value.number for hand in all_hands for key, value in hand.kept.items()}
    done = sum((hand.done for hand in all_hands), Counter[str]())
    print(json.dumps([kept, done]))


async def one_round(path: Path, hands: list[list[Hand]], until: float, plan: Plan) -> None:
    """Open the store, let threads work on it, each with an event loop, and close it."""

    def thread(some: list[Hand]) -> None:
        async def work() -> None:
            async with anyio.create_task_group() as group:
                for hand in some:
                    group.start_soon(hand.work, store, until)

        anyio.run(work)

    async with Sqlite(path, busy_timeout=BUSY) as store, anyio.create_task_group() as group:
        if not plan.ordinary:
            assert store._connection is not None
            often = f"PRAGMA wal_autocheckpoint = {random.choice([1, 1, 10])}"
            store._connection.execute(often).fetchall()
        for some in hands:
            group.start_soon(anyio.to_thread.run_sync, thread, some)


def checkpoint(path: Path, plan: Plan) -> None:
    """Write the log back all the time, in this process, while others do so as well."""
    until = time.monotonic() + plan.seconds
    with closing(plan.connect(path, timeout=0)) as connection:
        while time.monotonic() < until:
            try:
                connection.execute(f"PRAGMA wal_checkpoint({random.choice(WAYS)})").fetchall()
            except (sqlite3.OperationalError, apsw.BusyError, apsw.LockedError) as error:
                if "locked" not in str(error):
                    raise
    print("[{}, {}]")


def integrity(connection: Any) -> list[str]:
    """Answer what SQLite finds wrong with the file."""
    try:
        found = connection.execute("PRAGMA integrity_check").fetchall()
    except (sqlite3.DatabaseError, apsw.Error) as error:
        return [f"integrity_check: {error}"]
    return [f"integrity_check: {text}" for (text,) in found if text != "ok"]


def contents(connection: Any, kept: dict[str, int]) -> list[str]:
    """Answer what is otherwise in the file than it was put."""
    rows = connection.execute("SELECT CAST(key AS TEXT), value, bytes FROM entries").fetchall()
    found = {key: json.loads(text) for key, text, _ in rows}
    wrong = [f"{key} is gone" for key in kept.keys() - found.keys()]
    wrong += [f"{key} is there" for key in found.keys() - kept.keys()]
    wrong += [
        f"{key} is {str(found[key])[:99]}"
        for key in kept.keys() & found.keys()
        if found[key] != value_of(key, kept[key])
    ]
    total = connection.execute("SELECT entries, bytes FROM total").fetchone()
    if total != (len(rows), sum(size for _, _, size in rows)):
        wrong.append(f"the totals are {total}")
    return wrong


def stress(folder: Path, plan: Plan) -> list[str]:
    """Let processes work on a file in *folder*; answer what is wrong, and print what was done."""
    path, wrong, kept, done = folder / "s.db", list[str](), dict[str, int](), Counter[str]()
    _sqlite_file.made(path)
    command = [sys.executable, "-m", "tests.stores.stress", *plan.options()]
    with ExitStack() as stack, closing(plan.connect(path, timeout=BUSY)) as connection:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--work", str(path), name],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for name in plan.names()
        ]
        began = time.monotonic()
        while not wrong and any(each.poll() is None for each in workers):
            time.sleep(0.1)
            wrong = integrity(connection)
            done["checks"] += 1
        for each in workers:
            if wrong:
                each.kill()
            told, _ = each.communicate()
            if each.returncode == 0:
                kept |= json.loads(told)[0]
                done += Counter(json.loads(told)[1])
            elif not wrong:
                wrong = ["a process failed, and tells why on stderr"]
        wrong = wrong or integrity(connection) or contents(connection, kept)
        done["seconds"] = round(time.monotonic() - began)
        (version,) = connection.execute("SELECT sqlite_version()").fetchone()
    print(f"SQLite {version}, {len(kept)} values, {dict(sorted(done.items()))}")
    return wrong


def main() -> int:
    """Stress a new file, and keep it if something is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--library", choices=LIBRARIES, default=DEFAULT)
    parser.add_argument("--ordinary", action="store_true")
    parser.add_argument("--work", nargs=2, help="what the processes are started with")
    given = vars(parser.parse_args())
    work = given.pop("work")
    plan = Plan(**given)
    if work:
        path, name = Path(work[0]), work[1]
        checkpoint(path, plan) if name == "checkpoints" else worker(path, name, plan)
        return 0
    # In memory there is more of everything in the same time.
    folder = Path(tempfile.mkdtemp(prefix="stress-", dir=MEMORY if MEMORY.is_dir() else None))
    wrong = stress(folder, plan)
    print(*(wrong or ["nothing is wrong"]), sep="\n")
    if wrong:
        print(f"the file is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
