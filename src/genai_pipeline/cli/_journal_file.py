"""Opens the journal that a command names, and says what went wrong with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from genai_pipeline.cli._explain import exit_of, explain
from genai_pipeline.cli._target import UsageError, find
from genai_pipeline.journals import Codec, Encryption, LocalKeys, Sqlite, SqliteReader

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


def reader(options: argparse.Namespace) -> SqliteReader:
    """Answer the journal of *options* to be entered and read; raises `UsageError` without one."""
    return SqliteReader(existing(options.journal), codec=_codec(options))


async def writer(options: argparse.Namespace) -> Sqlite:
    """
    Answer the journal of *options* to be entered and changed.

    Raises as `reader` does, and what entering it would raise for a file that is no journal: so
    that no file is made into one.
    """
    found, codec = existing(options.journal), _codec(options)
    async with SqliteReader(found, codec=codec):
        pass
    return Sqlite(found, ballast=0, codec=codec)


def _codec(options: argparse.Namespace) -> Encryption | Codec | None:
    """Answer by what the journal is kept, if that is said."""
    if options.key_file is not None:
        return Encryption(LocalKeys.from_file(options.key_file))
    if options.key_env is not None:
        return Encryption(LocalKeys.from_environment(options.key_env))
    if options.codec_of is None:
        return None
    journal = getattr(find(options.codec_of).found, "journal", None)
    if not isinstance(journal, Sqlite):
        raise UsageError(f"--codec-of {options.codec_of}: it is no gp.Pipeline with a gp.Sqlite")
    return journal.codec


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
