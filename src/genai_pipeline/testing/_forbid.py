"""What the pytest plugin can forbid: a deed, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

__all__ = ["Ban", "ForbiddenError"]


class ForbiddenError(AssertionError):
    """Raised at the call that does what a test was forbidden."""


class Ban:
    """A deed that is forbidden, in the whole process, while at least one block says so."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []

    @contextmanager
    def lasts(self) -> Iterator[list[str]]:
        """Forbid it for the block; answer the list of what was tried."""
        attempts: list[str] = []
        self._blocks.append(attempts)
        try:
            yield attempts
        finally:
            self._blocks[:] = [each for each in self._blocks if each is not attempts]

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def refuse(self, attempt: str) -> NoReturn:
        """Note what was tried and raise it, for code that handles errors may handle this one."""
        self._blocks[-1].append(attempt)
        raise ForbiddenError(attempt)
