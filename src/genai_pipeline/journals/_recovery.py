"""What is done when a journal file is entered: whose it was, and what was left in it."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import Any

import attrs

from genai_pipeline._ledger import given_up
from genai_pipeline._lives import Life, left_behind
from genai_pipeline.journals._sql_calls import apply
from genai_pipeline.journals._tables import Tables

__all__ = ["Owner", "commits", "leave", "take_over"]


@attrs.frozen(kw_only=True)
class Owner:
    """The process that has a journal."""

    pid: int
    host: str
    boot: str
    """Tells one start of the machine from another."""

    since: float
    """Wall time."""


def _get(tables: Tables, name: str) -> Any:
    row = tables.one("SELECT value FROM meta WHERE name = ?", name)
    return None if row is None else row[0]


def _set(tables: Tables, name: str, value: object) -> None:
    tables.do("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", name, value)


def take_over(tables: Tables, owner: Owner) -> str:
    """
    Put in order what an earlier owner left; answer the journal's own name.

    What is left by an owner that went down with its machine is no fault of any record.
    """
    name = _get(tables, "journal")
    new = name is None
    if name is None:
        name = uuid.uuid4().hex
        _set(tables, "journal", name)
    if _get(tables, "salt") is None:
        _set(tables, "salt", secrets.token_bytes(32))
    tables.vault.enter(tables, name, new=new)
    before = _get(tables, "owner")
    died = before is not None and json.loads(before)["boot"] == owner.boot
    for call, hold, budgets in tables.all(
        "SELECT call, hold, budgets FROM call WHERE state = 'inflight' ORDER BY call"
    ):
        apply(tables, call, given_up(hold), budgets)
    for item, crashes in tables.all("SELECT item, crashes FROM item WHERE state = 'claimed'"):
        life = left_behind(Life(state="claimed", crashes=crashes), died=died)
        tables.do(
            "UPDATE item SET state = ?, crashes = ? WHERE item = ?", life.state, life.crashes, item
        )
    over = "stopped" if before is None else "died"
    tables.do("UPDATE run SET state = ? WHERE state = 'running'", over)
    _set(tables, "owner", json.dumps(attrs.asdict(owner)))
    return str(name)


def leave(tables: Tables) -> None:
    """Note that the owner left in order: who comes next finds no crash."""
    tables.do("DELETE FROM meta WHERE name = 'owner'")


def commits(tables: Tables) -> int:
    """Answer how many commits are in the file: by it, lost and doubtful ones are found."""
    return int(_get(tables, "commits") or 0)
