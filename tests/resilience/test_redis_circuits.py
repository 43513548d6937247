"""Circuits shared through a real server, by real processes."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from typing import IO, Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    StorageFailed,
)
from genai_pipeline.resilience import CircuitBreaker, SharedCircuit
from genai_pipeline.stores import RedisCircuits
from tests.servers.valkey import Valkey

from .calls import refused_for, state, trip

pytestmark = pytest.mark.anyio


async def test_a_circuit_comes_back_as_it_was_told(valkey: Valkey) -> None:
    """Generation, state and openings come back exactly, and the time that is left."""
    async with RedisCircuits(url=valkey.url) as circuits:
        assert await circuits.read("tiny/1") is None
        won, told = await circuits.change("tiny/1", 0, "open", 12.5, 3)
        assert won
        assert (told.state, told.seconds, told.openings) == ("open", 12.5, 3)
        read = await circuits.read("tiny/1")
        assert read is not None
        assert 11.5 < read.seconds <= 12.5
        assert (read.generation, read.state, read.openings) == (told.generation, "open", 3)
        assert await circuits.read("tiny/2") is None


async def test_only_one_of_many_changes_it(valkey: Valkey) -> None:
    """Of many changes based on the same generation exactly one wins, and all hear of it."""
    answers: list[tuple[bool, SharedCircuit]] = []

    async with RedisCircuits(url=valkey.url) as circuits:
        _, known = await circuits.change("tiny", 0, "closed", 0, 0)
        assert known.state == "closed"

        async def change(openings: int) -> None:
            answers.append(await circuits.change("tiny", known.generation, "open", 9.0, openings))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(change, number)
    assert sum(won for won, _ in answers) == 1
    winner = next(circuit for won, circuit in answers if won)
    assert winner.generation > known.generation
    assert {(circuit.generation, circuit.openings) for _, circuit in answers} == {
        (winner.generation, winner.openings)
    }


async def test_time_that_has_passed_is_below_zero(valkey: Valkey) -> None:
    """A circuit whose time is over says so, and is kept for a day."""
    async with RedisCircuits(url=valkey.url, prefix="p:") as circuits:
        await circuits.change("tiny", 0, "open", 0.001, 1)
        await anyio.sleep(0.02)
        read = await circuits.read("tiny")
        assert read is not None
        assert -5 < read.seconds < 0
        kept = await circuits.run("return redis.call('PTTL', KEYS[1])", ["p:tiny"])
        assert 86_000_000 < kept <= 86_400_001


async def test_generations_never_come_again(valkey: Valkey) -> None:
    """A server that lost its data gives later generations than before."""
    async with RedisCircuits(url=valkey.url) as circuits:
        _, first = await circuits.change("tiny", 0, "open", 9, 1)
        _, second = await circuits.change("tiny", first.generation, "closed", 0, 0)
        await circuits.run("return redis.call('FLUSHALL')", [])
        await anyio.sleep(0.002)
        won, third = await circuits.change("tiny", second.generation, "open", 9, 1)
        assert won
        assert first.generation < second.generation < third.generation


async def test_errors_are_translated(valkey: Valkey) -> None:
    """A wrong password, a failing script and a missing entry raise the errors of this library."""
    wrong = valkey.url.replace("//", "//nobody:secret@")
    async with RedisCircuits(url=wrong) as circuits:
        with pytest.raises(AuthenticationFailed) as caught:
            await circuits.read("tiny")
        assert "secret" not in str(caught.value) + repr(circuits)
    async with RedisCircuits(url=valkey.url) as circuits:
        with pytest.raises(StorageFailed, match="the Redis server failed: Unknown command"):
            await circuits.run("return redis.call('nonsense')", [])
    with pytest.raises(ConfigurationError, match="give it to a pipeline, or async with"):
        await circuits.read("tiny")
    with pytest.raises(KeyError, match="of the body"):  # as it is, in no group
        async with circuits:
            await circuits.read("tiny")
            raise KeyError("of the body")


@pytest.mark.parametrize("url", ["", "http://host", 5, "redis"])
def test_a_wrong_url_is_refused(url: Any) -> None:
    """A URL of another kind is refused when the store is built, and not shown: it may be secret."""
    with pytest.raises(ConfigurationError, match="url='<hidden>'; give a URL like redis://"):
        RedisCircuits(url=url)


async def test_a_silent_or_dead_server_fails_in_time(valkey: Valkey) -> None:
    """A stalled server fails after the timeout, a dead one at once; both are used again later."""
    async with RedisCircuits(url=valkey.url, timeout=0.2) as circuits:
        assert await circuits.read("tiny") is None
        valkey.stall()
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="the Redis server is not reached"):
            await circuits.read("tiny")
        assert 0.15 < time.monotonic() - began < 20
        valkey.resume()
        assert await circuits.read("tiny") is None
        valkey.kill()
        with pytest.raises(ConnectionFailed):
            await circuits.read("tiny")
        valkey.start()
        assert await circuits.read("tiny") is None


async def test_decides_alone_while_the_server_is_down(valkey: Valkey) -> None:
    """With the server dead from before it is entered, a breaker opens, probes and closes alone."""
    valkey.kill()
    circuits = RedisCircuits(url=valkey.url, timeout=0.2)
    breaker = CircuitBreaker(shared=circuits, share_every=0.05, open_for=0.1, jitter=0)
    async with breaker:
        await anyio.sleep(0.1)
        trip(breaker)
        assert refused_for(breaker.admit) is not None
        await anyio.sleep(0.12)
        for _ in range(2):
            breaker.admit().settle(None)
        assert state(breaker) == "closed"
        valkey.start()
        trip(breaker)
        with anyio.fail_after(10):
            while await circuits.read("circuit") is None:
                await anyio.sleep(0.02)


async def test_breakers_of_one_pipeline_share_a_connection(valkey: Valkey) -> None:
    """Two breakers over one store are entered and left by a run, and again by the next."""
    circuits = RedisCircuits(url=valkey.url)
    first, second = (CircuitBreaker(name=name, shared=circuits) for name in ("a", "b"))

    async def work(value: str) -> str:
        trip(first)
        while await circuits.read("a") is None:
            await anyio.sleep(0.01)
        return value

    for _ in range(2):
        first.force_close()
        stage = gp.chain(gp.wrap(gp.map(work), second), gp.wrap(gp.map(str.upper), second))
        pipeline = gp.Pipeline(
            source=gp.sources.Values(["x"]), stage=gp.wrap(stage, second, second), sink=_ignore
        )
        async with first:
            report = await pipeline.run()
        assert report.written == 1


async def _ignore(record: gp.Record[str]) -> None:
    """Be a sink that needs nothing."""


_PROCESS = textwrap.dedent(
    """
    import json, sys
    import anyio
    import genai_pipeline as gp
    from genai_pipeline.resilience import CircuitBreaker
    from genai_pipeline.stores import RedisCircuits

    async def main(url):
        async with CircuitBreaker(
            name="tiny",
            shared=RedisCircuits(url=url, timeout=0.3),
            share_every=0.25,
            open_for=60,
            jitter=0,
        ) as breaker:
            print("ready", flush=True)
            lines = anyio.wrap_file(sys.stdin)
            async for line in lines:
                answer = None
                for ill in json.loads(line):
                    try:
                        call = breaker.admit()
                    except gp.Rejected as refusal:
                        answer = refusal.retry_after
                        break
                    call.settle(gp.Transient("down") if ill else None)
                print(json.dumps(answer), flush=True)

    anyio.run(main, sys.argv[1], backend=sys.argv[2])
    """
)


class Process:
    """A process with a breaker, told over its pipes to make calls."""

    def __init__(self, url: str, backend: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _PROCESS, url, backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ready(self) -> None:
        """Wait until it has started."""
        assert self._pipe(self._process.stdout).readline() == "ready\n"

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def calls(self, *ill: bool) -> float | None:
        """Make calls that fail or not; answer for how long one was refused, if one was."""
        pipe = self._pipe(self._process.stdin)
        pipe.write(json.dumps(ill) + "\n")
        pipe.flush()
        answer = json.loads(self._pipe(self._process.stdout).readline())
        return None if answer is None else float(answer)

    def end(self) -> None:
        """Close its input, and wait for its end."""
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0


def test_two_processes(valkey: Valkey, anyio_backend: str) -> None:
    """12: B refuses within one period of A's trip; with the server killed, both decide alone."""
    processes = [Process(valkey.url, anyio_backend) for _ in range(2)]
    try:
        first, second = processes
        for process in processes:
            process.ready()
        assert first.calls(*[False] * 3) is second.calls(*[False] * 3) is None
        tripped = time.monotonic()
        refused = first.calls(*[True] * 11)
        assert refused is not None
        assert refused > 59
        while (elsewhere := second.calls(False)) is None:
            # A period, and time for a loaded machine to switch between three processes.
            assert time.monotonic() - tripped < 0.25 + 10.0
            time.sleep(0.01)
        assert 49 < elsewhere <= 60

        valkey.kill()
        third = Process(valkey.url, anyio_backend)
        processes.append(third)
        again = first.calls(True)
        assert again is not None
        assert again > 0
        third.ready()
        assert third.calls(*[False] * 5) is None
        assert third.calls(*[True] * 11) is not None
    finally:
        for process in processes:
            process.end()
