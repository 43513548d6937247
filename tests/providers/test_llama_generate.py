"""`generate` with llama.cpp's real server: every record is a valid value or a typed failure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
import pytest
from annotated_types import MaxLen

import genai_pipeline as gp
from genai_pipeline.providers import OpenAI
from tests.engine.doubles import Ledger

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

TOPICS = ("billing", "bug report", "praise")
RECORDS = 200


@attrs.frozen
class Ticket:
    """What a customer wrote."""

    number: int
    text: str


@attrs.frozen
class Filed:
    """What a ticket is about."""

    topic: Literal["billing", "bug report", "praise"]
    urgency: Literal[1, 2, 3]
    angry: bool
    reason: Annotated[str, MaxLen(12)]


def filing(url: str, seed: int, **options: Any) -> gp.Stage[Ticket, Filed]:
    """Answer the stage that files tickets by a model of random weights."""
    return gp.generate(
        gp.resilient(OpenAI("tiny", base_url=url)),
        prompt="File ticket {number}: {text}",
        input=Ticket,
        output=Filed,
        extra={"seed": seed},
        **options,
    )


async def run(
    stage: gp.Stage[Ticket, Filed], records: int
) -> tuple[gp.Report, list[Any], list[Any]]:
    """Answer the report, what was written, and the dead letters."""
    tickets = [Ticket(number, "Where is my money?") for number in range(records)]
    source = Ledger(tickets)
    written: gp.sinks.Collect[Filed] = gp.sinks.Collect()
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()
    report = await gp.Pipeline(
        source=source,
        stage=stage,
        sink=written,
        dead_letters=dead,
        max_in_flight=16,
        max_failures=None,
    ).run()
    report.check()
    assert set(source.settled) == {str(number) for number in range(records)}
    return report, written.values, dead.values


async def test_every_record_is_filed_or_fails_by_name(llama: str) -> None:
    """Of 200 records each becomes a valid value, or a dead letter that says what went wrong."""
    report, filed, dead = await run(filing(llama, 1, max_output_tokens=120), RECORDS)
    assert report.written + report.dead == report.read == RECORDS
    assert len(filed) == report.written > RECORDS // 2
    assert len(dead) == report.dead == report.failed
    assert {letter.error.rpartition(".")[2] for letter in dead} <= {"Truncated", "InvalidAnswer"}
    for each in filed:
        assert isinstance(each, Filed)
        assert each.topic in TOPICS
        assert each.urgency in (1, 2, 3)
        assert isinstance(each.angry, bool)
        assert len(each.reason) <= 12
    assert report.calls - report.failed_calls >= report.written


async def test_a_limit_that_is_too_small_is_raised_once(llama: str) -> None:
    """Documents that do not fit get more room once; what is cut again is `Truncated`."""
    report, filed, dead = await run(filing(llama, 2, max_output_tokens=24, raise_cap=8), 20)
    assert report.mended["cap_raised"] == 20
    assert len(filed) >= 10
    assert {letter.error.rpartition(".")[2] for letter in dead} <= {"Truncated", "InvalidAnswer"}
    report, filed, _ = await run(filing(llama, 2, max_output_tokens=12, raise_cap=1), 5)
    assert (filed, report.errors) == ([], {"Truncated": 5})


async def test_without_a_schema_random_words_fail_by_name(llama: str) -> None:
    """Asked in words, random weights answer nonsense: each record is asked again, and fails."""
    report, filed, dead = await run(
        filing(llama, 3, mode="prompt", max_output_tokens=20, raise_cap=1), 10
    )
    assert (filed, len(dead)) == ([], 10)
    assert set(report.errors) <= {"Truncated", "InvalidAnswer"}
    assert report.mended.get("reasked", 0) == report.calls - 10
