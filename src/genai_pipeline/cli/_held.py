"""The command ``held``: records that wait for money or for a person, and letting them go on."""

from __future__ import annotations

import argparse
from typing import Any

from genai_pipeline._journal_admin import KeptRecord
from genai_pipeline.cli._journal_file import perform
from genai_pipeline.cli._kept_records import list_records, release_records
from genai_pipeline.cli._table import iso

__all__ = ["held"]

_SHOWN = ("pipeline", "generation", "stage", "error", "category", "message")


def held(options: argparse.Namespace) -> int:
    """Do what is asked with the held records that are selected."""
    actions = {"list": _list, "release": _release}
    return perform(actions[options.action], options)


async def _list(options: argparse.Namespace) -> int:
    return await list_records(options, "held", _plain, moment="HELD (UTC)")


async def _release(options: argparse.Namespace) -> int:
    return await release_records(
        options,
        "held",
        lambda journal, which: journal.release(which),
        verb=("to release", "released"),
        then="their calls of unknown outcome are given up: they count at the most they can cost, "
        "and are made again",
    )


def _plain(record: KeptRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "held_at": iso(record.at),
        **{name: getattr(record, name) for name in _SHOWN},
    }
