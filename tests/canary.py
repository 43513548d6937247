"""
Secrets that tests give to what they test, and that must be nowhere when a test has ended.

A plugin of pytest: a test in whose files, logs or output one of them is found has failed.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

__all__ = ["HEADERS", "KEY", "PROMPT", "found_in", "no_secret_in"]

# None has the form of a known kind of key, so that blotting such out helps nobody here.
KEY = "canary-5b0e1f-key"
"""A provider's key; also in the environment of every test, as ``OPENAI_API_KEY``."""

PROMPT = "canary-5b0e1f-prompt"
"""Instructions to a model; also in the environment, as ``CANARY_PROMPT``."""

HEADERS = MappingProxyType({"x-canary": "canary-5b0e1f-header"})
"""Further headers of a provider's calls."""

_SECRETS = (KEY, PROMPT, *HEADERS.values())
_A_PIECE = 2**20
_MOST_PIECES = 64  # nothing of ours is larger; what is, was made as a hole


def found_in(text: str | bytes) -> list[str]:
    """Answer which secrets stand in *text*, by their kinds."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return [each.rpartition("-")[2] for each in _SECRETS if each.encode() in data]


def no_secret_in(text: str) -> str:
    """Answer *text*, which something of ours has printed."""
    assert not found_in(text), f"a secret was printed: {found_in(text)}"
    return text


def _in_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
            kinds = {kind for piece in _pieces(path) for kind in found_in(piece)}
            yield from (f"the {kind} in {path}" for kind in sorted(kinds))


def _pieces(path: Path) -> Iterator[bytes]:
    """Answer the bytes of the file at *path*, which may be of no size that memory holds."""
    overlap = max(map(len, _SECRETS))
    with path.open("rb") as file:
        end = b""
        for _ in range(_MOST_PIECES):
            piece = file.read(_A_PIECE)
            if not piece:
                return
            yield end + piece
            end = piece[-overlap:]


def _folders(given: Mapping[str, Any]) -> Iterable[Path]:
    return {each for each in given.values() if isinstance(each, Path) and each.is_dir()}


@pytest.fixture(scope="session", autouse=True)
def _canaries_in_the_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv("CANARY_PROMPT", PROMPT)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail that left a secret in its folders, its logs or its output."""
    report = yield
    found = [f"the {kind} in {name}" for name, text in report.sections for kind in found_in(text)]
    if call.when == "call":  # before what the test made is removed
        for folder in _folders(getattr(item, "funcargs", {})):
            found += _in_files(folder)
    if found and report.passed:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} let a secret out: {'; '.join(found)}"
    return report
