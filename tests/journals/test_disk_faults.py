"""A journal on a disk that is full, read-only or failing, at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import apsw
import attrs
import pytest

from genai_pipeline.errors import StorageFailed
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.testing import FakeClock
from tests.journals.disk import Disk
from tests.journals.script import answered, ended, intent, item, look, run_info

pytestmark = pytest.mark.timeout(300)  # they fail hundreds of writes, one after another


@attrs.define
class Trouble:
    """Errors for changes of one kind: for the *first* that is met and *times* in all."""

    kind: str
    error: type[apsw.Error]
    first: int
    times: int = 1
    while_there: Path | None = None
    """Only while there is such a file, as room taken by it is room that others lack."""

    met: int = 0

    def __call__(self, kind: str, name: str) -> type[apsw.Error] | None:
        if kind != self.kind or (self.while_there and not self.while_there.exists()):
            return None
        self.met += 1
        return self.error if self.first <= self.met < self.first + self.times else None

    @property
    def struck(self) -> bool:
        return self.met >= self.first


@attrs.define
class Pair:
    """A journal, and one in memory that does what the other has acknowledged."""

    journal: Any
    model: Any
    refused: list[str] = attrs.field(factory=list)

    async def both(self, name: str, step: Callable[[Any], Awaitable[Any]]) -> Any:
        """Do *step*; answer `None` when the journal's storage failed."""
        try:
            found = await step(self.journal)
        except StorageFailed:
            self.refused.append(name)
            return None
        assert found == await step(self.model)
        return found

    async def work(self) -> None:
        """Carry three records: each one that is claimed is called for, and ends."""
        for key in "abc":
            await self._carry(key)

    async def _carry(self, key: str) -> None:
        if not await self.both("intent", lambda journal: journal.claim(1, key)):
            return
        calls = [
            await self.both("intent", lambda journal: journal.begin_call(intent(key)))
            for _ in range(2)
        ]
        for call in filter(None, calls):
            await self.both("answer", partial(_answer, call=call))
        await self.both("answer", lambda journal: journal.end_item(item(key), ended("done")))


async def _answer(journal: Any, call: int) -> Any:
    return await journal.end_call(call, answered(6144))


def _journal(folder: Path, disk: Disk, ballast: int = 0) -> Sqlite:
    return Sqlite(
        folder / "run.db",
        writer="inline",
        connect=disk.connect,
        ballast=ballast,
        clock=FakeClock(),
    )


async def _after_crash(journal: Sqlite, disk: Disk) -> Any:
    journal.crash()
    disk.trouble = lambda kind, name: None
    async with journal:
        assert await journal.check() == []
        return await look(journal)


async def _model(steps: Pair) -> Any:
    steps.model.crash()
    async with steps.model:
        return await look(steps.model)


@pytest.mark.thorough
def test_a_full_disk_lets_answers_land(folder: Path) -> None:
    """Whichever write finds the disk full, answers land in the ballast's room."""
    refusals: list[int] = []

    async def run(first: int) -> bool:
        disk = Disk()
        journal = _journal(folder, disk, ballast=4096)
        async with Memory() as model, journal:
            for each in (model, journal):
                await each.begin_run(run_info())
            disk.trouble = trouble = Trouble(
                "write", apsw.FullError, first, 10**9, folder / "run.db.ballast"
            )
            pair = Pair(journal, model)
            await pair.work()
            assert set(pair.refused) <= {"intent"}
            assert await look(journal) == await look(model)
            if trouble.struck:
                refusals.append(len(pair.refused))
                await _room_comes_back(pair, disk)
            assert await _after_crash(journal, disk) == await _model(pair)
        return trouble.struck

    async def check() -> None:
        first = 1
        while await run(first):
            first += 1
        print(f"full at each of {first} writes")
        assert first > 60
        assert refusals[0] > refusals[-1]

    anyio.run(check)


async def _room_comes_back(pair: Pair, disk: Disk) -> None:
    with pytest.raises(StorageFailed, match=r"full.*answers on their way.*free some space"):
        await pair.journal.claim(1, "new")
    disk.trouble = lambda kind, name: None
    pair.journal.clock.advance(1.0)
    assert await pair.both("intent", lambda journal: journal.claim(1, "new"))


@pytest.mark.parametrize(
    ("kind", "error"),
    [("sync", apsw.IOError), ("write", apsw.IOError), ("write", apsw.FullError)],
)
@pytest.mark.thorough
def test_one_failure_is_decided_by_reading(
    folder: Path, kind: str, error: type[apsw.Error]
) -> None:
    """Whichever write or sync fails once, what was said to be kept is kept, the rest is not."""

    async def run(first: int) -> bool:
        disk = Disk()
        journal = _journal(folder, disk)
        async with Memory() as model, journal:
            for each in (model, journal):
                await each.begin_run(run_info())
            disk.trouble = trouble = Trouble(kind, error, first)
            pair = Pair(journal, model)
            await pair.work()
            disk.trouble = lambda kind, name: None
            if error is apsw.FullError:  # with no ballast, intents wait for a second to pass
                assert set(pair.refused) <= {"intent"}
            else:
                assert len(pair.refused) <= 3
            assert await look(journal) == await look(model)
            assert await journal.check() == []
        return trouble.struck

    async def check() -> None:
        first = 1
        while await run(first):
            first += 1
        print(f"failed at each of {first}")
        assert first > 10

    anyio.run(check)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        *(("sync", apsw.IOError), ("write", apsw.IOError)),
        *(("write", apsw.FullError), ("write", apsw.ReadOnlyError)),
    ],
)
@pytest.mark.thorough
def test_a_second_failure_stops(folder: Path, kind: str, error: type[apsw.Error]) -> None:
    """On a disk that goes on failing nothing more is written, and what was kept is kept."""

    async def run(first: int) -> bool:
        disk = Disk()
        journal = _journal(folder, disk)
        async with Memory() as model, journal:
            for each in (model, journal):
                await each.begin_run(run_info())
            disk.trouble = trouble = Trouble(kind, error, first, times=10**9)
            pair = Pair(journal, model)
            await pair.work()
            if trouble.struck and pair.refused:
                with pytest.raises(StorageFailed, match="nothing more is written"):
                    await journal.begin_run(run_info())
            found = await _after_crash(journal, disk)
            expected = await _model(pair)
            # The one that was under way may be there, which nobody was told.
            if found != expected:
                assert pair.refused
                assert {name for name in found if found[name] != expected[name]} <= {
                    *("counts", "past", "finished", "budgets", "costs", "runs", "open", "answers")
                }
        return trouble.struck

    async def check() -> None:
        first = 1
        while await run(first):
            first += 4 if error is apsw.ReadOnlyError else 1
        print(f"failed at each of {first}")
        assert first > 10

    anyio.run(check)


@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.thorough
def test_a_failure_while_opening_is_told(folder: Path, kind: str) -> None:
    """Whatever fails while the file is made or opened, it is told, and a later try opens it."""

    async def check() -> None:
        disk, failures = Disk(), 0
        for first in range(1, 200, 1 if kind == "sync" else 4):
            disk.trouble = trouble = Trouble(kind, apsw.IOError, first, times=10**9)
            try:
                async with _journal(folder, disk) as journal:
                    disk.trouble = lambda kind, name: None
                    assert not trouble.struck
                    await journal.begin_run(run_info())
                    break
            except StorageFailed as error:
                failures += 1
                assert "the disk is failing" in str(error)
                assert not (folder / "run.db.lock").exists()
        assert failures > 1
        assert trouble.met > 1

    anyio.run(check)


@pytest.mark.thorough
def test_without_room_for_the_ballast_it_is_not_opened(folder: Path) -> None:
    """A journal that cannot keep room for answers is refused at the start, with the mend."""

    async def check() -> None:
        with pytest.raises(StorageFailed, match="give a smaller ballast"):
            async with Sqlite(folder / "run.db", ballast=1 << 62):
                pass
        assert not (folder / "run.db.ballast").exists()

    anyio.run(check)


_ON_A_SMALL_DISK = textwrap.dedent(
    """
    import sys, anyio
    from pathlib import Path
    from genai_pipeline.errors import StorageFailed
    from genai_pipeline.journals import Sqlite
    from tests.journals.script import answered, intent, run_info, item, ended

    async def main(folder):
        async with Sqlite(folder / "run.db", ballast=2 << 20, checkpoint_bytes=1 << 20) as journal:
            await journal.begin_run(run_info())
            await journal.claim(1, "a")
            calls = [await journal.begin_call(intent("a", hold=1)) for _ in range(400)]
            for number, call in enumerate(calls):
                await journal.end_call(call, answered(32768))
                if number % 20 == 0:
                    try:
                        await journal.claim(1, f"new {number}")
                    except StorageFailed as error:
                        assert "is full" in str(error), error
                        break
            else:
                raise AssertionError("the disk did not fill")
            for call in calls[number + 1 : number + 21]:
                await journal.end_call(call, answered(32768))
            await journal.end_item(item("a"), ended("ready"))
        (folder / "filler").unlink()
        async with Sqlite(folder / "run.db", ballast=2 << 20, checkpoint_bytes=1 << 20) as journal:
            assert await journal.check() == []
            claim = await journal.claim(await journal.begin_run(run_info()), "a")
            for call in calls[: number + 21]:
                assert len((await journal.answer(call)).body) == 32768
            print("kept", number + 21)

    anyio.run(main, Path(sys.argv[1]))
    """
)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk takes root"
)
@pytest.mark.thorough
def test_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a small file system that fills, answers land and new records are refused."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr}")
    try:
        (folder / "filler").write_bytes(bytes(2 << 20))
        done = subprocess.run(
            [sys.executable, "-c", _ON_A_SMALL_DISK, str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.startswith("kept"), done.stderr
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.thorough
def test_a_read_only_folder_is_told(folder: Path) -> None:
    """A file that may not be written is StorageFailed, with the path and what to do."""

    async def check() -> None:
        disk = Disk()
        async with _journal(folder, disk):
            pass
        disk.trouble = Trouble("write", apsw.ReadOnlyError, 1, 10**9)
        with pytest.raises(StorageFailed, match=r"run\.db.*this user may write"):
            async with _journal(folder, disk):
                pass
        with pytest.raises(StorageFailed, match=r"give a path in a folder that exists"):
            async with Sqlite(folder / "none" / "run.db"):
                pass

    anyio.run(check)
