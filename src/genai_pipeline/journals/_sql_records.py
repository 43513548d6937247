"""Runs and records in the tables of a journal file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs

from genai_pipeline._identity import Digests, WithErased, item_id, record_id, tombstone
from genai_pipeline._journal import Claim, ItemState, PastCall, RunInfo
from genai_pipeline._lives import Life, taken_up
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals._bulk import RowKind
from genai_pipeline.journals._tables import Tables

__all__ = [
    "begin_run",
    "claimed",
    "claims",
    "columns",
    "counts",
    "encoded",
    "end_run",
    "finished",
    "key_of",
    "life_of",
    "past_calls",
    "put_life",
    "span",
    "unclaim",
]

_LAST = b"\xff\xff"

_LIFE = "state, run, fingerprint, resumes, attempts, environment, crashes"


def encoded(key: str) -> bytes:
    """Answer a key as bytes: any text, half characters too."""
    return key.encode("utf-8", "surrogatepass")


def place_of_key(item: bytes) -> str:
    """Answer where the key of a record is kept, in all its generations."""
    return f"key of {item[:-2].hex()}"


def key_of(tables: Tables, item: bytes, kept: bytes | None) -> str | None:
    """Answer a kept key as text; `None` when it was purged."""
    if kept is None:
        return None
    return tables.vault.unseal(kept, place_of_key(item)).decode("utf-8", "surrogatepass")


def span(record: bytes) -> tuple[bytes, bytes]:
    """Answer the first and last item that a record can have."""
    return item_id(record), record + _LAST


def begin_run(tables: Tables, run: RunInfo) -> int:
    """Note that a run begins."""
    number: int = (tables.one("SELECT max(run) FROM run")[0] or 0) + 1
    tables.do(
        "INSERT INTO run (run, pipeline, fingerprint, version, stages, began, state) "
        "VALUES (?, ?, ?, ?, ?, ?, 'running')",
        number,
        tables.name(run.pipeline),
        tables.name(run.fingerprint),
        run.version,
        json.dumps(run.stages),
        run.began,
    )
    return number


def end_run(tables: Tables, run: int, state: str, at: float, counts: Mapping[str, int]) -> None:
    """Note that a run ended."""
    tables.run(run)
    tables.do(
        "UPDATE run SET state = ?, ended = ?, counts = ? WHERE run = ?",
        state,
        at,
        json.dumps(dict(counts)),
        run,
    )


def finished(tables: Tables, pipeline: str, fingerprint: str) -> Digests | WithErased:
    """Answer the keys of records that need not be looked at again."""
    rows = tables.all(
        "SELECT substr(item, 1, 14) FROM item WHERE latest AND pipeline = ? AND "
        "(state = 'dead' OR (state IN ('done', 'filtered') AND fingerprint = ?)) ORDER BY item",
        tables.known(pipeline),
        tables.known(fingerprint),
    )
    secret = tables.vault.secret
    known = Digests.of(pipeline, (row[0] for row in rows), secret)
    if not tables.has_erased:
        return known
    erased = tables.all("SELECT record FROM erased WHERE pipeline = ?", tables.known(pipeline))
    gone = frozenset(row[0] for row in erased)
    return WithErased(known, gone, pipeline, secret, tables.salt)


def counts(tables: Tables, pipeline: str) -> dict[ItemState, int]:
    """Answer how many records are in which state."""
    rows = tables.all(
        "SELECT state, count(*) FROM item WHERE latest AND pipeline = ? GROUP BY state",
        tables.known(pipeline),
    )
    return dict(rows)


def claims(tables: Tables, asked: Sequence[tuple[int, str, str | None]]) -> list[Claim | Exception]:
    """Take up records, each for a run, and of a subject if that is known."""
    found = [_asked(tables, *each) for each in asked]
    sought = [each for each in found if isinstance(each, _Asked)]
    known = _known(tables, sought) if tables.wary else set[bytes]()
    erased = _erased(tables, sought) if tables.has_erased or tables.erasing else set[bytes]()
    # All at once and first, since what is written so far has to be flushed for it.
    owners = [
        tables.make_subject(each.subject)
        if isinstance(each, _Asked) and each.subject is not None and each.record not in erased
        else None
        for each in found
    ]
    taken: list[Claim | Exception] = []
    for each, owner in zip(found, owners, strict=True):
        if isinstance(each, Exception):
            taken.append(each)
        elif each.record in erased:
            taken.append(Claim(item=each.item, state="filtered"))
        elif each.item in known:
            taken.append(_take_up(tables, each, owner))
        else:
            # Most records are new. One that is not makes the whole batch fail, and be wary.
            taken.append(_take_in(tables, each, owner))
            known.add(each.item)
    return taken


@attrs.frozen(eq=False)
class _Asked:
    """A record that is asked for."""

    run: int
    pipeline: int
    key: str
    subject: str | None
    record: bytes
    item: bytes


def _asked(tables: Tables, run: int, key: str, subject: str | None) -> _Asked | Exception:
    try:
        pipeline, _ = tables.run(run)
    except AccountingError as error:
        return error
    record = record_id(tables.spelled(pipeline), key, tables.vault.secret)
    return _Asked(run, pipeline, key, subject, record, item_id(record))


def _known(tables: Tables, asked: Sequence[_Asked]) -> set[bytes]:
    """Answer the items, in their first generation, of the records that are known."""
    found = tables.among(
        "SELECT told.column1 FROM ({rows}) AS told WHERE EXISTS "
        "(SELECT 1 FROM item WHERE item BETWEEN told.column1 AND told.column2)",
        [span(each.record) for each in asked],
    )
    return {row[0] for row in found}


def _erased(tables: Tables, asked: Sequence[_Asked]) -> set[bytes]:
    """Answer which were erased; those of a subject that is being erased are from now on."""
    left = {tombstone(each.record, tables.salt): each for each in asked}
    found = tables.among(
        "SELECT told.column1 FROM ({rows}) AS told WHERE EXISTS "
        "(SELECT 1 FROM erased WHERE record = told.column1)",
        [(digest,) for digest in left],
    )
    erased = {left[row[0]].record for row in found}
    for each in asked if tables.erasing else ():
        if each.subject is not None and tables.subject(each.subject) in tables.erasing:
            tables.do(
                "INSERT OR IGNORE INTO erased (record, pipeline) VALUES (?, ?)",
                tombstone(each.record, tables.salt),
                each.pipeline,
            )
            tables.has_erased = True
            erased.add(each.record)
    return erased


def _take_in(tables: Tables, asked: _Asked, owner: int | None) -> Claim:
    """Note a record that nobody knew."""
    item, key = asked.item, encoded(asked.key)
    if tables.vault.sealed:
        key = tables.vault.seal(owner or 0, key, place_of_key(item))
        tables.sealed_for[item] = owner or 0
    tables.note(RowKind.CLAIM, *span(asked.record), asked.pipeline, key, asked.run, owner)
    tables.carried[item] = _begun(asked.run)
    return Claim(item=item, state="claimed")


@lru_cache(maxsize=16)
def _begun(run: int) -> Life:
    return Life(state="claimed", run=run)


def _take_up(tables: Tables, asked: _Asked, owner: int | None) -> Claim:
    """Take a record up that is known."""
    row = _latest(tables, asked.record)
    assert row is not None
    item, reuses_from, life = row
    taken = taken_up(life, asked.run, tables.spelled(tables.run(asked.run)[1]))
    if taken is None:
        # What another worker carries is not this one's.
        carried = life.state == "claimed"
        return claimed(tables, item, life, "ready" if carried else life.state, reuses_from)
    put_life(tables, item, taken)
    if owner is not None:
        tables.do(
            "UPDATE item SET owner = ? WHERE owner IS NULL AND item BETWEEN ? AND ?",
            owner,
            *span(asked.record),
        )
    _keep_key(tables, item, asked.key)
    return claimed(tables, item, taken, "claimed", reuses_from)


def _keep_key(tables: Tables, item: bytes, key: str) -> None:
    """Keep the key of a record again that was purged."""
    kept = encoded(key)
    if tables.vault.sealed:
        if tables.one("SELECT 1 FROM item WHERE item = ? AND key IS NULL", item) is None:
            return
        kept = tables.vault.seal(tables.owner_of(item), kept, place_of_key(item))
    tables.do("UPDATE item SET key = ? WHERE item = ? AND key IS NULL", kept, item)


def unclaim(tables: Tables, item: bytes) -> None:
    """Undo the claim of a worker that was cancelled before it learned of it."""
    tables.carried.pop(item, None)
    tables.sealed_for.pop(item, None)
    tables.do("UPDATE item SET state = 'ready' WHERE item = ? AND state = 'claimed'", item)


def _latest(tables: Tables, record: bytes) -> tuple[bytes, int, Life] | None:
    row = tables.one(
        f"SELECT item, reuses_from, {_LIFE} FROM item WHERE item BETWEEN ? AND ? "  # noqa: S608
        "ORDER BY item DESC LIMIT 1",
        *span(record),
    )
    return None if row is None else (row[0], row[1], _life(tables, row[2:]))


def _life(tables: Tables, row: Sequence[object]) -> Life:
    state, run, fingerprint, resumes, attempts, environment, crashes = row
    return Life(
        state=state,  # type: ignore[arg-type]
        run=run,  # type: ignore[arg-type]
        fingerprint=tables.text(fingerprint) or "",  # type: ignore[arg-type]
        resumes=bool(resumes),
        attempts=attempts,  # type: ignore[arg-type]
        environment=environment,  # type: ignore[arg-type]
        crashes=crashes,  # type: ignore[arg-type]
    )


def life_of(tables: Tables, item: bytes) -> Life:
    """Answer what decides on the way of an item that is there."""
    row = tables.one(f"SELECT {_LIFE} FROM item WHERE item = ?", item)  # noqa: S608
    if row is None:
        raise AccountingError(f"the journal knows no item {item.hex()}")
    return _life(tables, row)


def put_life(tables: Tables, item: bytes, life: Life, at: float | None = None) -> None:
    """Write what decides on a record's way, and when it ended if it does."""
    tables.do(
        "UPDATE item SET state = ?, run = ?, fingerprint = ?, resumes = ?, attempts = ?, "
        "environment = ?, crashes = ?, ended = coalesce(?, ended) WHERE item = ?",
        *columns(tables, life),
        at,
        item,
    )


def columns(tables: Tables, life: Life) -> tuple[Any, ...]:
    return (
        life.state,
        life.run,
        tables.word(life.fingerprint or None),
        int(life.resumes),
        life.attempts,
        life.environment,
        life.crashes,
    )


def claimed(tables: Tables, item: bytes, life: Life, state: ItemState, reuses_from: int) -> Claim:
    """Answer what is known of an item."""
    first, last = span(item[:-2])
    vault = tables.vault
    rows = tables.all(
        "SELECT call, key, state, stage, hold, at FROM call "
        "WHERE item BETWEEN ? AND ? AND state <> 'void' ORDER BY call",
        item_id(first[:-2], reuses_from),
        last,
    )
    return Claim(
        item=item,
        state=state,
        attempts=life.attempts,
        environment=life.environment,
        crashes=life.crashes,
        calls=tuple(
            PastCall(
                call=call,
                key=vault.unseal_alike(key, "call"),
                state=call_state,
                stage=tables.spelled(stage),
                hold=hold or 0,
                at=at,
            )
            for call, key, call_state, stage, hold, at in rows
        ),
        reuses_from=reuses_from,
    )


def past_calls(tables: Tables, keys: Sequence[str], pipeline: str) -> dict[str, Claim]:
    """Answer what is known of records without taking them up."""
    found = {}
    for key in keys:
        row = _latest(tables, record_id(pipeline, key, tables.vault.secret))
        if row is not None:
            item, reuses_from, life = row
            found[key] = claimed(tables, item, life, life.state, reuses_from)
    return found
