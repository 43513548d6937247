"""How a journal in use is doing, readable beside its file without touching it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import attrs

from genai_pipeline.journals._owner import boot_id
from genai_pipeline.journals._recovery import Owner

__all__ = ["JournalStatus", "Waits", "read_status", "status_path", "write_status"]


@attrs.frozen
class Waits:
    """What a run waits for, to be told in the status."""

    run: int
    what: str | None
    """`None` for nothing any more."""


@attrs.frozen(kw_only=True)
class JournalStatus:
    """What the owner of a journal last said about it, at most about a second ago."""

    journal: str
    """The journal's own name, which stays when its file is moved."""

    owner: Owner
    state: Literal["open", "closed", "stopped"]
    """``stopped`` after its storage failed; see also `is_running`."""

    at: float
    """Wall time at which it was said."""

    commits: int
    """How many are durable, since the journal was made."""

    full: bool = False
    """Whether the disk is full, so that no new calls are made."""

    waits: Mapping[str, str] = attrs.field(factory=dict)
    """What runs wait for, as space for a sink, by their numbers."""

    counts: Mapping[str, int] = attrs.field(factory=dict)
    """
    Since the owner came: ``records.claimed``, ``records.done`` …, ``calls.inflight`` (begun),
    ``calls.answered``, ``calls.unknown`` …
    """

    charged: int = 0
    """Nano-dollars, since the owner came."""

    budgets: Mapping[str, tuple[int, int, int]] = attrs.field(factory=dict)
    """Spent, reserved and cap of those that were settled since, in nano-dollars."""

    @property
    def is_running(self) -> bool | None:
        """Whether its owner lives; `None` when it is on another machine."""
        if self.state != "open":
            return False
        if self.owner.host != socket.gethostname():
            return None
        if self.owner.boot != boot_id():
            return False
        try:
            os.kill(self.owner.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


def status_path(path: Path) -> Path:
    """Answer where the status of the journal *path* is."""
    return path.with_name(path.name + ".status")


def write_status(path: Path, status: JournalStatus) -> None:
    """Put *status* beside the journal *path*, whole or not at all; a full disk is no failure."""
    target = status_path(path)
    draft = target.with_name(target.name + ".new")
    text = json.dumps(attrs.asdict(status)).encode()
    with suppress(OSError):
        descriptor = os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            taken = os.write(descriptor, text)
        finally:
            os.close(descriptor)
        if taken == len(text):  # a disk that runs full takes the beginning, and says no more
            draft.replace(target)


def read_status(path: str | os.PathLike[str]) -> JournalStatus | None:
    """
    Answer the status of the journal file *path*; `None` when nobody has told one.

    Neither the journal nor its owner is disturbed.
    """
    try:
        said: dict[str, Any] = json.loads(status_path(Path(path)).read_bytes())
        said["owner"] = Owner(**said["owner"])
        said["budgets"] = {name: tuple(use) for name, use in said["budgets"].items()}
        return JournalStatus(**said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
