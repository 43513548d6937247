"""The account of a run as a JSON file that is whole or not there."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from genai_pipeline.errors import ConfigurationError, StorageFailed

__all__ = ["check_place", "write"]


def check_place(path: Path) -> None:
    """Raise `ConfigurationError` if no file can be put at *path*: before anything is paid."""
    folder = path.absolute().parent
    if path.is_dir():
        raise ConfigurationError(f"--report {path} is a folder; give the name of a file")
    if not folder.is_dir():
        raise ConfigurationError(f"--report {path}: the folder {folder} does not exist; make it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--report {path}: the folder {folder} cannot be written to")


def write(path: Path, account: dict[str, Any]) -> None:
    """
    Put *account* into the file *path*, replacing what was there only when all is written.

    Raises `StorageFailed` when the disk does not take it; what was there stays.
    """
    text = json.dumps(account, indent=2, ensure_ascii=False, default=str) + "\n"
    try:
        _publish(path.absolute(), text.encode())
    except OSError as error:
        raise StorageFailed(
            f"the report {path} cannot be written: {error.strerror or error}"
        ) from error


def _publish(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), _mode(path))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _mode(path: Path) -> int:
    """Answer the permissions that a file at *path* has, or would get."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask
