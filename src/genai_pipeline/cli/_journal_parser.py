"""The command line of what is done with a journal."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from genai_pipeline.cli._times import duration, moment

__all__ = ["add_journal_commands"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001

_LIMIT = 100


def add_journal_commands(commands: Commands, at_least_one: Callable[[str], int]) -> None:
    """Add the commands whose first argument is the file of a journal."""
    status = _add(
        commands,
        "status",
        "how a journal is doing, also while a run has it",
        "Tells how a journal is doing. While a run has it, what the run says beside it is told, "
        "and neither is disturbed; else the file is read, and left as it is.",
    )
    _add_json(status)
    _add_runs(commands, at_least_one)
    _add_dead(commands, at_least_one)
    _add_held(commands, at_least_one)
    _add_cost(commands, at_least_one)
    _add_upkeep(commands)
    purge = _add(
        commands,
        "purge",
        "forget what records were that ended long ago",
        "Forgets keys, calls, answers and dead letters of records that ended long ago. That they "
        "have ended stays known, so that they are not worked on again, and what they cost.",
    )
    purge.add_argument(
        "--older-than", metavar="AGE", type=duration, required=True, help="such as 30d, 12h, 2w"
    )
    _add_pipeline(purge)
    purge.add_argument("--dry-run", action="store_true", help="count them, and change nothing")
    erase = _add(
        commands,
        "erase",
        "leave nothing of a subject: a person, a customer",
        "Erases records, calls, answers and dead letters of a subject, as the pipeline's subject= "
        "names it. They are never worked on again, and what they cost stays known. Tells first "
        "what is elsewhere: under which keys sinks, and by which request ids providers have it.",
    )
    erase.add_argument("--subject", metavar="ID", required=True, help="whose data to erase")
    erase.add_argument("--dry-run", action="store_true", help="tell it, and change nothing")
    _add_json(erase)


def _add(commands: Commands, name: str, help_: str, description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_, description=description, allow_abbrev=False)
    parser.add_argument("journal", metavar="JOURNAL", help="the file of the journal: run.db")
    keys = parser.add_argument_group("of an encrypted journal").add_mutually_exclusive_group()
    keys.add_argument("--key-file", metavar="PATH", help="the file that has its key")
    keys.add_argument("--key-env", metavar="NAME", help="the environment variable that has its key")
    keys.add_argument(
        "--codec-of",
        metavar="TARGET",
        help="a pipeline whose journal has its codec: jobs.py:nightly",
    )
    return parser


class _Once(argparse.Action):
    """Refuses an option that is given twice, where the first would be forgotten."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - argparse calls so
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"argument {self.option_strings[0]}: given twice; give one")
        setattr(namespace, self.dest, values)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="answer JSON")


def _add_pipeline(parser: Any) -> None:
    parser.add_argument(
        "--pipeline", action=_Once, metavar="NAME", help="only of the pipeline of this name"
    )


def _add_limit(parser: argparse.ArgumentParser, at_least_one: Callable[[str], int]) -> None:
    parser.add_argument(
        "--limit",
        metavar="N",
        type=at_least_one,
        default=_LIMIT,
        help=f"at most so many (default: {_LIMIT})",
    )


def _add_runs(commands: Commands, at_least_one: Callable[[str], int]) -> None:
    runs = _add(commands, "runs", "the runs that a journal knows", "Lists runs, the newest first.")
    _add_pipeline(runs)
    _add_limit(runs, at_least_one)
    _add_json(runs)


def _add_dead(commands: Commands, at_least_one: Callable[[str], int]) -> None:
    dead = commands.add_parser(
        "dead",
        help="list, show, redrive or export records that failed for good",
        description="Looks after the dead letters that a journal keeps.",
        allow_abbrev=False,
    )
    actions = dead.add_subparsers(dest="action", required=True, metavar="ACTION")
    list_ = _add(actions, "list", "which there are", "Lists dead records, the latest first.")
    _add_selectors(list_)
    _add_limit(list_, at_least_one)
    _add_json(list_)
    show = _add(actions, "show", "all that is kept of one", "Shows dead records of these keys.")
    show.add_argument("keys", metavar="KEY", nargs="+", help="the key of a record")
    _add_pipeline(show)
    _add_json(show)
    redrive = _add(
        actions,
        "redrive",
        "let them be worked on again",
        "Lets dead records be worked on again by the next run. Their answered calls are used "
        "again, for nothing.",
    )
    _add_selectors(redrive)
    redrive.add_argument("--fresh", action="store_true", help="make their answered calls anew too")
    redrive.add_argument("--dry-run", action="store_true", help="count them, and change nothing")
    export = _add(actions, "export", "write them as JSON Lines", "Writes dead letters.")
    _add_selectors(export)
    export.add_argument(
        "--output", metavar="PATH", default="-", help="a .jsonl file (default: standard output)"
    )


def _add_held(commands: Commands, at_least_one: Callable[[str], int]) -> None:
    held = commands.add_parser(
        "held",
        help="list or release records that wait for money or for a person",
        description="Looks after records that a journal holds.",
        allow_abbrev=False,
    )
    actions = held.add_subparsers(dest="action", required=True, metavar="ACTION")
    list_ = _add(actions, "list", "which there are", "Lists held records, the latest first.")
    _add_selectors(list_, "was held")
    _add_limit(list_, at_least_one)
    _add_json(list_)
    release = _add(
        actions,
        "release",
        "let them be worked on again",
        "Lets held records be worked on again by the next run. Their calls of unknown outcome are "
        "given up: they count at the most they can cost, and are made again.",
    )
    _add_selectors(release, "was held")
    release.add_argument("--dry-run", action="store_true", help="count them, and change nothing")


def _add_selectors(parser: argparse.ArgumentParser, ended: str = "died") -> None:
    group = parser.add_argument_group("which records", "those that fit everything given")
    group.add_argument("--all", action="store_true", help="all of them")
    group.add_argument(
        "--key", metavar="KEY", action="append", default=[], help="of this key; may be repeated"
    )
    group.add_argument("--stage", action=_Once, metavar="NAME", help=f"that {ended} in this stage")
    group.add_argument(
        "--error", action=_Once, metavar="CLASS", help=f"that {ended} for an error of this class"
    )
    group.add_argument(
        "--category",
        action=_Once,
        choices=("transient", "permanent", "system", "data"),
        help=f"that {ended} for an error of this category",
    )
    for name, when in (("--since", "then or later"), ("--until", "before then")):
        group.add_argument(
            name,
            action=_Once,
            metavar="TIME",
            type=moment,
            help=f"that {ended} {when}: 2026-11-26T14:30, or 12h for so long ago",
        )
    _add_pipeline(group)


def _add_cost(commands: Commands, at_least_one: Callable[[str], int]) -> None:
    cost = _add(
        commands,
        "cost",
        "what calls cost, by tenant, model, stage …",
        "Tells what calls cost in US dollars. Failed attempts count at what they cost, calls of "
        "unknown outcome at the most they can cost.",
    )
    cost.add_argument(
        "--by",
        metavar="NAMES",
        type=_names,
        default=("model",),
        help="pipeline, run, stage, provider, model, or attributes of records such as tenant; "
        "several with commas between them (default: model)",
    )
    _add_pipeline(cost)
    cost.add_argument("--run", metavar="N", type=at_least_one, help="only of this run")
    _add_json(cost)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names such as tenant,model")
    return names


def _add_upkeep(commands: Commands) -> None:
    journal = commands.add_parser(
        "journal",
        help="check, salvage, back up, vacuum or rekey a journal, or read its tables",
        description="Looks after the file of a journal that no run has.",
        allow_abbrev=False,
    )
    actions = journal.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = _add(
        actions,
        "check",
        "whether it is whole",
        "Reads all of the file: its structure, every answer against its digest, and the accounts "
        "against their calls. Exits with 1 when something is wrong. Changes nothing.",
    )
    _add_json(check)
    for name, help_, description in (
        (
            "salvage",
            "bring what can be read of a damaged one into a new one",
            "Brings what can be read of a damaged journal into a new one, TO.",
        ),
        ("backup", "copy it", "Copies the journal to the new file TO, whole or not at all."),
    ):
        parser = _add(actions, name, help_, description)
        parser.add_argument("to", metavar="TO", help="a file that is not there yet")
    table = _add(
        actions,
        "table",
        "read the rows that sinks keep in it",
        "Writes the rows of the table NAME, in the order of their keys. Without NAME, lists the "
        "tables there are. Changes nothing.",
    )
    table.add_argument("name", metavar="NAME", nargs="?", help="the sink's table")
    table.add_argument(
        "--output",
        metavar="PATH",
        default="-",
        help="a .jsonl or .csv file (default: JSON Lines on standard output)",
    )
    _add(
        actions,
        "vacuum",
        "make the file smaller",
        "Makes the file as small as it can be; that needs as much room again for a while.",
    )
    _add(
        actions,
        "rotate",
        "put an encrypted one under a new key",
        "Has the data key of the journal wrapped by the first of the keys given, and writes "
        "nothing else anew. Give the new key first, and the old one after it.",
    )
