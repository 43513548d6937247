"""Gathered groups in the tables of a journal file: items that are no records, with members."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from genai_pipeline._identity import group_id
from genai_pipeline._journal import Group
from genai_pipeline._lives import Life, taken_up
from genai_pipeline.errors import StorageFailed
from genai_pipeline.journals._sql_records import claimed, life_of, put_life
from genai_pipeline.journals._tables import Tables

__all__ = ["body_of", "drop_group", "ended_groups", "forget_group", "freeze", "group_of"]


def freeze(
    tables: Tables, run: int, members: Sequence[bytes], body: bytes, items: Collection[bytes]
) -> Group:
    """Keep a new group."""
    pipeline, _ = tables.run(run)
    members = [_blinded(tables, member) for member in members]
    item = group_id(tables.spelled(pipeline), members)
    owner = _owner_of_group(tables, item, items) if items else None
    # Never the latest of a record: whoever looks for records does not see it.
    tables.do(
        "INSERT OR REPLACE INTO item (item, latest, pipeline, state, run, owner) "
        "VALUES (?, 0, ?, 'claimed', ?, ?)",
        item,
        pipeline,
        run,
        owner,
    )
    kept, codec = tables.vault.body(owner or 0, body, f"group {item.hex()}")
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
    return Group(item=item, state="claimed", body=body, calls=calls)


def _blinded(tables: Tables, member: bytes) -> bytes:
    """Answer what stands for a member where what it is made of must not be guessed."""
    secret = tables.vault.secret
    return hashlib.blake2b(member, digest_size=16, key=secret).digest() if secret else member


def _owner_of_group(tables: Tables, item: bytes, items: Collection[bytes]) -> int | None:
    """Note the subjects of a group; answer its owner: its only subject, or else itself."""
    subjects: set[int] = set()
    for each in sorted(items):
        owners = tables.all(
            "SELECT owner FROM group_subject WHERE item = ? UNION "
            "SELECT owner FROM item WHERE item = ? AND owner IS NOT NULL AND latest",
            each,
            each,
        )
        subjects.update(row[0] for row in owners)
    if not subjects:
        return None
    tables.do_many(
        "INSERT OR IGNORE INTO group_subject (item, owner) VALUES (?, ?)",
        ((item, subject) for subject in sorted(subjects)),
    )
    if len(subjects) == 1:
        return subjects.pop()
    known = tables.one("SELECT owner FROM owner WHERE name = ?", item)
    return tables.new_owner(item) if known is None else int(known[0])


def body_of(tables: Tables, item: bytes) -> bytes | None:
    """Answer what is kept with a group; `None` for what is none."""
    row = tables.one("SELECT body, digest, codec FROM gathered WHERE item = ?", item)
    return None if row is None else _opened(tables, item, *row)


def _opened(tables: Tables, item: bytes, body: bytes, digest: bytes, codec: str | None) -> bytes:
    if hashlib.blake2b(body, digest_size=16).digest() != digest:
        raise StorageFailed(f"the group {item.hex()} is damaged in the journal")
    return tables.vault.open_body(body, codec, f"group {item.hex()}")


def group_of(tables: Tables, run: int, member: bytes) -> Group | None:
    """Answer the group of a member, open again if it ended under another fingerprint."""
    row = tables.one(
        "SELECT item, body, digest, codec FROM member JOIN gathered USING (item) WHERE member = ?",
        _blinded(tables, member),
    )
    if row is None:
        return None
    item, *kept = row
    body = _opened(tables, item, *kept)
    _, fingerprint = tables.run(run)
    life = life_of(tables, item)
    taken = taken_up(life, run, tables.spelled(fingerprint))
    if taken is not None:
        put_life(tables, item, taken)
        life = taken
    calls = claimed(tables, item, life, life.state, 0).calls
    return Group(item=item, state=life.state, body=body, environment=life.environment, calls=calls)


def ended_groups(tables: Tables, before: float) -> list[bytes]:
    """Answer the groups that ended *before*, and are still kept."""
    rows = tables.all(
        "SELECT item FROM item JOIN gathered USING (item) "
        "WHERE ended < ? AND state IN ('done', 'filtered', 'dead') AND NOT EXISTS "
        "(SELECT 1 FROM call WHERE call.state = 'inflight' AND call.item = item.item)",
        before,
    )
    return [row[0] for row in rows]


def forget_group(tables: Tables, item: bytes) -> None:
    """Forget who was gathered into a group, and with what."""
    tables.do("DELETE FROM member WHERE item = ?", item)
    tables.do("DELETE FROM gathered WHERE item = ?", item)


def drop_group(tables: Tables, item: bytes) -> None:
    """Forget a group, and whose it was."""
    forget_group(tables, item)
    tables.do("DELETE FROM group_subject WHERE item = ?", item)
