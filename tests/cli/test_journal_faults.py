"""A run whose journal is in use, damaged, or on a disk that is full or read-only: told, and how."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from genai_pipeline.journals import Sqlite
from tests.cli.command import command
from tests.cli.journal_jobs import bill, killed, write_jobs

RUN = ("run", "paid.py:pipeline", "-q")


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """Give a folder whose pipeline was killed."""
    killed(tmp_path)
    return tmp_path


@pytest.mark.anyio
async def test_in_use(tmp_path: Path) -> None:
    """A journal that another process has is exit code 78, and the process is named."""
    write_jobs(tmp_path)
    async with Sqlite(tmp_path / "run.db", ballast=0):
        done = await anyio.to_thread.run_sync(lambda: command(*RUN, cwd=tmp_path))
    assert done.returncode == 78
    assert f"in use by process {os.getpid()} on" in done.stderr
    assert command(*RUN, cwd=tmp_path).returncode in {0, 1}


def test_a_log_that_was_cut(tmp_path: Path) -> None:
    """A journal that lacks commits which were durable is exit code 74, and buys nothing again."""
    killed(tmp_path)
    log = tmp_path / "run.db-wal"
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 10])
    before = bill(tmp_path)
    done = command(*RUN, cwd=tmp_path)
    assert done.returncode == 74
    assert "lacks the last" in done.stderr
    assert "Put the files back" in done.stderr
    assert bill(tmp_path) == before


def test_a_damaged_page(crashed: Path) -> None:
    """A journal with pages overwritten is exit code 74, names the mend, and buys nothing again."""
    assert command("journal", "check", "run.db", cwd=crashed).returncode == 0
    assert command(*RUN, cwd=crashed).returncode in {0, 1}
    path = crashed / "run.db"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    before = bill(crashed)
    done = command(*RUN, cwd=crashed)
    assert done.returncode == 74
    assert "journal salvage" in done.stderr
    assert bill(crashed) == before


def test_no_room(tmp_path: Path) -> None:
    """A disk that fills while a run is under way is exit code 74; with room, the rest is done."""
    write_jobs(tmp_path)

    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    done = subprocess.run(
        [sys.executable, "-m", "genai_pipeline", *RUN],
        cwd=tmp_path,
        preexec_fn=small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 74, done.stderr
    assert "run.db" in done.stderr
    paid = bill(tmp_path) if (tmp_path / "bill").exists() else []
    assert command(*RUN, cwd=tmp_path).returncode in {0, 1}
    assert len(bill(tmp_path)) <= 24 + 4
    assert bill(tmp_path)[: len(paid)] == paid


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with a pipeline in it that nobody may write to, not even the superuser."""
    folder = tmp_path / "fixed"
    folder.mkdir()
    write_jobs(folder)
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    for options in (["--bind", str(folder)], ["-o", "remount,bind,ro"]):
        done = subprocess.run(
            ["mount", *options, str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted: {done.stderr}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_read_only(read_only: Path) -> None:
    """A folder that may not be written is exit code 74 before anything is sent, with the path."""
    done = command(*RUN, cwd=read_only)
    assert done.returncode == 74
    assert "run.db" in done.stderr
    assert "give a path in a folder" in done.stderr
    assert not (read_only / "bill").exists()
