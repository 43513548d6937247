"""The command line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from genai_pipeline.cli._journal_parser import add_journal_commands

__all__ = ["parse"]

_EXAMPLES = """\
examples:
  genai-pipeline run tickets.py
  genai-pipeline run tickets.py:nightly -p model=small -p limit=500
  genai-pipeline run tickets.py --input tickets.csv --output - | head
  genai-pipeline run tickets.py --sample 20 --dead-letters dead.jsonl
  genai-pipeline run tickets.py --dry-run
  genai-pipeline resume tickets.py
  genai-pipeline status run.db
  genai-pipeline cost run.db --by tenant,model
  genai-pipeline models 'claude-*'
  genai-pipeline doctor
"""

_RUN = """\
Run a pipeline until its source ends.

TARGET is a Python file or a module, and the name in it after a colon: a gp.Pipeline, or a
function that answers one. Without a name it is `pipeline`, or else the only gp.Pipeline there.

Ctrl-C or SIGTERM once: reads no more, finishes what is in flight within the grace, exits with
75. Twice: ends at once. What was not finished is handed back to its source, never lost.

Standard output is for data alone; progress, summary and messages go to standard error.
"""

_RUN_EXAMPLES = """\
examples:
  genai-pipeline run tickets.py                       the object named pipeline
  genai-pipeline run shop.jobs:nightly -p day=friday  a function, with a parameter
  genai-pipeline run tickets.py --sample 20           only the first 20 records
  genai-pipeline run tickets.py --dry-run             read and check; call and write nothing
  genai-pipeline run tickets.py --input 'in/*.jsonl' --output out.csv
  genai-pipeline run tickets.py --output - --progress none | jq .topic
  genai-pipeline run tickets.py --report report.json --fail-on-dead

exit codes:
    0  done                              74  a disk is full, read-only or failing
    1  the run failed                    75  stopped by a signal with work left
    2  wrong usage, or no such pipeline  78  wrong configuration
   65  dead letters (--fail-on-dead)    130  interrupted at once
"""

_RESUME = """\
Run a pipeline that has a journal once more: it goes on where it was.

Tells first what the journal knows: which records are passed by, and which go on. Takes what
`run` takes, and exits as `run` does.
"""

_PLAN = """\
Tell what a run would reuse and make anew, and what that would cost; for a pipeline with a journal.

Reads the source to its end and hands everything back to it; claims, calls and writes nothing.
"""

_MODELS = """\
Tell what is known of models: how much they read and write, what they take, what they cost.

The figures are those of gp.ModelCatalogue.reference() and gp.PriceBook.reference(), each as of its
day; nothing is fetched. A dash is unknown. Prices are US dollars per million tokens.
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Answer what *arguments* say; exit with code 2 and the reason when they say nothing."""
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="genai-pipeline",
        description="Runs production pipelines over language models.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands, "run", "run a pipeline", _RUN)
    _add_run(commands, "resume", "run a pipeline with a journal again", _RESUME)
    _add_plan(commands)
    add_journal_commands(commands, _at_least_one)
    _add_models(commands)
    doctor = commands.add_parser(
        "doctor",
        help="look at versions, extras, limits of this machine and plug-ins",
        description="Looks at what a run needs here; exits with 1 when something is missing.",
        allow_abbrev=False,
    )
    doctor.add_argument("--json", action="store_true", help="answer a JSON object")
    commands.add_parser("version", help="print the version", allow_abbrev=False)
    return parser


class _Version(argparse.Action):
    """Prints the version; it is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from genai_pipeline.cli._versions import version  # noqa: PLC0415 - quick start

        print(f"genai_pipeline {version()}")
        parser.exit(0)


def _add_run(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_: str,
    description: str,
) -> None:
    run = commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=_RUN_EXAMPLES if name == "run" else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_target(run)
    _add_edges(run.add_argument_group("what to read and write"))
    _add_limits(run.add_argument_group("how to run"))
    _add_telling(run.add_argument_group("what to tell"))


def _add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    plan = commands.add_parser(
        "plan",
        help="what a run would reuse, make and cost",
        description=_PLAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_target(plan)
    plan.add_argument(
        "--walk",
        metavar="N",
        type=_at_least_one,
        default=0,
        help="run the stages on N unfinished records, each up to its first new call, which is "
        "priced and not made: only if your stages do no harm by running",
    )
    plan.add_argument(
        "--backend",
        choices=("asyncio", "trio"),
        default="asyncio",
        help="the event loop (default: asyncio)",
    )
    plan.add_argument("--json", action="store_true", help="answer JSON")


def _add_models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    models = commands.add_parser(
        "models",
        help="what is known of models: limits, modalities, prices",
        description=_MODELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    models.add_argument(
        "pattern",
        metavar="PATTERN",
        nargs="?",
        help="only models whose name has this in it, or matches it: 'gpt-*'; also a name as "
        "Bedrock or Vertex AI has it",
    )
    models.add_argument("--provider", metavar="NAME", help="only of this maker: openai, google")
    models.add_argument(
        "--catalogue", metavar="FILE", help="a .json or .toml file that adds and corrects models"
    )
    models.add_argument("--json", action="store_true", help="answer JSON")


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="TARGET", help="file.py, module, file.py:name, module:name"
    )
    parser.add_argument(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the function that TARGET names; may be repeated",
    )


def _add_edges(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        metavar="PATH",
        help="read this instead: .jsonl, .csv, .txt (also .gz, .zst), a folder or a glob",
    )
    group.add_argument(
        "--output",
        metavar="PATH",
        help="write this instead: .jsonl, .csv, or - for JSON Lines on standard output",
    )
    group.add_argument(
        "--dead-letters", metavar="PATH", help="write records that fail to this .jsonl file"
    )
    group.add_argument(
        "--sample", metavar="N", type=_at_least_one, help="read only the first N records"
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="read, check and count the input; call no stage, provider or sink",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-in-flight", metavar="N", type=_at_least_one, help="records worked on at once"
    )
    group.add_argument(
        "--grace",
        metavar="SECONDS",
        type=_seconds,
        help="how long records in flight may take to finish after the first signal",
    )
    group.add_argument(
        "--backend",
        choices=("asyncio", "trio"),
        default="asyncio",
        help="the event loop (default: asyncio)",
    )
    group.add_argument(
        "--fail-on-dead",
        action="store_true",
        help="exit with 65 when there are dead letters",
    )


def _add_telling(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--report",
        metavar="PATH",
        type=Path,
        help="write the account of the run to this JSON file, also when it fails",
    )
    group.add_argument(
        "--progress",
        choices=("auto", "live", "plain", "json", "none"),
        default="auto",
        help="auto (default): live on a terminal, else plain lines",
    )
    noise = group.add_mutually_exclusive_group()
    noise.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="tracebacks and log lines of what matters; -vv: of every record and call",
    )
    noise.add_argument(
        "-q", "--quiet", action="store_true", help="neither progress nor summary, only errors"
    )


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return number
