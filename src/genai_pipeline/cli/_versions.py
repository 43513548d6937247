"""Versions: ours, and those of what we stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["EXTRAS", "Package", "extras", "requirements", "version"]

EXTRAS = ("cli", "local", "trio", "zstd")
"""The extras that add something; ``all`` is these together."""


@attrs.frozen
class Package:
    """A distribution that we need, with the version that is installed, or `None`."""

    name: str
    version: str | None


def version() -> str:
    """Answer our version; ``unknown`` when we run from files that were never installed."""
    # The name of the folder beside us says it, which is ten times quicker than to read in it.
    beside = list(Path(__file__).parents[2].glob("genai_pipeline-*.dist-info"))
    if len(beside) == 1:
        return beside[0].name.removesuffix(".dist-info").partition("-")[2]
    return _installed("genai_pipeline") or "unknown"


def requirements() -> list[Package]:
    """Answer what we need in any case."""
    return [Package(name, _installed(name)) for name, extra in _declared() if extra is None]


def extras() -> dict[str, list[Package]]:
    """Answer what each extra needs."""
    found: dict[str, list[Package]] = {}
    for name, extra in _declared():
        if extra in EXTRAS:
            found.setdefault(extra, []).append(Package(name, _installed(name)))
    return dict(sorted(found.items()))


def _declared() -> Iterator[tuple[str, str | None]]:
    """Yield each requirement in our metadata, with the extra it belongs to."""
    from importlib import metadata  # noqa: PLC0415 - quick start

    try:
        lines = metadata.requires("genai_pipeline") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name is not None:
            yield name[0], extra[1] if extra else None


def _installed(name: str) -> str | None:
    from importlib import metadata  # noqa: PLC0415 - quick start

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
