"""Gathered groups in the tables of a journal file: items that are no records, with members."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from genai_pipeline._identity import group_id
from genai_pipeline._journal import Group
from genai_pipeline._lives import Life, taken_up
from genai_pipeline.errors import StorageFailed
from genai_pipeline.journals._sql_records import claimed, life_of, put_life
from genai_pipeline.journals._tables import Tables

__all__ = ["KeptGroup", "forget_groups", "freeze", "group_of"]


@attrs.frozen
class KeptGroup:
    """A group whose body is still as the codec made it."""

    group: Group
    codec: str | None


def freeze(
    tables: Tables, run: int, members: Sequence[bytes], body: tuple[bytes, str | None]
) -> Group:
    """Keep a new group."""
    pipeline, _ = tables.run(run)
    item, (kept, codec) = group_id(tables.spelled(pipeline), members), body
    # Never the latest of a record: whoever looks for records does not see it.
    tables.do(
        "INSERT OR REPLACE INTO item (item, latest, pipeline, state, run) "
        "VALUES (?, 0, ?, 'claimed', ?)",
        item,
        pipeline,
        run,
    )
    tables.do(
        "INSERT OR REPLACE INTO gathered (item, body, digest, codec) VALUES (?, ?, ?, ?)",
        item,
        kept,
        hashlib.blake2b(kept, digest_size=16).digest(),
        codec,
    )
    tables.do_many(
        "INSERT OR REPLACE INTO member (member, item) VALUES (?, ?)",
        ((member, item) for member in members),
    )
    calls = claimed(tables, item, Life(state="claimed", run=run), "claimed", 0).calls
    return Group(item=item, state="claimed", body=kept, calls=calls)


def group_of(tables: Tables, run: int, member: bytes) -> KeptGroup | None:
    """Answer the group of a member, open again if it ended under another fingerprint."""
    row = tables.one(
        "SELECT item, body, digest, codec FROM member JOIN gathered USING (item) WHERE member = ?",
        member,
    )
    if row is None:
        return None
    item, body, digest, codec = row
    if hashlib.blake2b(body, digest_size=16).digest() != digest:
        raise StorageFailed(f"the group {item.hex()} is damaged in the journal")
    _, fingerprint = tables.run(run)
    life = life_of(tables, item)
    taken = taken_up(life, run, tables.spelled(fingerprint))
    if taken is not None:
        put_life(tables, item, taken)
        life = taken
    calls = claimed(tables, item, life, life.state, 0).calls
    group = Group(item=item, state=life.state, body=body, environment=life.environment, calls=calls)
    return KeptGroup(group, codec)


def forget_groups(tables: Tables, before: float) -> list[bytes]:
    """Forget who was gathered into groups that ended *before*; answer which they are."""
    chosen = [
        row[0]
        for row in tables.all(
            "SELECT item FROM item JOIN gathered USING (item) "
            "WHERE ended < ? AND state IN ('done', 'filtered', 'dead') AND NOT EXISTS "
            "(SELECT 1 FROM call WHERE call.state = 'inflight' AND call.item = item.item)",
            before,
        )
    ]
    for item in chosen:
        tables.do("DELETE FROM member WHERE item = ?", item)
        tables.do("DELETE FROM gathered WHERE item = ?", item)
    return chosen
