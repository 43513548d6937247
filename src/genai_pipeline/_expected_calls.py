"""How many calls unfinished records will take, by what those that have ended took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import attrs

from genai_pipeline._journal import Claim, ItemState, PastCall
from genai_pipeline._journal_admin import CostLine
from genai_pipeline._recorder import stage_of_key
from genai_pipeline.money import from_nano

__all__ = ["ENDED", "CallsTaken", "PlanLine"]

ENDED: tuple[ItemState, ...] = ("done", "filtered", "dead")
"""Where records have come to an end, if under other stages than today's."""

_UNKNOWN = ("unknown", "partial")
_LOST = (*_UNKNOWN, "abandoned")


@attrs.frozen(kw_only=True)
class PlanLine:
    """What the calls of one stage to one model are expected to be."""

    stage: str
    model: str
    calls: int
    cost: Decimal
    """US dollars."""


@attrs.frozen
class _Versions:
    """Calls of records that have ended, by stage."""

    all: Counter[str] = attrs.field(factory=Counter)
    last: Counter[str] = attrs.field(factory=Counter)
    """Those of the version that came last, without lost ones: what would be taken once more."""

    def add(self, calls: Sequence[PastCall]) -> None:
        latest = {call.stage: stage_of_key(call.key) for call in calls}
        for call in calls:
            self.all[call.stage] += 1
            if stage_of_key(call.key) == latest[call.stage]:
                self.last[call.stage] += call.state not in _LOST

    def share(self, stage: str) -> float:
        """Answer what part of all calls those of the last version are."""
        return self.last[stage] / self.all[stage] if self.all[stage] else 1.0


@attrs.define(kw_only=True)
class CallsTaken:
    """Counts the calls that are known of records, and answers how many are to come."""

    stages: Collection[bytes]
    """What the keys of calls begin with that the stages of today, in their versions, make."""

    unknown: int = 0
    """Calls of unfinished records that may have been billed, and none was answered later."""

    _reused: Counter[str] = attrs.field(factory=Counter)
    _open: Counter[str] = attrs.field(factory=Counter)
    """All calls of records that never ended."""

    _lost: Counter[str] = attrs.field(factory=Counter)
    """Calls of unfinished records that may have been billed without an answer."""

    _held: Counter[str] = attrs.field(factory=Counter)
    """What these count with, in nano-dollars."""

    _finished: _Versions = attrs.field(factory=_Versions)
    """Of some finished records; they stand for all."""

    _again: _Versions = attrs.field(factory=_Versions)
    """Of records that have ended, and go through again."""

    @property
    def reuse(self) -> int:
        """Answered calls of unfinished records that the stages of today make."""
        return self._reused.total()

    def see_finished(self, claim: Claim) -> None:
        """Note what a record took that is passed by."""
        self._finished.add(claim.calls)

    def see_unfinished(self, claim: Claim) -> None:
        """Note what a record has taken that is worked on."""
        current = [call for call in claim.calls if stage_of_key(call.key) in self.stages]
        answered = {call.key for call in current if call.state == "answered"}
        for call in current:
            self._reused[call.stage] += call.state == "answered"
            self.unknown += call.state in _UNKNOWN and call.key not in answered
        for call in claim.calls:
            if call.state in _LOST:
                self._lost[call.stage] += 1
                self._held[call.stage] += call.hold
        if claim.state in ENDED:
            self._again.add(claim.calls)
        else:
            self._open.update(call.stage for call in claim.calls)

    def lines(self, past: Iterable[CostLine], ended: int, unfinished: int) -> list[PlanLine]:
        """
        Answer what *unfinished* records are expected to take, the dearest first.

        *past* has the calls of all records, of which *ended* have come to an end.
        """
        past = [line for line in past if line.calls]
        of_stage = Counter[str]()
        for line in past:
            of_stage[line.group["stage"]] += line.calls
        found = []
        for line in past:
            stage, model = line.group["stage"], line.group["model"]
            part = line.calls / of_stage[stage]
            each = self._each(stage, of_stage[stage], ended)
            calls = max(0, round(part * (each * unfinished - self._reused[stage])))
            lost = part * self._lost[stage]
            charged, of = line.charged - round(part * self._held[stage]), line.calls - lost
            if of < 1:  # nothing else is known
                charged, of = line.charged, line.calls
            cost = from_nano(round(max(0, charged) * calls / of))
            found.append(PlanLine(stage=stage, model=model, calls=calls, cost=cost))
        return sorted(found, key=lambda line: line.cost, reverse=True)

    def _each(self, stage: str, calls: int, ended: int) -> float:
        """Answer how many calls of *stage* a record that has ended took, in one version."""
        again = self._again
        finished = max(0, calls - self._open[stage] - again.all[stage])
        return (finished * self._finished.share(stage) + again.last[stage]) / ended
