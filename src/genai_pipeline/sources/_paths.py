"""Which files a path stands for: a file, a folder, or a glob."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import TypeAlias

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sources._folders import Pattern, Walk, is_pattern, parsed

__all__ = ["Found", "Paths", "Search", "to_paths"]

Paths: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"


@attrs.frozen
class Found:
    """A file to read, or a thing among the files that cannot be one."""

    path: str
    name: str
    """What its keys begin with."""

    named: bool = False
    """Whether the user wrote this very path."""

    problem: str | None = None

    @property
    def origin(self) -> str:
        """The path, for people and attributes."""
        return _printable(self.path)


def to_paths(given: Paths) -> tuple[str, ...]:
    """Make a tuple of texts out of one path or several; for attrs fields."""
    several = [given] if isinstance(given, str | os.PathLike) else given
    try:
        paths = tuple(os.fspath(path) for path in several)
    except TypeError:
        paths = ()
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise ConfigurationError(f"path={given!r}; give a path, or a list of paths")
    return paths


@attrs.frozen(kw_only=True)
class Search:
    """
    Finds the files that paths stand for, in the order of the paths and then of the names.

    A symbolic link is followed where the user wrote it, and elsewhere with *follow_symlinks*.
    """

    owner: str
    paths: tuple[str, ...]
    suffixes: tuple[str, ...]
    """The endings of the files that a folder is read for; none means any."""

    follow_symlinks: bool
    allow_empty: bool

    def files(self) -> Iterator[Found]:
        """
        Yield what was found, each file once.

        Raises `ConfigurationError` at once for a path that does not exist, and, unless
        *allow_empty*, for a folder or glob without any file.
        """
        expansions = [self._expand(path) for path in self.paths]
        seen: set[str] = set()
        for path, expansion in zip(self.paths, expansions, strict=True):
            empty = True
            for found in expansion:
                empty = False
                if len(self.paths) > 1:
                    place = os.path.abspath(found.path)
                    if place in seen:
                        continue
                    seen.add(place)
                yield found
            if empty and not self.allow_empty:
                raise ConfigurationError(self._nothing(path))

    def _nothing(self, path: str) -> str:
        kind = " or ".join(self.suffixes)
        what = f"holds no {kind} file" if os.path.isdir(path) and kind else "matches no file"
        return (
            f"{self.owner}: {path!r} {what} (current directory {os.getcwd()}); "
            "allow_empty=True accepts that"
        )

    def _expand(self, path: str) -> Iterator[Found]:
        prefix = path if len(self.paths) > 1 else ""
        try:
            os.stat(path)
        except FileNotFoundError:
            if is_pattern(path):
                root, pattern = parsed(path)
                return self._below(root, root if prefix else "", pattern)
            reason = f"does not exist (current directory {os.getcwd()})"
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error}"
        else:
            if os.path.isdir(path):
                return self._below(path, prefix, Pattern(("**", "*"), self.suffixes))
            if os.path.isfile(path):
                return iter([Found(path, _printable(PurePath(path).as_posix()), named=True)])
            reason = "is neither a regular file nor a folder; nothing else is ever opened"
        raise ConfigurationError(f"{self.owner}: {path!r} {reason}")

    def _below(self, root: str, prefix: str, pattern: Pattern) -> Iterator[Found]:
        walk = Walk(root, pattern, follow_symlinks=self.follow_symlinks)
        for names, problem in walk.found() if os.path.isdir(root or ".") else ():
            name = _printable(PurePath(prefix, *names).as_posix())
            yield Found(os.path.join(root, *names), name, problem=problem)


def _printable(path: str) -> str:
    r"""Answer *path* with bytes that are no UTF-8 written as ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
