"""Fixtures for every test: both event loops, and virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from genai_pipeline.testing import FakeClock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Run each asynchronous test on both event loops."""
    return str(request.param)


@pytest.fixture
async def clock(anyio_backend: str) -> AsyncIterator[FakeClock]:
    """Give virtual time that jumps ahead whenever every task waits."""
    async with FakeClock() as clock:
        yield clock
