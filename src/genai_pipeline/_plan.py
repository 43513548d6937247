"""`Plan`: what a run would do and cost, as far as that can be known before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from genai_pipeline._chain import Chain, every_mark
from genai_pipeline._dry_walk import DryWalks
from genai_pipeline._expected_calls import ENDED, CallsTaken, PlanLine
from genai_pipeline._fan_out import FAN_OUT
from genai_pipeline._journal import Claim, Finished, Journal
from genai_pipeline._journal_admin import CostLine
from genai_pipeline._lifespan import Lifespan
from genai_pipeline._recorder import stage_key
from genai_pipeline._run_journal import publishes_at_end
from genai_pipeline._versions import fingerprint_of
from genai_pipeline.errors import ConfigurationError, Stopped
from genai_pipeline.money import PriceBook
from genai_pipeline.records import Record, accept

if TYPE_CHECKING:
    from genai_pipeline.pipeline import Pipeline

__all__ = ["Plan", "PlanLine", "finished_for", "make_plan"]

_CHUNK = 500
_RUNS = 1000


@attrs.frozen(kw_only=True)
class Plan:
    """
    What a run would do, told before anything is claimed or sent.

    What the journal knows is exact: *finished*, and *reuse* and *unknown*, which are calls of the
    stages in their versions of today; whether a request will come out the same can be known only by
    running the stage. Nor can it be known which new calls user code will make, so *new* and
    *expected_cost* are estimates: unfinished records take as many calls of each stage and model, at
    the same mean cost, as those that have ended did, in the version they were last worked on in.
    Without any such record they are `None`.

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
    """
    Answered calls of records that are not finished, which are answered from the journal if they
    are asked again.
    """

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

    untried: tuple[str, ...] = ()
    """Stages that no run has had yet: *new* and *expected_cost* know nothing of their calls."""

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

    taken: CallsTaken
    records: int = 0
    finished: int = 0
    begun: int = 0
    sample: list[tuple[Record[Any], Claim | None]] = attrs.field(factory=list)

    def look(self, records: list[Record[Any]], claims: Mapping[str, Claim], most: int) -> None:
        """Count *records* that are not finished."""
        for record in records:
            claim = claims.get(record.key)
            if claim is not None:
                self.begun += 1
                self.taken.see_unfinished(claim)
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
        lines = None if past is None else await _expected(pipeline, journal, seen, past)
        untried = await _untried(pipeline, journal)
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
        reuse=seen.taken.reuse,
        unknown=seen.taken.unknown,
        new=None if lines is None else sum(line.calls for line in lines),
        expected_cost=None if lines is None else sum((line.cost for line in lines), Decimal(0)),
        sampled=len(seen.sample),
        next_calls=walks.calls,
        worst_cost=walks.worst if seen.sample else None,
        likely_cost=walks.likely if seen.sample else None,
        lines=lines or (),
        untried=untried,
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
    taken = CallsTaken(stages=frozenset(map(stage_key, every_mark(_chain_of(pipeline.stage)))))
    seen, waiting, ended = _Seen(taken), list[Record[Any]](), list[str]()

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
                if len(ended) < _CHUNK:
                    ended.append(delivery.record.key)
            elif delivery.error is None:
                waiting.append(delivery.record)
            if len(waiting) >= _CHUNK:
                await look()
    await look()
    for claim in (await journal.past_calls(ended, pipeline.name)).values():
        taken.see_finished(claim)
    return seen


async def _past(pipeline: Pipeline[Any, Any], journal: Journal) -> list[CostLine] | None:
    """Answer what past calls took; `None` when the journal cannot tell."""
    costs = getattr(journal, "costs", None)
    return None if costs is None else list(await costs(("stage", "model"), pipeline=pipeline.name))


async def _untried(pipeline: Pipeline[Any, Any], journal: Journal) -> tuple[str, ...]:
    """Answer the stages that no run has had yet, if there was a run and the journal can tell."""
    runs = getattr(journal, "runs", None)
    past = [] if runs is None else await runs(pipeline=pipeline.name, limit=_RUNS)
    tried = {stage for run in past for stage in run.stages}
    stages = (mark.stage for mark in _chain_of(pipeline.stage).marks)
    return tuple(stage for stage in stages if tried and stage not in tried)


def _outputs(past: list[CostLine] | None) -> Iterator[tuple[tuple[str, str], int]]:
    for line in past or ():
        answered = line.calls - line.failed
        if answered > 0:
            mean = math.ceil(line.output_tokens / answered)
            yield (line.group["stage"], line.group["model"]), mean


async def _expected(
    pipeline: Pipeline[Any, Any], journal: Journal, seen: _Seen, past: list[CostLine]
) -> tuple[PlanLine, ...] | None:
    counts = await journal.counts(pipeline.name)
    ended = sum(counts.get(state, 0) for state in ENDED)
    if not ended:
        return None
    stages = {mark.stage for mark in every_mark(_chain_of(pipeline.stage))}
    past = [line for line in past if line.group["stage"] in stages]
    return tuple(seen.taken.lines(past, ended, seen.records - seen.finished))
