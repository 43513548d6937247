"""
The command ``genai-pipeline``: runs pipelines, and looks after the machine they run on.

Everything is imported when it is needed, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from genai_pipeline.cli._exits import Exit

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* (by default those of the process) say; answer the exit code."""
    from genai_pipeline.cli._parser import parse  # noqa: PLC0415 - quick start

    command = parse(arguments)
    try:
        match command.command:
            case "run":
                from genai_pipeline.cli._run import run  # noqa: PLC0415 - quick start

                return run(command)
            case "doctor":
                from genai_pipeline.cli._doctor import doctor  # noqa: PLC0415 - quick start

                return doctor(as_json=command.json)
            case _:
                from genai_pipeline.cli._versions import version  # noqa: PLC0415 - quick start

                print(f"genai_pipeline {version()}")
                return Exit.DONE
    except KeyboardInterrupt:
        print("genai-pipeline: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; at exit Python would try to write what it still has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.STORAGE
