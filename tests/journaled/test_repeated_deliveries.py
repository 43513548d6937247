"""A queue that delivers the same records several times, in any order: each is one record."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import anyio
import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.journals import Memory
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept


@attrs.define
class Queue:
    """Delivers *keys* in their order, some while others of the same key are worked on."""

    keys: list[str]
    pauses: list[int]
    clock: FakeClock
    settled: list[tuple[str, Exception | None]] = attrs.field(factory=list)

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[str]]:
        for key, pause in zip(self.keys, self.pauses, strict=True):
            await self.clock.sleep(pause)
            yield gp.Delivery(gp.Record(key, key), self._settler(key))

    def _settler(self, key: str) -> Any:
        async def settle(error: Exception | None) -> None:
            self.settled.append((key, error))

        return settle


@settings(max_examples=60)
@given(
    copies=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    bad=st.sets(st.integers(0, 4)),
    max_in_flight=st.integers(1, 8),
    backend=st.sampled_from(["asyncio", "trio"]),
    chance=st.randoms(use_true_random=False),
)
def test_whatever_is_delivered_how_often_is_done_and_paid_for_once(
    copies: list[int], bad: set[int], max_in_flight: int, backend: str, chance: random.Random
) -> None:
    """Property: a record has one end and one bill, and every delivery of it is settled as done."""
    keys = [str(number) for number, count in enumerate(copies) for _ in range(count)]
    chance.shuffle(keys)
    model: Any = None
    dies = {str(number) for number in bad if number < len(copies)}

    async def ask(value: str) -> str:
        await model(gp.Request(value, max_output_tokens=4))
        if value in dies:
            raise ValueError(value)
        return value

    async def main() -> None:
        async with FakeClock() as clock:
            nonlocal model
            model = Script.of(lambda request: request.prompt, clock=clock, latency=2.0)
            journal = Memory()
            for first in (True, False):
                pauses = [chance.randint(0, 2) for _ in keys]
                queue, sink, letters = Queue(keys, pauses, clock), Kept(), Kept()
                report = await gp.Pipeline(
                    source=queue,
                    stage=gp.map(ask),
                    sink=sink,
                    dead_letters=letters,
                    max_in_flight=max_in_flight,
                    max_failures=None,
                    journal=journal,
                    clock=clock,
                ).run()
                done = {str(number) for number in range(len(copies))} - dies if first else set()
                assert Counter(sink.values) == Counter(done)
                assert {letter.key for letter in letters.values} == (dies if first else set())
                assert len(letters.values) == (len(dies) if first else 0)
                assert Counter(queue.settled) == Counter((key, None) for key in keys)
                assert report.skipped == len(keys) - (len(copies) if first else 0)
                assert model.calls == len(copies)

    anyio.run(main, backend=backend)
