"""What is in a folder and below it, matched against a glob."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TypeAlias

import attrs

__all__ = ["Pattern", "Walk", "is_pattern", "parsed"]

_Names: TypeAlias = tuple[str, ...]
_DEEPEST = 100


def is_pattern(path: str) -> bool:
    """Tell whether *path* has signs of a glob."""
    return any(sign in path for sign in "*?[")


def parsed(path: str) -> tuple[str, Pattern]:
    """Split a glob into the folder that it begins with and the pattern below that."""
    parts = path.replace(os.sep, "/").split("/")
    fixed = next(index for index, part in enumerate(parts) if is_pattern(part))
    root = "/".join(parts[:fixed]) or ("/" if path.startswith("/") else "")
    steps = tuple(part for part in parts[fixed:] if part)
    return root, Pattern((*steps, "*") if steps[-1] == "**" else steps)


@attrs.frozen
class Pattern:
    """The steps of a glob; ``**`` is any number of folders. No sign matches a leading dot."""

    steps: tuple[str, ...]
    suffixes: tuple[str, ...] = ()

    def wants(self, names: _Names) -> bool:
        """Tell whether the path made of *names* matches."""
        fine = not self.suffixes or names[-1].lower().endswith(self.suffixes)
        return fine and _matches(names, self.steps)

    def leads(self, names: _Names) -> bool:
        """Tell whether something below the path made of *names* may match."""
        return _leads(names, self.steps)

    @property
    def exact(self) -> bool:
        """Whether a folder that matches was probably taken for a file."""
        last = self.steps[-1].lstrip(".")
        return not last.startswith("*") or "." in last


def _matches(names: _Names, steps: _Names) -> bool:
    if not steps:
        return not names
    if steps[0] == "**":
        deeper = bool(names) and names[0][0] != "." and _matches(names[1:], steps)
        return deeper or _matches(names, steps[1:])
    return bool(names) and _fits(names[0], steps[0]) and _matches(names[1:], steps[1:])


def _leads(names: _Names, steps: _Names) -> bool:
    if not names or not steps:
        return bool(steps)
    if steps[0] == "**":
        return (names[0][0] != "." and _leads(names[1:], steps)) or _leads(names, steps[1:])
    return _fits(names[0], steps[0]) and _leads(names[1:], steps[1:])


def _fits(name: str, step: str) -> bool:
    return (name[0] != "." or step[0] == ".") and fnmatchcase(name, step)


@attrs.frozen
class Walk:
    """Goes through a folder, sorted by name, and finds what a pattern wants."""

    root: str
    pattern: Pattern
    follow_symlinks: bool = attrs.field(kw_only=True)

    def found(self) -> Iterator[tuple[_Names, str | None]]:
        """Yield what matches, relative to the root, and why it cannot be read if so."""
        yield from self._inside((), ())

    def _inside(
        self, names: _Names, above: tuple[tuple[int, int], ...]
    ) -> Iterator[tuple[_Names, str | None]]:
        if len(names) > _DEEPEST:
            yield names, f"is nested deeper than {_DEEPEST} folders, and not looked into"
            return
        try:
            with os.scandir(os.path.join(self.root, *names) or ".") as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield names, f"is a folder that cannot be listed: {error.strerror}"
            return
        for entry in entries:
            inner = (*names, entry.name)
            wanted, leads = self.pattern.wants(inner), self.pattern.leads(inner)
            problem = self._problem(entry, wanted=wanted, leads=leads)
            if problem is not None or (wanted and entry.is_file()):
                yield inner, problem
            if leads and entry.is_dir(follow_symlinks=self.follow_symlinks):
                status = entry.stat()
                identity = (status.st_dev, status.st_ino)
                if identity not in above:  # else a link leads round in a circle
                    yield from self._inside(inner, (*above, identity))

    def _problem(self, entry: os.DirEntry[str], *, wanted: bool, leads: bool) -> str | None:
        """Say why *entry*, which seems to be meant, is not read."""
        folder = entry.is_dir()
        if not wanted and not (leads and folder):
            return None
        if entry.is_symlink():
            if not self.follow_symlinks:
                return "is a symbolic link; follow_symlinks=True reads what it leads to"
            if not folder and not os.path.exists(entry.path):
                return "is a symbolic link that leads to nothing"
        if folder:
            mistaken = wanted and self.pattern.exact
            return "is a folder, not a file; to read what is in it, name it" if mistaken else None
        return None if entry.is_file() else "is not a regular file; nothing else is ever opened"
