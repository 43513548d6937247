"""Forgetting what records were that ended long ago, in the tables of a journal file."""

from __future__ import annotations

import json
from collections import Counter

from genai_pipeline._journal_admin import Purged
from genai_pipeline.journals._sql_groups import forget_groups
from genai_pipeline.journals._sql_keeper import COSTS_OF_CALLS
from genai_pipeline.journals._sql_records import span
from genai_pipeline.journals._tables import Tables

__all__ = ["purge"]


def purge(tables: Tables, before: float, pipeline: str | None, limit: int) -> Purged:
    """Forget at most *limit* records, and count them; those with calls under way stay."""
    chosen = tables.all(
        "SELECT item FROM item WHERE latest AND key IS NOT NULL AND ended < ? "
        "AND state IN ('done', 'filtered', 'dead') AND (? IS NULL OR pipeline = ?) "
        "AND NOT EXISTS (SELECT 1 FROM call WHERE call.state = 'inflight' "
        "AND substr(call.item, 1, 14) = substr(item.item, 1, 14)) LIMIT ?",
        before,
        pipeline,
        tables.known(pipeline or ""),
        limit,
    )
    calls = sum(_forget(tables, *span(item[:-2])) for (item,) in chosen)
    calls += sum(_forget(tables, item, item) for item in forget_groups(tables, before))
    tables.do("INSERT OR REPLACE INTO meta VALUES ('last_call', ?)", tables.last_call)
    return Purged(records=len(chosen), calls=calls)


def _forget(tables: Tables, first: bytes, last: bytes) -> int:
    whole = "WHERE item BETWEEN ? AND ?"
    tables.do(
        "INSERT INTO past_cost (run, stage, provider, model, labels, calls, failed, unknown, "
        "charged, failed_charged, input_tokens, output_tokens, cached_tokens, "
        "cache_write_tokens, reasoning_tokens) "
        + COSTS_OF_CALLS.format(where="AND item BETWEEN ? AND ?"),
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
