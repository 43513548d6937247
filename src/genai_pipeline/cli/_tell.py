"""Tells how a run came out: to people, to a file and by the exit code."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

from genai_pipeline._lifespan import every_part
from genai_pipeline._wrap import name_of
from genai_pipeline.cli import _dry_run, _report_file
from genai_pipeline.cli._exits import Exit
from genai_pipeline.cli._explain import exit_of, explain, failures
from genai_pipeline.cli._session import Outcome
from genai_pipeline.cli._versions import version
from genai_pipeline.clock import SystemClock
from genai_pipeline.errors import StorageFailed
from genai_pipeline.report import Report
from genai_pipeline.telemetry import summary
from genai_pipeline.telemetry._progress import chosen_mode
from genai_pipeline.telemetry._summary import Line

__all__ = ["tell"]

_WORDS = {
    Exit.DONE: "done",
    Exit.DEAD: "done, with dead letters",
    Exit.STOPPED: "stopped",
    Exit.INTERRUPTED: "interrupted",
}


def tell(outcome: Outcome, options: argparse.Namespace, *, name: str, began: float) -> int:
    """Print the summary and what went wrong, write the report; answer the exit code."""
    code = _code(outcome, fail_on_dead=options.fail_on_dead)
    report = outcome.report
    if report is not None and not options.quiet and (report.read or outcome.error is None):
        _print(_summary(outcome, report, options, name), options)
    if outcome.error is not None:
        explain(outcome.error, sys.stderr, verbose=options.verbose > 0)
    if options.report is None or code == Exit.USAGE:
        return code
    try:
        _report_file.write(options.report, _account(outcome, options, code, began))
    except StorageFailed as failure:
        explain(failure, sys.stderr, verbose=options.verbose > 0)
        return code or Exit.STORAGE
    return code


def _code(outcome: Outcome, *, fail_on_dead: bool) -> Exit:
    report = outcome.report
    if outcome.error is not None:
        return exit_of(outcome.error)
    if outcome.at_once or report is None:
        return Exit.INTERRUPTED
    if report.stopped is not None and (report.handed_back or not report.exhausted):
        return Exit.STOPPED
    return Exit.DEAD if fail_on_dead and report.failed else Exit.DONE


def _summary(
    outcome: Outcome, report: Report, options: argparse.Namespace, name: str
) -> Iterable[Line]:
    assert outcome.pipeline is not None
    letters = outcome.pipeline.dead_letters
    if options.dry_run:
        return _dry_run.lines(report, letters, title=name)
    return summary(
        report,
        title=name,
        written_to="standard output" if options.output == "-" else _place(outcome.pipeline.sink),
        dead_letters_to="" if letters is None else _place(letters),
    )


def _place(edge: object) -> str:
    """Answer where a sink writes to, as far as it tells."""
    for part in every_part(edge):
        path = getattr(part, "path", None)
        if isinstance(path, str | os.PathLike):
            return os.fspath(path)
    return name_of(cast("Any", edge))


def _print(lines: Iterable[Line], options: argparse.Namespace) -> None:
    if options.progress == "auto" and chosen_mode("auto", sys.stderr) == "live":
        from genai_pipeline.telemetry._live import print_lines  # noqa: PLC0415 - an extra

        print_lines(lines, sys.stderr)
    else:
        for line in lines:
            print(line, file=sys.stderr)


def _account(
    outcome: Outcome, options: argparse.Namespace, code: Exit, began: float
) -> dict[str, Any]:
    report = outcome.report
    if report is not None and options.dry_run:
        report = _dry_run.account(report)
    return {
        "target": options.target,
        "outcome": _WORDS.get(code, "failed"),
        "exit_code": int(code),
        "dry_run": options.dry_run,
        "began_at": _iso(began),
        "ended_at": _iso(SystemClock().wall()),
        "versions": {"genai_pipeline": version(), "python": platform.python_version()},
        "backend": options.backend,
        "failures": [] if outcome.error is None else failures(outcome.error),
        **({} if report is None else report.to_dict()),
    }


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat()
