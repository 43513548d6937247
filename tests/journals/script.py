"""A fixed sequence of operations on a journal, and what can be seen of it afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from genai_pipeline._identity import item_id, record_id
from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Intent,
    ItemEnd,
    RawAnswer,
    RunInfo,
)
from genai_pipeline._journal_admin import COST_NAMES, Selector
from genai_pipeline._journal_tables import Column, TableRows, TableSchema
from genai_pipeline.journals import Sqlite

__all__ = [
    "KEYS",
    "SCRIPT",
    "TABLE",
    "Step",
    "answered",
    "ended",
    "intent",
    "item",
    "look",
    "rows",
    "run_info",
]

Step: TypeAlias = Callable[[Any], Awaitable[Any]]

KEYS = tuple("abcdef")

TABLE = TableSchema("out", (Column("text", "text"), Column("size", "integer", nullable=True)))


def rows(*keys: str, size: int = 300) -> list[TableRows]:
    """Answer what a record leaves in the table: rows of these keys."""
    return [TableRows(TABLE, tuple((key, key * size, size) for key in keys))]


def run_info(began: float = 1.0, fingerprint: str = "f") -> RunInfo:
    return RunInfo(pipeline="p", fingerprint=fingerprint, stages=("map",), began=began, version="1")


def item(key: str, generation: int = 0) -> bytes:
    return item_id(record_id("p", key), generation)


def intent(key: str, hold: int = 9, generation: int = 0) -> Intent:
    return Intent(
        run=1,
        item=item(key, generation),
        stage="map",
        key=bytes(16),
        provider="provider",
        model="model",
        at=2.0,
        deadline=62.0,
        hold=hold,
        budgets=(BudgetUse(budget="run", window="1", cap=1000),),
        labels={"tenant": key},
    )


def answered(size: int, cost: int = 4) -> CallEnd:
    answer = RawAnswer(body=bytes(range(256)) * (size // 256), headers={"a": "b"})
    return CallEnd(state="answered", at=3.0, cost=cost, answer=answer)


def ended(state: Any, at: float = 4.0) -> ItemEnd:
    dead = state == "dead"
    return ItemEnd(
        state=state,
        at=at,
        fingerprint="f",
        error="Refused" if dead else None,
        letter=b'{"payload": 1}' if dead else None,
    )


async def rest(journal: Any) -> None:
    """What the writer's thread does when nobody asks for anything."""
    if isinstance(journal, Sqlite):
        assert journal._file is not None
        journal._file.rest()


def _steps() -> list[Step]:
    steps: list[Step] = [
        lambda journal: journal.open_table(TABLE),
        lambda journal: journal.begin_run(run_info()),
    ]
    for number, key in enumerate(KEYS):
        steps += _of_one(number, key)
        if number % 2:
            steps.append(rest)
    last = len(KEYS) * 2
    return [
        *steps,
        lambda journal: journal.end_call(3, CallEnd(state="abandoned", at=5.0)),
        lambda journal: journal.redrive(Selector()),
        lambda journal: journal.claim(1, "c"),
        lambda journal: journal.begin_call(intent("c", generation=1)),
        lambda journal: journal.end_call(last + 1, answered(512)),
        lambda journal: journal.end_item(item("c", 1), ended("done"), rows=rows("c", "c/1")),
        lambda journal: journal.begin_run(run_info(fingerprint="g")),
        lambda journal: journal.claim(2, "a"),
        lambda journal: journal.end_item(item("a"), ended("done"), rows=rows("a/1", "b")),
        lambda journal: journal.purge(4.5),
        rest,
        lambda journal: journal.end_run(1, "ended", 9.0, {"read": 6}),
    ]


def _of_one(number: int, key: str) -> list[Step]:
    first = 2 * number + 1
    ends: dict[str, Any] = {"a": "done", "b": "filtered", "c": "dead", "d": "held", "e": "ready"}
    steps: list[Step] = [
        lambda journal: journal.claim(1, key),
        lambda journal: journal.begin_call(intent(key)),
        lambda journal: journal.end_call(
            first, CallEnd(state="unknown", at=3.0) if key in "cd" else answered(6144)
        ),
        lambda journal: journal.begin_call(intent(key, hold=5)),
        lambda journal: journal.end_call(
            first + 1, CallEnd(state="void", at=3.0) if key == "a" else answered(256, cost=7)
        ),
    ]
    if key in ends:
        left = rows(*{"a": ("a/0", "a/1"), "b": (), "c": ("c", "c/0")}.get(key, ()))
        left = [] if key in "de" else left
        steps.append(lambda journal: journal.end_item(item(key), ended(ends[key]), rows=left))
    return steps


SCRIPT = _steps()


async def look(journal: Any) -> dict[str, Any]:
    """Answer all that can be seen of a journal."""
    past = await journal.past_calls(KEYS, "p")
    dead = await journal.records(Selector())
    finished = await journal.finished("p", "f")
    return {
        "runs": await journal.runs(),
        "counts": await journal.counts("p"),
        "past": past,
        "finished": [key for key in KEYS if key in finished],
        "answers": {
            call.call: await journal.answer(call.call)
            for claim in past.values()
            for call in claim.calls
            if call.state == "answered"
        },
        "dead": dead,
        "letters": [await journal.letter(record.item) for record in dead],
        "open": await journal.open_calls(),
        "budgets": await journal.budgets(),
        "rows": [await journal.rows(table.name) for table in await journal.tables()],
        "costs": await journal.costs(("tenant", *COST_NAMES)),
    }
