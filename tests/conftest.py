"""Fixtures for every test: both event loops, and virtual time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from genai_pipeline.testing import FakeClock

pytest_plugins = ["tests.canary"]

# How long an example takes tells how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory if there is one: thousands of commits need not meet the disk."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="journal-", dir=_MEMORY))
    yield made
    shutil.rmtree(made)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each asynchronous test on both event loops."""
    return str(request.param)


@pytest.fixture
async def clock(anyio_backend: str) -> AsyncIterator[FakeClock]:
    """Give virtual time that jumps ahead whenever every task waits."""
    async with FakeClock() as clock:
        yield clock
