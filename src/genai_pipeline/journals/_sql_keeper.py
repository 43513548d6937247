"""What people ask of the tables of a journal file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from genai_pipeline._costs import CostPart, grouped
from genai_pipeline._group_body import is_whole, records_of
from genai_pipeline._identity import generation_of, item_id
from genai_pipeline._journal import CallEnd
from genai_pipeline._journal_admin import (
    BudgetLine,
    CostLine,
    KeptRecord,
    OpenCall,
    RunSummary,
    Selector,
)
from genai_pipeline._ledger import settle
from genai_pipeline.errors import StorageFailed
from genai_pipeline.journals._sql_groups import body_of
from genai_pipeline.journals._sql_records import key_of, span
from genai_pipeline.journals._tables import Tables

__all__ = ["budgets", "costs", "letter", "open_calls", "records", "redrive", "release", "runs"]


def runs(tables: Tables, pipeline: str | None, limit: int) -> list[RunSummary]:
    """Answer the latest runs."""
    rows = tables.all(
        "SELECT run, pipeline, fingerprint, version, began, ended, state, counts, stages "
        "FROM run WHERE ? IS NULL OR pipeline = ? ORDER BY run DESC LIMIT ?",
        pipeline,
        tables.known(pipeline or ""),
        limit,
    )
    return [
        RunSummary(
            run=run,
            pipeline=tables.spelled(name),
            fingerprint=tables.spelled(fingerprint),
            version=version,
            began=began,
            ended=ended,
            state=state,
            counts=json.loads(counts),
            stages=tuple(json.loads(stages)),
        )
        for run, name, fingerprint, version, began, ended, state, counts, stages in rows
    ]


def _selected(tables: Tables, columns: str, which: Selector) -> list[Any]:
    def number(text: str | None) -> int | None:
        return None if text is None else tables.known(text)

    conditions = {
        "item.pipeline = ?": number(which.pipeline),
        "ending.stage = ?": number(which.stage),
        "ending.error = ?": number(which.error),
        "ending.category = ?": number(which.category),
        "item.ended >= ?": which.since,
        "item.ended < ?": which.until,
    }
    asked = {sql: value for sql, value in conditions.items() if value is not None}
    rows = tables.all(
        f"SELECT item.key, item.item, {columns} FROM item LEFT JOIN ending USING (item) "  # noqa: S608
        f"WHERE {' AND '.join(('item.state = ? AND item.latest', *asked))} "
        "ORDER BY item.ended DESC, item.item",
        which.state,
        *asked.values(),
    )
    return [row for row in rows if not which.keys or key_of(tables, row[1], row[0]) in which.keys]


def records(tables: Tables, which: Selector, limit: int) -> list[KeptRecord]:
    """Answer dead or held records."""
    rows = _selected(
        tables,
        "item.pipeline, item.ended, ending.stage, ending.error, ending.message, "
        "ending.category, attempts, environment, crashes",
        which,
    )
    return [
        KeptRecord(
            item=item,
            pipeline=tables.spelled(pipeline),
            key=key_of(tables, item, key),
            generation=generation_of(item),
            state=which.state,
            at=at,
            stage=tables.text(stage),
            error=tables.text(error),
            message=message and tables.vault.open_text(message, f"message of {item.hex()}"),
            category=tables.text(category),
            attempts=attempts,
            environment=environment,
            crashes=crashes,
        )
        for key, item, pipeline, at, stage, error, message, category, *counts in rows[:limit]
        for attempts, environment, crashes in (counts,)
    ]


def letter(tables: Tables, item: bytes) -> bytes | None:
    """Answer the dead letter of a record, after checking that it is whole."""
    row = tables.one("SELECT letter, digest, codec FROM ending WHERE item = ?", item)
    if row is None or row[0] is None:
        return None
    body, digest, codec = row
    if hashlib.blake2b(body, digest_size=16).digest() != digest:
        raise StorageFailed(f"the dead letter of {item.hex()} is damaged")
    return tables.vault.open_body(body, codec, f"letter {item.hex()}")


def open_calls(tables: Tables, pipeline: str | None, limit: int) -> list[OpenCall]:
    """Answer the calls of which nobody knows whether they were billed."""
    rows = tables.all(
        "SELECT call, call.item, item.key, call.run, stage, provider, model, at, charged "
        "FROM call LEFT JOIN item USING (item) WHERE call.state = 'unknown' "
        "AND (? IS NULL OR item.pipeline = ?) ORDER BY call LIMIT ?",
        pipeline,
        tables.known(pipeline or ""),
        limit,
    )
    return [
        OpenCall(
            call=call,
            item=item,
            key=key_of(tables, item, key),
            run=run,
            stage=tables.spelled(stage),
            provider=tables.spelled(provider),
            model=tables.spelled(model),
            at=at,
            state="unknown",
            charged=charged,
        )
        for call, item, key, run, stage, provider, model, at, charged in rows
    ]


def redrive(tables: Tables, which: Selector, *, reuse: bool) -> int:
    """Begin a new generation of dead records."""
    chosen = _selected(tables, "item.pipeline, item.run, item.reuses_from, item.owner", which)
    for key, item, pipeline, run, reuses_from, owner in chosen:
        generation = generation_of(item) + 1
        tables.do("UPDATE item SET latest = 0 WHERE item = ?", item)
        tables.do(
            "INSERT INTO item (item, latest, pipeline, key, state, run, reuses_from, owner) "
            "VALUES (?, 1, ?, ?, 'ready', ?, ?, ?)",
            item_id(item[:-2], generation),
            pipeline,
            key,
            run,
            reuses_from if reuse else generation,
            owner,
        )
    if reuse:
        _open_again(tables, {item[:-2] for _, item, *_ in chosen})
    return len(chosen)


def _open_again(tables: Tables, redriven: set[bytes]) -> None:
    """Let go on as they were those dead lists of which all records are redriven."""
    dead = "SELECT item FROM item JOIN gathered USING (item) WHERE item.state = 'dead'"
    for (group,) in tables.all(dead):
        if is_whole(group, partial(body_of, tables), redriven):
            tables.do("UPDATE item SET state = 'ready', resumes = 0 WHERE item = ?", group)


def release(tables: Tables, which: Selector) -> int:
    """Let held records be worked on again, and give their unknown calls up."""
    chosen = _selected(tables, "item.state", which)
    released = {item for _, item, _ in chosen}
    for item in released:
        tables.do("UPDATE item SET state = 'ready', resumes = 0 WHERE item = ?", item)
        _give_up(tables, item)
    for (group,) in tables.all(
        "SELECT DISTINCT item FROM call JOIN gathered USING (item) WHERE call.state = 'unknown'"
    ):
        if released & records_of(group, partial(body_of, tables)):
            _give_up(tables, group)
    return len(chosen)


def _give_up(tables: Tables, item: bytes) -> None:
    """Give up the unknown calls of a record or a group."""
    for call, hold, charged in tables.all(
        "SELECT call, hold, charged FROM call WHERE state = 'unknown' AND item BETWEEN ? AND ?",
        *span(item[:-2]),
    ):
        change = settle("unknown", hold, charged, CallEnd(state="abandoned", at=0.0))
        assert change is not None
        tables.do("UPDATE call SET state = ? WHERE call = ?", change.state, call)


_SUMS = """
    count(*), sum(call.state <> 'answered' OR call.error IS NOT NULL),
    sum(call.state = 'unknown'), sum(charged),
    sum(iif(call.state <> 'answered' OR call.error IS NOT NULL, charged, 0)),
    sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(cache_write_tokens),
    sum(reasoning_tokens)
"""
COSTS_OF_CALLS = (
    f"SELECT run, stage, provider, model, labels, {_SUMS} FROM call "  # noqa: S608
    "WHERE state NOT IN ('inflight', 'void') {where} GROUP BY run, stage, provider, model, labels"
)
_PAST_COSTS = (
    "SELECT run, stage, provider, model, labels, calls, failed, unknown, charged, "
    "failed_charged, input_tokens, output_tokens, cached_tokens, cache_write_tokens, "
    "reasoning_tokens FROM past_cost"
)


def costs(
    tables: Tables, by: Sequence[str], pipeline: str | None, run: int | None
) -> list[CostLine]:
    """Answer what calls cost by any names."""
    of_run = dict(tables.all("SELECT run, text FROM run JOIN word ON word.id = run.pipeline"))
    rows = tables.all(f"{COSTS_OF_CALLS.format(where='')} UNION ALL {_PAST_COSTS}")
    return grouped(
        (
            CostPart(
                pipeline=of_run[number],
                run=number,
                stage=tables.spelled(stage),
                provider=tables.spelled(provider),
                model=tables.spelled(model),
                labels=tables.labels(labels),
                sums=tuple(sums),
            )
            for number, stage, provider, model, labels, *sums in rows
            if run in {None, number} and pipeline in {None, of_run[number]}
        ),
        by,
    )


def budgets(tables: Tables) -> list[BudgetLine]:
    """Answer all budgets in all their windows."""
    found = [
        BudgetLine(
            budget=tables.vault.open_word(budget, "budget"),
            window=window,
            cap=cap,
            reserved=reserved,
            spent=spent,
            overrun=bool(overrun),
        )
        for budget, window, cap, reserved, spent, overrun in tables.all(
            "SELECT budget, window, cap, reserved, spent, overrun FROM budget"
        )
    ]
    return sorted(found, key=lambda line: (line.budget.encode(), line.window))
