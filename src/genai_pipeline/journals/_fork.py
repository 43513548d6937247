"""What becomes of an open journal in a process that was forked: nothing that could harm it."""

from __future__ import annotations

import ctypes
import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["keep_forever", "watch"]


class _Forked(Protocol):
    def poison(self) -> None: ...


_open: WeakSet[_Forked] = WeakSet()


def watch(journal: _Forked) -> None:
    """Have *journal* poisoned in every process that is forked while it lives."""
    _open.add(journal)


def _poison() -> None:
    for journal in list(_open):
        journal.poison()


def keep_forever(thing: object) -> None:
    """Never let *thing* be destroyed, not even when the interpreter ends."""
    # A connection that is destroyed closes its file: in a child that would drop the parent's log.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


os.register_at_fork(after_in_child=_poison)
