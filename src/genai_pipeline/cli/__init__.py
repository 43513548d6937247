"""
The command ``genai-pipeline``: runs pipelines, and looks after their journals and the machine.

Everything is imported when it is needed, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from genai_pipeline.cli._exits import Exit

__all__ = ["main"]

_COMMANDS = {
    "cost": "_cost:cost",
    "dead": "_dead:dead",
    "held": "_held:held",
    "journal": "_upkeep:journal",
    "models": "_models:models",
    "plan": "_plan:plan",
    "purge": "_upkeep:purge",
    "resume": "_run:run",
    "erase": "_erase:erase",
    "run": "_run:run",
    "runs": "_runs:runs",
    "status": "_status:status",
}
"""Where the function of each command is, which takes what the command line says."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* (by default those of the process) say; answer the exit code."""
    from genai_pipeline.cli._parser import parse  # noqa: PLC0415 - quick start

    command = parse(arguments)
    try:
        match command.command:
            case "doctor":
                from genai_pipeline.cli._doctor import doctor  # noqa: PLC0415 - quick start

                return doctor(as_json=command.json)
            case "version":
                from genai_pipeline.cli._versions import version  # noqa: PLC0415 - quick start

                print(f"genai_pipeline {version()}")
                return Exit.DONE
            case name:
                module, function = _COMMANDS[name].split(":")
                home = importlib.import_module(f"genai_pipeline.cli.{module}")
                code: int = getattr(home, function)(command)
                return code
    except KeyboardInterrupt:
        print("genai-pipeline: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output went away; at exit Python would try to write what it still has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.STORAGE
