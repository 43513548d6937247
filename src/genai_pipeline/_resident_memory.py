"""How much memory this process has resident, as the operating system tells."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["STATM", "resident_memory"]

STATM = Path("/proc/self/statm")
"""Where Linux tells it, in pages."""


def resident_memory() -> int:
    """
    Answer the bytes that this process has resident.

    Raises `OSError` where the system has no ``/proc/self/statm``.
    """
    return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
