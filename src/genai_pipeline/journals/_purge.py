"""Forgetting what records were that ended long ago, in the tables of a journal file."""

from __future__ import annotations

import json
from collections import Counter

from genai_pipeline._journal_admin import Purged
from genai_pipeline.journals._sql_groups import ended_groups, forget_group
from genai_pipeline.journals._sql_keeper import COSTS_OF_CALLS
from genai_pipeline.journals._sql_records import span
from genai_pipeline.journals._tables import Tables

__all__ = ["forget", "purge", "would_purge"]

_ALL = -1


def purge(tables: Tables, before: float, pipeline: str | None, limit: int) -> Purged:
    """Forget at most *limit* records, and count them; those with calls under way stay."""
    # What is dropped here does not stay readable in pages that are free.
    tables.all("PRAGMA secure_delete = ON")
    chosen = _ended(tables, before, pipeline, limit)
    calls = sum(forget(tables, *span(item[:-2])) for item in chosen)
    for item in ended_groups(tables, before):
        calls += forget(tables, item, item)
        forget_group(tables, item)
    tables.do("INSERT OR REPLACE INTO meta VALUES ('last_call', ?)", tables.last_call)
    return Purged(records=len(chosen), calls=calls)


def would_purge(tables: Tables, before: float, pipeline: str | None) -> Purged:
    """Count what `purge` would forget, and leave it."""
    chosen = _ended(tables, before, pipeline, _ALL)
    spans = [span(item[:-2]) for item in chosen]
    spans += [(item, item) for item in ended_groups(tables, before)]
    counted = (
        tables.one("SELECT count(*) FROM call WHERE item BETWEEN ? AND ?", *each)[0]
        for each in spans
    )
    return Purged(records=len(chosen), calls=sum(counted))


def _ended(tables: Tables, before: float, pipeline: str | None, limit: int) -> list[bytes]:
    rows = tables.all(
        "SELECT item FROM item WHERE latest AND key IS NOT NULL AND ended < ? "
        "AND state IN ('done', 'filtered', 'dead') AND (? IS NULL OR pipeline = ?) "
        "AND NOT EXISTS (SELECT 1 FROM call WHERE call.state = 'inflight' "
        "AND substr(call.item, 1, 14) = substr(item.item, 1, 14)) LIMIT ?",
        before,
        pipeline,
        tables.known(pipeline or ""),
        limit,
    )
    return [row[0] for row in rows]


def forget(tables: Tables, first: bytes, last: bytes) -> int:
    """Forget what the items from *first* to *last* were, but for their cost; count their calls."""
    whole = "WHERE item BETWEEN ? AND ?"
    tables.do(
        "INSERT INTO past_cost (run, stage, provider, model, labels, calls, failed, unknown, "  # noqa: S608
        "charged, failed_charged, input_tokens, output_tokens, cached_tokens, "
        "cache_write_tokens, reasoning_tokens, owner) SELECT *, "
        "(SELECT max(owner) FROM item WHERE item BETWEEN ? AND ?) "
        f"FROM ({COSTS_OF_CALLS.format(where='AND item BETWEEN ? AND ?')})",
        first,
        last,
        first,
        last,
    )
    charged: Counter[int] = Counter()
    rows = tables.all(f"SELECT call, charged, budgets FROM call {whole}", first, last)  # noqa: S608
    for _, amount, budgets in rows:
        for number in json.loads(budgets) if budgets else ():
            charged[number] += amount
    for number, amount in charged.items():
        tables.do("UPDATE budget SET purged = purged + ? WHERE id = ?", amount, number)
    tables.do_many("DELETE FROM answer WHERE call = ?", ((row[0],) for row in rows))
    tables.do(f"DELETE FROM call {whole}", first, last)  # noqa: S608
    tables.do(f"DELETE FROM ending {whole}", first, last)  # noqa: S608
    tables.do(f"UPDATE item SET key = NULL {whole}", first, last)  # noqa: S608
    return len(rows)
