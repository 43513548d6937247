"""Runs and records in the tables of a journal file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from genai_pipeline._identity import Digests, WithErased, item_id, record_id, tombstone
from genai_pipeline._journal import Claim, ItemEnd, ItemState, PastCall, RunInfo
from genai_pipeline._lives import Life, ended, taken_up
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals._tables import Tables, readable

__all__ = [
    "begin_run",
    "claim",
    "claimed",
    "counts",
    "encoded",
    "end_item",
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


def claim(tables: Tables, run: int, key: str, subject: str | None = None) -> Claim:
    """Take up a record for a run."""
    pipeline, fingerprint = tables.run(run)
    record = record_id(tables.spelled(pipeline), key, tables.vault.secret)
    item = item_id(record)
    if (tables.has_erased or tables.erasing) and is_erased(tables, record, pipeline, subject):
        return Claim(item=item, state="filtered")
    owner = None if subject is None else tables.make_subject(subject)
    if tables.put(
        "INSERT INTO item (item, latest, pipeline, key, state, run, owner) "
        "SELECT ?, 1, ?, ?, 'claimed', ?, ? "
        "WHERE NOT EXISTS (SELECT 1 FROM item WHERE item BETWEEN ? AND ?) RETURNING 1",
        item,
        pipeline,
        tables.vault.seal(owner or 0, encoded(key), place_of_key(item)),
        run,
        owner,
        *span(record),
    ):
        return Claim(item=item, state="claimed")
    row = _latest(tables, record)
    assert row is not None
    item, reuses_from, life = row
    taken = taken_up(life, run, tables.spelled(fingerprint))
    if taken is None:
        # What another worker carries is not this one's.
        carried = life.state == "claimed"
        return claimed(tables, item, life, "ready" if carried else life.state, reuses_from)
    put_life(tables, item, taken)
    if owner is not None:
        tables.do(
            "UPDATE item SET owner = ? WHERE owner IS NULL AND item BETWEEN ? AND ?",
            owner,
            *span(record),
        )
    if tables.one("SELECT 1 FROM item WHERE item = ? AND key IS NULL", item) is not None:
        kept = tables.vault.seal(tables.owner_of(item), encoded(key), place_of_key(item))
        tables.do("UPDATE item SET key = ? WHERE item = ?", kept, item)
    return claimed(tables, item, taken, "claimed", reuses_from)


def is_erased(tables: Tables, record: bytes, pipeline: int, subject: str | None) -> bool:
    """Tell whether a record was erased; one of a subject that is being erased is from now on."""
    left = tombstone(record, tables.salt)
    if subject is not None and tables.erasing and tables.subject(subject) in tables.erasing:
        tables.do("INSERT OR IGNORE INTO erased (record, pipeline) VALUES (?, ?)", left, pipeline)
        tables.has_erased = True
        return True
    return tables.one("SELECT 1 FROM erased WHERE record = ?", left) is not None


def unclaim(tables: Tables, item: bytes) -> None:
    """Undo the claim of a worker that was cancelled before it learned of it."""
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
        life.state,
        life.run,
        tables.word(life.fingerprint or None),
        int(life.resumes),
        life.attempts,
        life.environment,
        life.crashes,
        at,
        item,
    )


def claimed(tables: Tables, item: bytes, life: Life, state: ItemState, reuses_from: int) -> Claim:
    """Answer what is known of an item."""
    first, last = span(item[:-2])
    vault = tables.vault
    rows = tables.all(
        "SELECT call, key, state, stage, hold FROM call "
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
            )
            for call, key, call_state, stage, hold in rows
        ),
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


def end_item(tables: Tables, item: bytes, end: ItemEnd) -> None:
    """Note how the carrying of a record ended."""
    row = tables.one(
        f"SELECT EXISTS (SELECT 1 FROM ending WHERE ending.item = item.item), {_LIFE} "  # noqa: S608
        "FROM item WHERE item = ?",
        item,
    )
    if row is None:
        raise AccountingError(f"the journal knows no record {item.hex()}")
    life = ended(_life(tables, row[1:]), end)
    if life is None:
        return
    put_life(tables, item, life, end.at)
    if row[0]:
        tables.do("DELETE FROM ending WHERE item = ?", item)
    if (end.stage, end.error, end.category, end.message, end.letter) != (None,) * 5:
        message, (body, codec) = _told(tables, item, end)
        tables.do(
            "INSERT INTO ending (item, stage, error, category, message, letter, digest, codec) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            item,
            tables.word(end.stage),
            tables.word(end.error),
            tables.word(end.category),
            message,
            body,
            None if body is None else hashlib.blake2b(body, digest_size=16).digest(),
            codec,
        )


def _told(
    tables: Tables, item: bytes, end: ItemEnd
) -> tuple[str | None, tuple[bytes | None, str | None]]:
    """Answer message and letter as they are to be kept."""
    owner, message, letter = tables.owner_of(item), readable(end.message), end.letter
    return (
        None if message is None else tables.vault.text(owner, message, f"message of {item.hex()}"),
        (None, None)
        if letter is None
        else tables.vault.body(owner, letter, f"letter {item.hex()}"),
    )
