"""The helper that cancels at every wait finds each wait, and each way to lose a cancellation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from genai_pipeline.testing import FakeClock

from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio


async def test_every_wait_is_cancelled_once(clock: FakeClock) -> None:
    """A call with three waits is played four times: cancelled at each, and once in full."""
    plays: list[int] = []

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        reached = 0

        async def call() -> None:
            nonlocal reached
            for seconds in (10, 0, 1):
                reached += 1
                await clock.sleep(seconds)
            reached += 1

        yield call
        plays.append(reached)

    assert await cancel_at_every_wait(scenario) == 3
    assert plays == [1, 2, 3, 4]


async def test_a_swallowed_cancellation_is_found(clock: FakeClock) -> None:
    """A call that answers although it was cancelled fails the check, unless it may."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        async def call() -> None:
            try:
                await clock.sleep(1)
            except BaseException:  # noqa: BLE001 - the very mistake
                return

        yield call

    with pytest.raises(AssertionError, match="wait 1 got lost"):
        await cancel_at_every_wait(scenario)
    assert await cancel_at_every_wait(scenario, may_finish=True) == 1
