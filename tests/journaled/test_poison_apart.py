"""A record that killed its process twice is carried by a process of its own, which alone dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Sqlite

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals end processes on POSIX")


def run(folder: Path, way: str, backend: str, script: str | None = None) -> Any:
    """Run the worker; answer its report, or the code it ended with."""
    what = ["-m", "tests.journaled.poison_worker", backend] if script is None else [script]
    done = subprocess.run(
        [sys.executable, *what],
        env={
            **os.environ,
            "POISON_FOLDER": str(folder),
            "POISON_WAY": way,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        timeout=55,
        check=False,
    )
    if done.returncode:
        return done.returncode, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def lines(folder: Path, name: str) -> list[tuple[str, str]]:
    """Answer the lines of a file, and which process wrote each."""
    found = (folder / name).read_text().splitlines()
    return [tuple(line.split(" ", 1)) for line in found]  # type: ignore[misc]


def look(folder: Path) -> Any:
    """Answer the counts, the dead records and the budgets of the journal."""

    async def ask() -> Any:
        async with Sqlite(folder / "run.db", ballast=0) as journal:
            return (
                await journal.counts("pipeline"),
                await journal.records(Selector()),
                await journal.budgets(),
                await journal.check(),
            )

    return anyio.run(ask)


WAYS = {
    "killed": (-signal.SIGKILL, "ended by SIGKILL"),
    "abort": (-signal.SIGABRT, "ended by SIGABRT"),
    "segfault": (-signal.SIGSEGV, "ended by SIGSEGV"),
    "exit": (7, "ended with exit code 7"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.thorough
def test_poison_is_dead_in_the_run_that_finds_it(
    tmp_path: Path, way: str, anyio_backend_name: str
) -> None:
    """The third run ends with all others done, and the killer dead of what killed its process."""
    code, told = WAYS[way]
    for _ in range(2):
        assert run(tmp_path, way, anyio_backend_name)[0] == code
    report = run(tmp_path, way, anyio_backend_name)
    assert (report["dead"], report["told"]) == (1, [])
    counts, (dead,), (budget,), problems = look(tmp_path)
    assert counts == {"done": 49, "dead": 1}
    assert (dead.key, dead.error, dead.stage) == ("25", "WorkerDied", "polish")
    assert dead.message.startswith("poison: ")
    assert told in dead.message
    assert problems == []
    assert budget.reserved == 0
    written = Counter(what.split()[0] for _, what in lines(tmp_path, "written"))
    assert set(written) == {str(number) for number in range(50)} - {"25"}
    # What its first call answered was kept by the first run, and never paid for again.
    assert Counter(what for _, what in lines(tmp_path, "bill"))["first 25"] == 1


def test_a_record_that_finds_no_memory_is_dead_of_that(
    tmp_path: Path, anyio_backend_name: str
) -> None:
    """A record that asks for more memory than the process may have fails alone, in its run."""
    report = run(tmp_path, "memory", anyio_backend_name)
    assert (report["written"], report["dead"], report["told"]) == (49, 1, [])
    counts, (dead,), (budget,), problems = look(tmp_path)
    assert (dead.key, dead.error, dead.stage) == ("25", "MemoryError", "polish")
    assert (counts, problems, budget.reserved) == ({"done": 49, "dead": 1}, [], 0)


def test_an_innocent_suspect_ends_well(tmp_path: Path, anyio_backend_name: str) -> None:
    """Whoever was only there when processes were killed is done, by calls that the run keeps."""
    for _ in range(2):
        assert run(tmp_path, "innocent", anyio_backend_name)[0] == -signal.SIGKILL
    report = run(tmp_path, "innocent", anyio_backend_name)
    assert (report["dead"], report["told"]) == (0, [])
    counts, dead, (budget,), problems = look(tmp_path)
    assert (counts, dead, problems, budget.reserved) == ({"done": 50}, [], [], 0)
    bill = Counter(what for _, what in lines(tmp_path, "bill"))
    assert (bill["first 25"], bill["second 25"]) == (1, 1)
    (writer,) = {who for who, what in lines(tmp_path, "written") if what.startswith("25 ")}
    (caller,) = {who for who, what in lines(tmp_path, "bill") if what == "second 25"}
    assert writer != caller, "it was walked in the run's own process"
    assert ("FIRST 25 SECOND 25") in {what[3:] for _, what in lines(tmp_path, "written")}
    again = run(tmp_path, "innocent", anyio_backend_name)
    assert (again["skipped"], again["calls"]) == (50, 0)


def test_a_suspect_that_fails_is_dead_of_its_own_error(tmp_path: Path) -> None:
    """An error raised in the process for suspects is the record's, with its stage."""
    for _ in range(2):
        run(tmp_path, "refused", "asyncio")
    assert run(tmp_path, "refused", "asyncio")["dead"] == 1
    _, (dead,), _, _ = look(tmp_path)
    assert (dead.error, dead.stage, dead.message) == ("InvalidRequest", "polish", "no")


def test_stages_that_cannot_be_pickled_run_as_before(tmp_path: Path) -> None:
    """A closure cannot go to another process: the run says so, and dies of the record once more."""
    for _ in range(3):
        assert run(tmp_path, "closure", "asyncio")[0] == -signal.SIGKILL
    report = run(tmp_path, "closure", "asyncio")
    assert report["told"] != []
    assert all("the stages cannot be pickled" in told for told in report["told"])
    counts, (dead,), _, _ = look(tmp_path)
    assert (counts, dead.error) == ({"done": 49, "dead": 1}, "WorkerDied")


def test_an_answer_that_cannot_be_pickled_is_made_again_here(tmp_path: Path) -> None:
    """What was harmless, and whose output cannot leave its process, is walked in the run's."""
    for _ in range(2):
        run(tmp_path, "object", "asyncio")
    report = run(tmp_path, "object", "asyncio")
    assert all("what its stages answer cannot be pickled" in told for told in report["told"])
    assert report["told"] != []
    assert look(tmp_path)[0] == {"done": 50}
    assert Counter(what for _, what in lines(tmp_path, "bill"))["second 25"] == 1


def test_the_process_for_suspects_ends_with_the_run(tmp_path: Path) -> None:
    """When the run is killed, the process that carries a suspect ends too, and it is no proof."""
    for _ in range(2):
        run(tmp_path, "orphan", "asyncio")
    # Its output is at its end only when both processes are.
    assert run(tmp_path, "orphan", "asyncio")[0] == -signal.SIGKILL
    assert run(tmp_path, "orphan", "asyncio")["dead"] == 0
    assert look(tmp_path)[0] == {"done": 50}


def test_a_main_module_that_is_not_guarded_is_told_so(tmp_path: Path) -> None:
    """A script that runs its pipeline when it is imported is not run a second time."""
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import anyio\nfrom tests.journaled import poison_worker as worker\n"
        "anyio.run(worker.main)\n"
    )
    for _ in range(2):
        run(tmp_path, "innocent", "asyncio")
    report = run(tmp_path, "innocent", "asyncio", str(script))
    assert report["told"] != []
    assert all('if __name__ == "__main__":' in told for told in report["told"])
    assert look(tmp_path)[0] == {"done": 50}
