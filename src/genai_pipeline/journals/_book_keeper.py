"""What people ask of the book behind `Memory`."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from genai_pipeline._costs import CostPart, grouped
from genai_pipeline._group_body import is_whole, records_of
from genai_pipeline._identity import generation_of, item_id
from genai_pipeline._journal import CallEnd
from genai_pipeline._journal_admin import (
    BudgetLine,
    CostLine,
    KeptRecord,
    OpenCall,
    Purged,
    RunSummary,
    Selector,
)
from genai_pipeline._ledger import settle
from genai_pipeline._lives import ENDED, Life, put_back
from genai_pipeline.journals._book import Book, BookCall, BookItem

__all__ = ["Keeper", "part_of", "was_made"]


@attrs.define(eq=False)
class Keeper:
    """Looks after a book; each method is one commit."""

    book: Book
    past_costs: list[tuple[str | None, CostPart]] = attrs.field(factory=list)
    """Of calls that were purged, with whose they were."""

    def runs(self, pipeline: str | None, limit: int) -> list[RunSummary]:
        known = [
            run
            for run in reversed(self.book.runs.values())
            if pipeline in {None, run.info.pipeline}
        ]
        return [
            RunSummary(
                run=run.number,
                pipeline=run.info.pipeline,
                fingerprint=run.info.fingerprint,
                version=run.info.version,
                began=run.info.began,
                ended=run.ended,
                state=run.state,
                counts=run.counts,
                stages=run.info.stages,
            )
            for run in known[:limit]
        ]

    def _selected(self, which: Selector) -> list[BookItem]:
        latest = (generations[-1] for generations in self.book.records.values())
        return [item for item in latest if _fits(item, which)]

    def records(self, which: Selector, limit: int) -> list[KeptRecord]:
        found = [_kept(item) for item in self._selected(which)]
        return sorted(found, key=lambda kept: (-kept.at, kept.item))[:limit]

    def letter(self, item: bytes) -> bytes | None:
        known = self.book.items.get(item)
        return None if known is None or known.end is None else known.end.letter

    def open_calls(self, pipeline: str | None, limit: int) -> list[OpenCall]:
        found = []
        for call in self.book.calls.values():
            item = self.book.items[call.intent.item]
            if call.state == "unknown" and pipeline in {None, item.pipeline}:
                found.append(_open(call, item))
        return found[:limit]

    def redrive(self, which: Selector, *, reuse: bool) -> int:
        chosen = self._selected(which)
        for item in chosen:
            generation = generation_of(item.item) + 1
            again = BookItem(item_id(item.item[:-2], generation), item.pipeline, item.key)
            again.life = Life(run=item.life.run)
            again.reuses_from = item.reuses_from if reuse else generation
            again.subject = item.subject
            self.book.add(again)
        redriven = {item.item[:-2] for item in chosen} if reuse else set()
        for group in self.book.bodies:
            life = self.book.items[group].life
            if life.state == "dead" and is_whole(group, self.book.bodies.get, redriven):
                self.book.items[group].life = put_back(life)
        return len(chosen)

    def release(self, which: Selector) -> int:
        chosen = self._selected(which)
        released = {item.item for item in chosen}
        for item in chosen:
            item.life = put_back(item.life)
            self._give_up(item.item)
        for group in self.book.bodies:
            if released & records_of(group, self.book.bodies.get):
                self._give_up(group)
        return len(chosen)

    def _give_up(self, item: bytes) -> None:
        for call in self.book.calls_of.get(item[:-2], ()):
            end = CallEnd(state="abandoned", at=call.intent.at)
            change = settle(call.state, call.intent.hold, call.charged, end)
            if call.state == "unknown" and change is not None:
                call.state = change.state

    def costs(self, by: Sequence[str], pipeline: str | None, run: int | None) -> list[CostLine]:
        made = (part_of(call, self.book) for call in self.book.calls.values() if was_made(call))
        parts = [*(part for _, part in self.past_costs), *made]
        return grouped(
            (
                part
                for part in parts
                if pipeline in {None, part.pipeline} and run in {None, part.run}
            ),
            by,
        )

    def budgets(self) -> list[BudgetLine]:
        return [
            BudgetLine(
                budget=account.budget,
                window=account.window,
                cap=account.cap,
                reserved=account.reserved,
                spent=account.spent,
                overrun=account.left < 0,
            )
            for _, account in sorted(self.book.accounts.items())
        ]

    def purge(self, before: float, pipeline: str | None, *, dry_run: bool) -> Purged:
        records = calls = 0
        for record, generations in self.book.records.items():
            item = generations[-1]
            old = item.end is not None and item.end.at < before and item.life.state in ENDED
            past = self.book.calls_of.get(record, [])
            running = any(call.state == "inflight" for call in past)
            if not old or running or item.key is None or pipeline not in {None, item.pipeline}:
                continue
            records, calls = records + 1, calls + len(past)
            if dry_run:
                continue
            self.past_costs.extend(
                (item.subject, part_of(call, self.book)) for call in past if was_made(call)
            )
            for each in generations:
                _forget(each)
            for call in self.book.calls_of.pop(record, []):
                del self.book.calls[call.number]
        return Purged(records=records, calls=calls)


def _fits(item: BookItem, which: Selector) -> bool:
    end = item.end
    if item.life.state != which.state or end is None:
        return False
    wanted = (
        (which.pipeline, item.pipeline),
        (which.stage, end.stage),
        (which.error, end.error),
        (which.category, end.category),
    )
    return (
        all(asked is None or asked == have for asked, have in wanted)
        and (not which.keys or item.key in which.keys)
        and (which.since is None or end.at >= which.since)
        and (which.until is None or end.at < which.until)
    )


def _kept(item: BookItem) -> KeptRecord:
    assert item.end is not None
    return KeptRecord(
        item=item.item,
        pipeline=item.pipeline,
        key=item.key,
        generation=generation_of(item.item),
        state=item.life.state,
        at=item.end.at,
        stage=item.end.stage,
        error=item.end.error,
        message=item.end.message,
        category=item.end.category,
        attempts=item.life.attempts,
        environment=item.life.environment,
        crashes=item.life.crashes,
    )


def _open(call: BookCall, item: BookItem) -> OpenCall:
    return OpenCall(
        call=call.number,
        item=item.item,
        key=item.key,
        run=call.intent.run,
        stage=call.intent.stage,
        provider=call.intent.provider,
        model=call.intent.model,
        at=call.intent.at,
        state=call.state,
        charged=call.charged,
    )


def was_made(call: BookCall) -> bool:
    """Whether a call counts in costs."""
    return call.state not in {"inflight", "void"}


def part_of(call: BookCall, book: Book) -> CostPart:
    """Answer what a call cost."""
    usage = call.end.usage if call.end is not None else None
    failed = call.state != "answered" or (call.end is not None and call.end.error is not None)
    tokens = [
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    ]
    return CostPart(
        pipeline=book.runs[call.intent.run].info.pipeline,
        run=call.intent.run,
        stage=call.intent.stage,
        provider=call.intent.provider,
        model=call.intent.model,
        labels=call.intent.labels,
        sums=(
            1,
            int(failed),
            int(call.state == "unknown"),
            call.charged,
            call.charged if failed else 0,
            *(0 if usage is None else getattr(usage, name) for name in tokens),
        ),
    )


def _forget(item: BookItem) -> None:
    item.key = None
    if item.end is not None:
        item.end = attrs.evolve(
            item.end, message=None, letter=None, error=None, stage=None, category=None
        )
