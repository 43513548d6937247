"""Thousands of records against a server that misbehaves or is away, over real sockets."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.events import CallFinished
from genai_pipeline.resilience import AdaptiveLimit, CircuitBreaker, CircuitOpened, Timeout
from tests.servers.misbehaving import FAULTS, LIMITED, MisbehavingServer, answer_to

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def run(
    server: MisbehavingServer, records: int, in_flight: int, **policies: Any
) -> tuple[gp.Report, dict[str, list[str]], list[Any]]:
    """Answer the report of a run, what answers each prompt got, and the dead letters."""
    model = gp.resilient(gp.providers.OpenAI("m", base_url=server.url), **policies)

    async def ask(prompt: str) -> tuple[str, str]:
        return prompt, (await model(gp.Request(prompt))).text

    sink: gp.sinks.Collect[tuple[str, str]] = gp.sinks.Collect()
    dead: gp.sinks.Collect[Any] = gp.sinks.Collect()
    report = await gp.Pipeline(
        source=gp.sources.Values([f"record {number}" for number in range(records)]),
        stage=gp.map(ask),
        sink=sink,
        dead_letters=dead,
        max_in_flight=in_flight,
    ).run()
    answers: defaultdict[str, list[str]] = defaultdict(list)
    for prompt, answer in sink.values:
        answers[prompt].append(answer)
    return report, answers, list(dead.values)


def right_answers(records: int) -> dict[str, list[str]]:
    return {f"record {number}": [answer_to(f"record {number}")] for number in range(records)}


@pytest.mark.parametrize(
    ("anyio_backend", "records"), [("asyncio", 5000), ("trio", 600)], indirect=["anyio_backend"]
)
@pytest.mark.thorough
async def test_a_misbehaving_server_loses_and_mixes_up_nothing(
    records: int, tmp_path: Path
) -> None:
    """
    With 5 % 429, 2 % 500, resets, slow-loris and wrong bodies, each record gets its own answer.

    At 256 in flight: 0 lost, 0 wrong, at most 1.15 attempts for a record on average, and none
    before the Retry-After of the one before it.
    """
    with MisbehavingServer(tmp_path, seed=4) as server:
        report, answers, dead = await run(
            server, records, 256, timeout=Timeout(10), concurrency=AdaptiveLimit(initial=256)
        )
        attempts = server.attempts()
    assert (report.written, report.dead, report.handed_back) == (records, 0, 0)
    assert answers == right_answers(records)
    assert dead == []

    assert len(attempts) <= 1.15 * records
    fates = Counter(attempt.fate for attempt in attempts)
    assert fates["rate limited"] >= 0.5 * LIMITED * records
    assert fates.keys() == {"answered", "rate limited", *FAULTS}

    not_before: dict[str, float] = {}
    for attempt in attempts:
        assert attempt.at >= not_before.get(attempt.prompt, 0.0)
        not_before[attempt.prompt] = attempt.not_before


class Outage:
    """Takes the server away in the middle of a run, and brings it back."""

    def __init__(self, server: MisbehavingServer, *, killed: bool) -> None:
        self.began = self.ended = 0.0
        """On the clock that all processes of a machine share."""

        self.failed = 0
        """Calls that failed after its beginning, as the client saw them."""

        self.openings: list[CircuitOpened] = []
        self._server = server
        self._killed = killed
        self._answered = 0

    def hear(self, event: object) -> None:
        if isinstance(event, CircuitOpened):
            self.openings.append(event)
        elif isinstance(event, CallFinished):
            self._answered += event.error is None
            self.failed += event.error is not None

    async def happen(self, after: int) -> None:
        """Begin when so many calls were answered; end when the circuit has opened three times."""
        while self._answered < after:
            await anyio.sleep(0.01)
        self.began = time.monotonic()
        await anyio.to_thread.run_sync(self._begin)
        while len(self.openings) < 3:
            await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(self._end)
        self.ended = time.monotonic()

    def _begin(self) -> None:
        if self._killed:
            self._server.kill()
        else:
            self._server.tell("down")

    def _end(self) -> None:
        if self._killed:
            self._server.start()
        else:
            self._server.tell("up")


@pytest.mark.parametrize("killed", [False, True], ids=["503", "killed"])
@pytest.mark.thorough
async def test_a_full_outage_is_waited_out(killed: bool, tmp_path: Path) -> None:
    """
    While the server answers 503 to all, or is dead, single probes are all that is sent to it.

    The circuit opens within one window of attempts, no record is dead for the outage, and the run
    goes on by itself when the server is back.
    """
    records, in_flight = 800, 64
    breaker = CircuitBreaker(open_for=0.3, open_for_max=0.5)
    with MisbehavingServer(tmp_path, seed=7, faults=False) as server:
        outage = Outage(server, killed=killed)
        limit = AdaptiveLimit(initial=in_flight)
        outcomes: list[Any] = []
        with gp.listen(outage.hear):
            async with anyio.create_task_group() as group:
                group.start_soon(outage.happen, 200)
                outcome = await run(server, records, in_flight, breaker=breaker, concurrency=limit)
                outcomes.append(outcome)
        ((report, answers, dead),) = outcomes
        attempts = Counter(attempt.fate for attempt in server.attempts())
    assert (report.written, report.dead, report.handed_back) == (records, 0, 0)
    assert answers == right_answers(records)
    assert dead == []
    assert report.errors == {}

    probes = (outage.ended - outage.began) / (breaker.open_for * (1 - breaker.jitter)) + 1
    if killed:  # what was in flight failed with it, and nobody is there to count the others
        assert attempts["answered"] <= records + in_flight
        assert outage.failed <= in_flight + breaker.window + probes
    else:
        assert attempts["answered"] == records
        assert attempts["down"] <= breaker.window + probes
