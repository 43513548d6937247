"""The script on the server does with buckets what `MemoryBuckets` does in one process."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from genai_pipeline.resilience import BucketAsk, MemoryBuckets, Quota, QuotaAsk, QuotaReply
from genai_pipeline.testing import FakeClock
from tests.servers.valkey import Valkey

from .virtual_quotas import VirtualQuotas, virtual_quotas

T = TypeVar("T")

# All times and rates are such that neither side ever rounds.
QUOTAS = {
    "requests": Quota(limit=60, per=60, burst=10),
    "tokens": Quota(limit=3840, per=60, burst=512),
    "requests_per_day": Quota(limit=40, per=86_400, burst=40, calendar=True),
}
NAMES = st.sampled_from(sorted(QUOTAS))
SECONDS = st.integers(0, 400).map(lambda eighths: eighths / 8)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Answer what *work*, which waits for nothing, answers."""
    try:
        work.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    raise AssertionError("it waits")


class SameAsInMemory(RuleBasedStateMachine):
    """Whatever is asked, both grant the same, name the same wait and have the same left."""

    server: VirtualQuotas
    clock: FakeClock
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.name = f"quota {next(self.numbers)}"
        self.memory = MemoryBuckets(clock=self.clock)
        self.memory.configure(QUOTAS)

    def exchange(
        self, of: Mapping[str, dict[str, Any]], *, asks: bool = False, block: float = 0.0
    ) -> QuotaReply:
        """Ask the server, *of* each bucket by its name, and compare what is left."""
        buckets = tuple(
            BucketAsk(
                name=name,
                rate=quota.rate,
                full=quota.full,
                period=quota.per if quota.calendar else 0.0,
                **of.get(name, {}),
            )
            for name, quota in QUOTAS.items()
        )
        ask = QuotaAsk(member="one", asks=asks, block=block, buckets=buckets)
        reply = at_once(self.server.exchange(self.name, ask))
        left = dict(zip(QUOTAS, reply.levels, strict=True))
        assert left == pytest.approx(self.memory.levels(), abs=1e-6)
        assert reply.blocked == pytest.approx(self.memory.blocked_for(), abs=1e-6)
        return reply

    @rule(seconds=SECONDS | st.sampled_from([86_400.0, 200_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(requests=st.integers(0, 3), tokens=st.integers(0, 1000))
    def asks(self, requests: int, tokens: int) -> None:
        need = {"requests": requests, "tokens": tokens, "requests_per_day": requests}
        wait = at_once(self.memory.reserve(need))
        of = {name: {"need": amount} for name, amount in need.items()}
        reply = self.exchange(of, asks=True)
        assert reply.granted == (wait <= 0)
        assert reply.wait == pytest.approx(wait, abs=1e-5)

    @rule(name=NAMES, amount=st.integers(-300, 300))
    def settles(self, name: str, amount: int) -> None:
        self.memory.settle({name: amount})
        self.exchange({name: {"back": amount}})

    @rule(name=NAMES, level=st.integers(-5, 600))
    def is_lowered(self, name: str, level: int) -> None:
        self.memory.lower({name: level})
        self.exchange({name: {"lower": level}})

    @rule(seconds=SECONDS.filter(bool))
    def cools_down(self, seconds: float) -> None:
        at_once(self.memory.block(seconds))
        self.exchange({}, block=seconds)


def test_the_server_does_as_one_process_does(valkey: Valkey) -> None:
    """33: for one process, a real server's script and the buckets in memory are the same."""
    time = FakeClock()
    with virtual_quotas(valkey, time) as quotas:

        class OnThisServer(SameAsInMemory):
            server = quotas
            clock = time

        run_state_machine_as_test(
            OnThisServer,
            settings=settings(max_examples=200, stateful_step_count=25, deadline=None),
        )
