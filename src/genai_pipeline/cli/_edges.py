"""Binds paths of the command line to sources and sinks, by how they end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from genai_pipeline import sinks, sources
from genai_pipeline.cli._target import UsageError
from genai_pipeline.errors import ConfigurationError

__all__ = ["dead_letters", "sink", "source"]

_PACKED = (".gz", ".zst")
_SOURCES: Mapping[str, type[Any]] = {
    ".jsonl": sources.JsonLines,
    ".ndjson": sources.JsonLines,
    ".csv": sources.Csv,
    ".txt": sources.TextFiles,
    ".md": sources.TextFiles,
}
_SINKS: Mapping[str, type[Any]] = {
    ".jsonl": sinks.JsonLines,
    ".ndjson": sinks.JsonLines,
    ".csv": sinks.Csv,
}


def source(path: str, instead_of: object) -> Any:
    """
    Answer the source that reads *path*; it keeps the options of *instead_of* if that is alike.

    A folder is read as what its files are: all JSON Lines, all CSV, else texts.
    """
    if path == "-":
        raise UsageError("--input - : standard input cannot be read; give a file, folder or glob")
    kind = _of_folder(Path(path)) if Path(path).is_dir() else _SOURCES.get(_suffix(path))
    if kind is None:
        raise UsageError(
            f"--input {path}: cannot tell the format; the name must end in "
            f"{', '.join(_SOURCES)} (.gz or .zst may follow), or be a folder"
        )
    return _made(kind, path, instead_of, "--input")


def sink(path: str, instead_of: object) -> Any:
    """Answer the sink that writes *path*; it keeps the options of *instead_of* if alike."""
    if path == "-":
        return sinks.Stdout()
    kind = _SINKS.get(_suffix(path))
    if kind is None or path.endswith(_PACKED):
        raise UsageError(
            f"--output {path}: cannot tell the format; the name must end in "
            f"{', '.join(_SINKS)}, or be - for standard output"
        )
    return _made(kind, path, instead_of, "--output")


def dead_letters(path: str, instead_of: object, option: str = "--dead-letters") -> Any:
    """Answer the sink that writes dead letters to *path*, which must be JSON Lines."""
    if _suffix(path) not in (".jsonl", ".ndjson") or path.endswith(_PACKED):
        raise UsageError(f"{option} {path}: the name must end in .jsonl or .ndjson")
    return _made(sinks.JsonLines, path, instead_of, option)


def _suffix(path: str) -> str:
    for packed in _PACKED:
        path = path.removesuffix(packed)
    return Path(path).suffix.lower()


def _of_folder(folder: Path) -> type[Any]:
    suffixes = {
        _suffix(name) for _, _, names in os.walk(folder) for name in names if name[0] != "."
    }
    kinds: tuple[type[Any], ...] = (sources.JsonLines, sources.Csv)
    for kind in kinds:
        if suffixes and all(_SOURCES.get(suffix) is kind for suffix in suffixes):
            return kind
    return sources.TextFiles


def _made(kind: type[Any], path: str, instead_of: object, option: str) -> Any:
    try:
        if type(instead_of) is not kind:
            return kind(path)
        changes: dict[str, Any] = {"path": path}
        if getattr(instead_of, "segment", None) is not None:
            changes["segment"] = None  # the command line names a file, not a folder of segments
        return attrs.evolve(cast("Any", instead_of), **changes)
    except ConfigurationError as error:
        raise ConfigurationError(f"{option} {path}: {error}") from error
