"""`Plan`: what a run would do and cost, as far as that can be known before it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline._chain import Chain
from genai_pipeline._dry_walk import DryWalks
from genai_pipeline._fan_out import FAN_OUT
from genai_pipeline._journal import Claim, Finished, ItemState, Journal
from genai_pipeline._journal_admin import CostLine
from genai_pipeline._lifespan import Lifespan
from genai_pipeline._run_journal import publishes_at_end
from genai_pipeline._versions import fingerprint_of
from genai_pipeline.errors import ConfigurationError, Stopped
from genai_pipeline.money import PriceBook, from_nano
from genai_pipeline.records import Record, accept

if TYPE_CHECKING:
    from genai_pipeline.pipeline import Pipeline

__all__ = ["Plan", "PlanLine", "finished_for", "make_plan"]

_CHUNK = 500
_ENDED: tuple[ItemState, ...] = ("done", "filtered", "dead")
_UNKNOWN = ("unknown", "partial")


@attrs.frozen(kw_only=True)
class PlanLine:
    """What the calls of one stage to one model are expected to be."""

    stage: str
    model: str
    calls: int
    cost: Decimal
    """US dollars."""


@attrs.frozen(kw_only=True)
class Plan:
    """
    What a run would do, told before anything is claimed or sent.

    What the journal knows is exact: *finished*, *reuse*, *unknown*. Which new calls user code will
    make cannot be known without running it, so *new* and *expected_cost* are estimates: unfinished
    records take as many calls of each stage and model, at the same mean cost, as those that have
    ended did. Without any such record they are `None`.

    *worst_cost* is exact, and *likely_cost* an estimate by the requests themselves. Both go no
    further than the next new call of each record that was walked (``sample=``): behind it, nobody
    knows what comes.
    """

    records: int
    """Records that the source delivers."""

    finished: int
    """Those of them that the run would skip."""

    begun: int
    """Those that the journal knows, and that are not finished."""

    reuse: int
    """Answered calls of records that are not finished, to be answered from the journal."""

    unknown: int
    """Calls of theirs that may have been billed without an answer, and none came later."""

    new: int | None
    """New calls that are expected."""

    expected_cost: Decimal | None
    """US dollars for the new calls."""

    sampled: int = 0
    """Records that were walked up to their first new call."""

    next_calls: int = 0
    """How many of those make a new call."""

    worst_cost: Decimal | None = None
    """The most, in US dollars, that these calls can cost together; `None` if one has no bound."""

    likely_cost: Decimal | None = None
    """
    What they are likely to cost: `None` if one has no price, or nothing tells its output.

    Their input is counted by a `TokenEstimator`; their output is the mean of the past calls of
    that stage and model, or else all that they allow.
    """

    lines: tuple[PlanLine, ...] = ()
    """The expected calls by stage and model, the dearest first."""

    def __str__(self) -> str:
        new = "an unknown number" if self.new is None else f"about {self.new}"
        cost = "" if self.expected_cost is None else f" for about ${self.expected_cost:.2f}"
        return (
            f"{self.records} records, {self.finished} finished: {self.reuse} calls to reuse, "
            f"{self.unknown} unknown, {new} new{cost}"
        )


@attrs.define
class _Seen:
    """What is counted while the source is read."""

    records: int = 0
    finished: int = 0
    begun: int = 0
    unknown: int = 0
    reuse: Counter[str] = attrs.field(factory=Counter)
    """Answered calls of unfinished records, by stage."""

    sample: list[tuple[Record[Any], Claim | None]] = attrs.field(factory=list)

    def look(self, records: list[Record[Any]], claims: Mapping[str, Claim], most: int) -> None:
        """Count *records* that are not finished."""
        for record in records:
            claim = claims.get(record.key)
            if claim is not None:
                self.begun += 1
                answered = {call.key for call in claim.calls if call.state == "answered"}
                for call in claim.calls:
                    if call.state == "answered":
                        self.reuse[call.stage] += 1
                    elif call.state in _UNKNOWN and call.key not in answered:
                        self.unknown += 1
            if len(self.sample) < most:
                self.sample.append((record, claim))


async def make_plan(pipeline: Pipeline[Any, Any], sample: int) -> Plan:
    """Answer the plan of *pipeline*; see `Pipeline.plan`."""
    journal, stage = pipeline.journal, pipeline.stage
    if journal is None:
        raise ConfigurationError("Pipeline: plan() needs journal=, where past calls are known")
    chain = _chain_of(stage)
    async with Lifespan() as lifespan:
        await lifespan.enter(journal)
        await lifespan.enter(pipeline.source)
        finished = await finished_for(pipeline, journal)
        seen = await _read(pipeline, journal, finished, sample)
        past = await _past(pipeline, journal)
        lines = await _expected(pipeline, journal, seen, past)
        walks = DryWalks(
            chain=chain,
            journal=journal,
            prices=pipeline.prices or PriceBook(),
            clock=pipeline.clock,
            outputs=dict(_outputs(past)),
        )
        if seen.sample:
            await lifespan.enter(chain)
            await walks.walk_all(seen.sample)
    return Plan(
        records=seen.records,
        finished=seen.finished,
        begun=seen.begun,
        reuse=seen.reuse.total(),
        unknown=seen.unknown,
        new=None if lines is None else sum(line.calls for line in lines),
        expected_cost=None if lines is None else sum((line.cost for line in lines), Decimal(0)),
        sampled=len(seen.sample),
        next_calls=walks.calls,
        worst_cost=walks.worst if seen.sample else None,
        likely_cost=walks.likely if seen.sample else None,
        lines=lines or (),
    )


async def finished_for(pipeline: Pipeline[Any, Any], journal: Journal) -> Finished:
    """Answer the keys of records that a run of *pipeline* would pass by; *journal* is entered."""
    if publishes_at_end(pipeline.sink):
        return await journal.finished(pipeline.name, "")  # the dead ones alone
    marks = _chain_of(pipeline.stage).marks
    return await journal.finished(pipeline.name, fingerprint_of(marks))


def _chain_of(stage: Any) -> Chain:
    return stage if isinstance(stage, Chain) else Chain((stage,), fan_out=FAN_OUT)


async def _read(
    pipeline: Pipeline[Any, Any], journal: Journal, finished: Finished, sample: int
) -> _Seen:
    seen, waiting = _Seen(), list[Record[Any]]()

    async def look() -> None:
        keys = [record.key for record in waiting]
        seen.look(waiting, await journal.past_calls(keys, pipeline.name), sample)
        waiting.clear()

    deliveries: Any = aiter(pipeline.source)
    async with aclosing(deliveries):
        async for delivery in deliveries:
            seen.records += 1
            if delivery.settle is not accept:
                await delivery.settle(Stopped("the record was only looked at, for a plan"))
            if delivery.record.key in finished:
                seen.finished += 1
            elif delivery.error is None:
                waiting.append(delivery.record)
            if len(waiting) >= _CHUNK:
                await look()
    await look()
    return seen


async def _past(pipeline: Pipeline[Any, Any], journal: Journal) -> list[CostLine] | None:
    """Answer what past calls took; `None` when the journal cannot tell."""
    costs = getattr(journal, "costs", None)
    return None if costs is None else list(await costs(("stage", "model"), pipeline=pipeline.name))


def _outputs(past: list[CostLine] | None) -> Iterator[tuple[tuple[str, str], int]]:
    for line in past or ():
        answered = line.calls - line.failed
        if answered > 0:
            mean = math.ceil(line.output_tokens / answered)
            yield (line.group["stage"], line.group["model"]), mean


async def _expected(
    pipeline: Pipeline[Any, Any], journal: Journal, seen: _Seen, past: list[CostLine] | None
) -> tuple[PlanLine, ...] | None:
    counts = await journal.counts(pipeline.name)
    ended = sum(counts.get(state, 0) for state in _ENDED)
    if past is None or not ended:
        return None
    of_stage = Counter[str]()
    for line in past:
        of_stage[line.group["stage"]] += line.calls
    unfinished = seen.records - seen.finished
    found = (_line(line, seen.reuse, of_stage, ended, unfinished) for line in past if line.calls)
    return tuple(sorted(found, key=lambda line: line.cost, reverse=True))


def _line(
    past: CostLine, reuse: Counter[str], of_stage: Counter[str], ended: int, unfinished: int
) -> PlanLine:
    stage = past.group["stage"]
    # What unfinished records have had already is no part of what those that ended took.
    reused = reuse[stage] * past.calls / of_stage[stage]
    each = max(0.0, past.calls - reused) / ended
    calls = max(0, round(each * unfinished - reused))
    mean = from_nano(past.charged) / past.calls
    return PlanLine(stage=stage, model=past.group["model"], calls=calls, cost=calls * mean)
