"""Sinks for a pipeline that dies, and what they are to hold in the end."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from genai_pipeline.sinks import Csv, Disk, Files, JsonLines, Table

RECORDS = 30
IN_FLIGHT = 6


@attrs.frozen
class Kind:
    """A sink to prove."""

    make: Callable[[Path, Disk], Any]
    read: Callable[[Path], list[Any]]
    """Answer what stands in the folder; fails where anything is that should not be."""


def expected() -> list[Any]:
    """Answer the values of all children of all records, by the keys of the children."""
    return [
        {"key": f"{number}/{half}", "text": f"Say {number}", "half": half}
        for number in range(RECORDS)
        for half in (0, 1)
    ]


def _file(folder: Path) -> list[Any]:
    assert [path.name for path in folder.iterdir()] == ["out.jsonl"]
    return [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]


def _parts(folder: Path) -> list[Path]:
    parts = sorted(path for path in folder.iterdir() if path.name.startswith("part-"))
    keys = {f".{part.name}.keys" for part in parts}
    assert {path.name for path in folder.iterdir()} == {".lock", *keys, *(p.name for p in parts)}
    return parts


def _lines(folder: Path) -> list[Any]:
    parts = _parts(folder / "out")
    return [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]


def _rows(folder: Path) -> list[Any]:
    found: list[Any] = []
    for part in _parts(folder / "out"):
        with part.open(newline="") as file:
            found += [{**row, "half": int(row["half"])} for row in csv.DictReader(file)]
    return found


def _files(folder: Path) -> list[Any]:
    paths = [path for path in (folder / "out").iterdir() if path.name != ".lock"]
    assert len(paths) == 2 * RECORDS
    assert all(path.suffix == ".json" and "~" in path.name for path in paths)
    return [json.loads(path.read_bytes()) for path in paths]


def _table(folder: Path) -> list[Any]:
    assert [path.name for path in folder.iterdir()] == ["out.db"]
    with closing(sqlite3.connect(folder / "out.db")) as connection:
        rows = connection.execute("SELECT key, value FROM records").fetchall()
    values = [json.loads(value) for _, value in rows]
    assert [key for key, _ in rows] == [value["key"] for value in values]
    return values


KINDS = {
    "a file": Kind(lambda folder, disk: JsonLines(folder / "out.jsonl", disk=disk), _file),
    "parts of lines": Kind(
        lambda folder, disk: JsonLines(folder / "out", segment=7, disk=disk), _lines
    ),
    "parts of rows": Kind(lambda folder, disk: Csv(folder / "out", segment=7, disk=disk), _rows),
    "files": Kind(lambda folder, disk: Files(folder / "out", disk=disk), _files),
    "files kept": Kind(
        lambda folder, disk: Files(folder / "out", on_existing="keep", disk=disk), _files
    ),
    "a table": Kind(lambda folder, _: Table(folder / "out.db"), _table),
}
