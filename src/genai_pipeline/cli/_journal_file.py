"""Opens the journal that a command names, and says what went wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from genai_pipeline.cli._explain import exit_of, explain
from genai_pipeline.cli._target import UsageError
from genai_pipeline.journals import Sqlite, SqliteReader

__all__ = ["existing", "perform", "reader", "writer"]


def perform(
    command: Callable[[argparse.Namespace], Awaitable[int]], options: argparse.Namespace
) -> int:
    """Do *command*; answer its exit code, or that of what it raised, which is explained."""
    try:
        return anyio.run(command, options)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - explained, and told by the exit code
        explain(error, sys.stderr, verbose=False)
        return exit_of(error)


def reader(path: str) -> SqliteReader:
    """Answer the journal at *path* to be entered and read; raises `UsageError` without one."""
    return SqliteReader(existing(path))


async def writer(path: str) -> Sqlite:
    """
    Answer the journal at *path* to be entered and changed.

    Raises as `reader` does, and what entering it would raise for a file that is no journal: so
    that no file is made into one.
    """
    found = existing(path)
    async with SqliteReader(found):
        pass
    return Sqlite(found, ballast=0)


def existing(path: str) -> Path:
    """Answer *path*; raises `UsageError` when there is no file, or nothing in it."""
    found = Path(path)
    if found.is_dir():
        raise UsageError(f"the journal {path} is a folder; name the file in it")
    if not found.is_file():
        raise UsageError(
            f"there is no journal {path} (looked from {Path.cwd()}); it is the file that the "
            "pipeline has in journal=gp.Sqlite(...)"
        )
    if found.stat().st_size == 0:
        raise UsageError(f"the file {path} is empty; there is no journal in it")
    return found
