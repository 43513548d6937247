"""Puts a mutant in the place of the module it was made of, in this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import attrs

from tests.mutation.mutants import Mutant

__all__ = ["Garden", "plant_before_import"]


@attrs.frozen
class Garden:
    """The functions there are of the modules that are changed, wherever they are held."""

    functions: dict[tuple[str, str, int], list[FunctionType]] = attrs.field(factory=dict)

    def find(self, paths: set[Path]) -> None:
        """Find the functions that were made in the modules of these *paths*."""
        names = {str(path) for path in paths}
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename in names:
                self.functions.setdefault(_place(each.__code__), []).append(each)

    def plant(self, mutant: Mutant) -> bool:
        """Give the functions their new code; answer False where that cannot be."""
        for code in _nested(mutant.code):
            for function in self.functions.get(_place(code), []):
                if function.__code__ != code:
                    if function.__code__.co_freevars != code.co_freevars:
                        return False
                    function.__code__ = code
        return True


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def _nested(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _nested(each)


def plant_before_import(mutant: Mutant) -> list[str]:
    """Let an import that is still to come find the mutant; the answer names what it was told."""
    usual = SourceFileLoader.get_code
    planted: list[str] = []

    def get_code(loader: Any, name: str) -> CodeType | None:
        if Path(loader.get_filename(name)) != mutant.path:
            return usual(loader, name)
        planted.append(name)
        return mutant.code

    SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]
    return planted
