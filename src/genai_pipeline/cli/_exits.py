"""The exit codes of the command."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """What the process tells whoever started it; from 64 on as in ``sysexits.h``."""

    DONE = 0
    """Everything was done; dead letters do not count against it."""

    FAILED = 1
    """The run failed, or ``doctor`` found something missing."""

    USAGE = 2
    """The command line is wrong, or names a pipeline that cannot be found."""

    DEAD = 65
    """With ``--fail-on-dead``: the run came to its end and some records are dead letters."""

    STORAGE = 74
    """A disk is full, read-only or failing, or the reader of standard output went away."""

    STOPPED = 75
    """Stopped by a signal with work left; run again to go on."""

    CONFIGURATION = 78
    """An option of the pipeline, an extra or the environment is wrong or missing."""

    INTERRUPTED = 130
    """A second Ctrl-C (or one before the run began) ended the process at once."""
