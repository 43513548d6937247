"""
Work on the file of a journal that is killed, as by ``kill -9``, at each write and sync there is.

Prints, for each kind of work, at how many points it was killed and at which of them something was
wrong with what was left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import apsw

from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Sqlite
from genai_pipeline.journals._schema import MIGRATIONS, migrate
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Connection
from tests.journals.script import (
    TABLE,
    answered,
    ended,
    intent,
    item,
    look,
    rows,
    run_info,
)

Work: TypeAlias = Callable[[Sqlite], Awaitable[Any]]

POINTS_OF_EACH = 40
_NEVER = 1 << 60
OLD = "bringing an older version forward"


class Countdown:
    """Kills this process at the *at*-th change of a file, half-way if it is a write."""

    def __init__(self, at: int) -> None:
        self.at, self.changes = at, 0

    def is_over(self) -> bool:
        self.changes += 1
        return self.changes == self.at

    def change(self) -> None:
        if self.is_over():
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalVfs(apsw.VFS):
    """The files of the machine, with a countdown at each change."""

    def __init__(self, countdown: Countdown) -> None:
        self._countdown = countdown
        super().__init__("mortal", "unix")

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        return MortalFile(self._countdown, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._countdown.change()
        super().xDelete(filename, syncdir)


class MortalFile(apsw.VFSFile):
    """A file of the machine."""

    def __init__(self, countdown: Countdown, name: Any, flags: list[int]) -> None:
        self._countdown = countdown
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._countdown.is_over():
            super().xWrite(data[: len(data) // 2], offset)
            die()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._countdown.change()
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self._countdown.change()
        super().xTruncate(size)


def journal_of(path: Path, **options: Any) -> Sqlite:
    return Sqlite(path, writer="inline", ballast=0, clock=FakeClock(), **options)


async def fill(path: Path, folder: Path) -> None:
    """Leave a journal as an owner does that was killed with most of it in its log."""
    journal = journal_of(path)
    await journal.__aenter__()
    await journal.open_table(TABLE)
    await journal.begin_run(run_info())
    for number in range(10):
        key = f"k{number}"
        await journal.claim(1, key, subject="ann" if number % 2 else "bob")
        call = await journal.begin_call(intent(key))
        if number < 8:
            await journal.end_call(call, answered(3000))
            end = ended("dead" if number % 4 == 0 else "done")
            await journal.end_item(item(key), end, rows=rows(key, f"{key}/1"))
        if number == 5:
            assert journal._file is not None
            journal._file.rest()
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), folder / f"run.db{suffix}")
    journal.crash()


def make_old(path: Path, old: Path) -> None:
    """Leave what is in the journal at *path* as the first version of the library kept it."""
    old.parent.mkdir()
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, old, {1: MIGRATIONS[1]})
        connection.execute("ATTACH ? AS new", (str(path),))
        (made,) = connection.execute("SELECT sql FROM new.sqlite_schema WHERE name = 'out'")
        connection.execute(made[0])
        tables = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")
        for (table,) in tables.fetchall():
            names = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
            columns = ", ".join(names)
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"
            )
        connection.execute("DELETE FROM main.meta WHERE name = 'salt'")


async def nothing(_: Sqlite) -> None:
    """Open the file, and close it: what was left is taken over, and the log written back."""


async def rest(journal: Sqlite) -> None:
    assert journal._file is not None
    journal._file.rest()


async def backup(journal: Sqlite) -> None:
    await journal.backup(journal.path.with_name("copy.db"))


WORKS: dict[str, Work] = {
    "first opening": nothing,
    "taking over": nothing,
    OLD: nothing,
    "checkpoint": rest,
    "purge": lambda journal: journal.purge(100.0),
    "vacuum": lambda journal: journal.vacuum(),
    "backup": backup,
    "erase": lambda journal: journal.erase("ann"),
    "redrive": lambda journal: journal.redrive(Selector()),
}


async def do(work: Work, path: Path, countdown: Countdown) -> None:
    vfs = MortalVfs(countdown)  # it is known to SQLite as long as it lives
    async with journal_of(path, connect=lambda path: Connection("mortal", str(path))) as journal:
        await work(journal)
    del vfs


async def seen(path: Path) -> Any:
    async with journal_of(path) as journal:
        return [await journal.check(), await look(journal)]


def in_a_child(work: Work, path: Path, at: int) -> int:
    """Do *work* in a process of its own; answer how many changes it made, 0 if it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            countdown = Countdown(at)
            anyio.run(do, work, path, countdown)
            os.write(writing, str(countdown.changes).encode())
        except BaseException:  # noqa: BLE001 - told, and no way back into the parent's code
            traceback.print_exc()
        os._exit(0)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = os.read(reading, 100)
    os.close(reading)
    assert said or code == -signal.SIGKILL, "the work failed, and tells why on stderr"
    return int(said or 0)


def sweep(name: str, template: Path, folder: Path) -> tuple[int, list[str]]:
    """Kill the work *name* at each of its changes, or at as many as may be."""
    work = WORKS[name]

    def place(number: object) -> Path:
        made = folder / f"{name} {number}"
        made.mkdir()
        if name != "first opening":
            left = template.with_name("old") if name == OLD else template
            shutil.copytree(left, made, dirs_exist_ok=True)
        return made / "run.db"

    whole = place("whole")
    before = anyio.run(seen, place("before"))
    changes = in_a_child(work, whole, _NEVER)
    allowed = [before, anyio.run(seen, whole)]
    points = range(1, changes + 1, max(1, changes // POINTS_OF_EACH))
    wrong = []
    for at in points:
        path = place(at)
        if in_a_child(work, path, at):
            wrong.append(f"{at}: it was not killed")
        elif anyio.run(seen, path) not in allowed:
            wrong.append(f"{at} of {changes}")
        shutil.rmtree(path.parent)
    return len(points), wrong


def main() -> None:
    folder = Path(sys.argv[1])
    template = folder / "template"
    anyio.run(fill, folder / "alive.db", template)
    make_old(folder / "alive.db", folder / "old" / "run.db")
    print(json.dumps({name: sweep(name, template, folder) for name in WORKS}))


if __name__ == "__main__":
    main()
