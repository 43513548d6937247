"""The source contract fails for sources that break it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.errors import Stopped
from genai_pipeline.records import Delivery, Record
from genai_pipeline.testing import SourceContract

pytestmark = pytest.mark.anyio


class _Source:
    """A source that can be made to break one promise."""

    def __init__(self, fault: str, runs: itertools.count[int], path: Path) -> None:
        self._fault, self._runs, self._path = fault, runs, path

    async def __aiter__(self) -> AsyncGenerator[Delivery[Any], None]:
        run = next(self._runs)
        file = self._path.open()
        try:
            for ordinal, value in enumerate("abc"):
                key = {"twins": "k", "unstable": f"{run}.{ordinal}"}.get(self._fault, str(ordinal))
                if self._fault == "forgetful" and run > 0 and ordinal == 0:
                    continue
                yield Delivery(Record(value, key), self._settle)
        finally:
            if self._fault != "leaky":
                file.close()

    async def _settle(self, error: Exception | None) -> None:
        if self._fault == "stubborn" and error is not None:
            raise error
        if self._fault == "fragile" and error is None:
            raise RuntimeError("settled")


def _contract(fault: str, path: Path) -> SourceContract:
    runs = itertools.count()

    class Contract(SourceContract):
        expected = ("a", "b", "d" if fault == "wrong" else "c")

        def make(self) -> _Source:
            return _Source(fault, runs, path)

    return Contract()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that exists."""
    file = tmp_path / "file"
    file.touch()
    return file


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("wrong", "test_it_gives_the_expected_values"),
        ("twins", "test_its_keys_are_unique"),
        ("unstable", "test_its_keys_are_stable"),
        ("forgetful", "test_it_can_be_read_again"),
        ("fragile", "test_every_delivery_can_be_settled_once"),
        ("stubborn", "test_deliveries_can_be_handed_back"),
        ("leaky", "test_closing_it_early_releases_what_it_holds"),
    ],
)
async def test_a_broken_promise_is_caught(fault: str, test: str, path: Path) -> None:
    """Each test of the contract fails for a source that breaks what it is about."""
    with pytest.raises((AssertionError, RuntimeError, Stopped)):
        await getattr(_contract(fault, path), test)()


async def test_make_must_be_overridden() -> None:
    """A subclass without make() is told so."""
    with pytest.raises(NotImplementedError, match=r"must override make\(\)"):
        SourceContract().make()
