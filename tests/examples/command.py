"""Run the examples as a user runs them: by the command, in a directory of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import genai_pipeline

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SOURCE = Path(genai_pipeline.__file__).parent.parent


def run_python(directory: Path, *arguments: str, **environment: str) -> str:
    """Run Python on *arguments* in *directory*, with success; answer what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_example(directory: Path, name: str, **environment: str) -> dict[str, Any]:
    """Run one example in *directory* by ``genai-pipeline run``; answer its report."""
    script = str(EXAMPLES / name)
    report = directory / "report.json"
    command = ("-m", "genai_pipeline", "run", script, "--report", str(report))
    run_python(directory, *command, **environment)
    account: dict[str, Any] = json.loads(report.read_text("utf-8"))
    report.unlink()
    return account


def rows(path: Path) -> list[dict[str, Any]]:
    """Answer the lines of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
