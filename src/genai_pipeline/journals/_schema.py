"""The tables of a journal file, and how a file of an earlier version becomes one of this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._connection import Connection

__all__ = ["APPLICATION", "MIGRATIONS", "VERSION", "is_empty", "migrate", "version_of"]

APPLICATION = 0x67706A6C  # "gpjl"

_VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;

-- Texts that many rows share, by number.
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE run (
    run INTEGER PRIMARY KEY,
    pipeline INTEGER NOT NULL REFERENCES word,
    fingerprint INTEGER NOT NULL REFERENCES word,
    version TEXT NOT NULL,
    stages TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL,
    state TEXT NOT NULL,
    counts TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- 14 bytes that stand for pipeline and key, and 2 that count generations; a record that was
-- purged has no key.
CREATE TABLE item (
    item BLOB PRIMARY KEY CHECK (length(item) = 16),
    latest INTEGER NOT NULL CHECK (latest IN (0, 1)),
    pipeline INTEGER NOT NULL REFERENCES word,
    key BLOB,
    state TEXT NOT NULL
        CHECK (state IN ('ready', 'claimed', 'held', 'done', 'filtered', 'dead')),
    run INTEGER NOT NULL,
    fingerprint INTEGER REFERENCES word,
    resumes INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    environment INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    reuses_from INTEGER NOT NULL DEFAULT 0,
    ended REAL
) WITHOUT ROWID, STRICT;
CREATE INDEX item_claimed ON item (item) WHERE state = 'claimed';
CREATE INDEX item_stuck ON item (state) WHERE state IN ('dead', 'held');

-- Groups are items that are the latest of no record; members are names of 16 bytes.
CREATE TABLE gathered (
    item BLOB PRIMARY KEY,
    body BLOB NOT NULL,
    digest BLOB NOT NULL,
    codec TEXT
) STRICT;
CREATE TABLE member (
    member BLOB PRIMARY KEY CHECK (length(member) = 16),
    item BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX member_of_item ON member (item);

-- How records ended that are not plainly done.
CREATE TABLE ending (
    item BLOB PRIMARY KEY,
    stage INTEGER REFERENCES word,
    error INTEGER REFERENCES word,
    category INTEGER REFERENCES word,
    message TEXT,
    letter BLOB,
    digest BLOB,
    codec TEXT
) STRICT;

-- Money is in nano-dollars. budgets is a JSON list of the accounts a call counts in.
CREATE TABLE call (
    call INTEGER PRIMARY KEY,
    item BLOB NOT NULL,
    run INTEGER NOT NULL,
    key BLOB NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('inflight', 'answered', 'void', 'partial', 'unknown', 'abandoned')),
    stage INTEGER NOT NULL REFERENCES word,
    provider INTEGER NOT NULL REFERENCES word,
    model INTEGER NOT NULL REFERENCES word,
    labels INTEGER REFERENCES word,
    at REAL NOT NULL,
    deadline REAL NOT NULL,
    hold INTEGER CHECK (hold >= 0),
    charged INTEGER NOT NULL DEFAULT 0 CHECK (charged >= 0),
    budgets TEXT,
    ended REAL,
    cost INTEGER,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    error INTEGER REFERENCES word,
    request_id TEXT
) STRICT;
CREATE INDEX call_of_item ON call (item);
CREATE INDEX call_inflight ON call (call) WHERE state = 'inflight';
CREATE INDEX call_unknown ON call (call) WHERE state = 'unknown';

CREATE TABLE answer (
    call INTEGER PRIMARY KEY,
    status INTEGER NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL,
    digest BLOB NOT NULL,
    codec TEXT
) STRICT;

CREATE TABLE budget (
    id INTEGER PRIMARY KEY,
    budget TEXT NOT NULL,
    window TEXT NOT NULL,
    cap INTEGER NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    spent INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    purged INTEGER NOT NULL DEFAULT 0,
    overrun INTEGER NOT NULL DEFAULT 0,
    UNIQUE (budget, window),
    CHECK (spent + reserved <= cap OR overrun = 1)
) STRICT;

-- Who raised or lowered which cap when.
CREATE TABLE cap (
    id INTEGER PRIMARY KEY,
    budget INTEGER NOT NULL REFERENCES budget,
    at REAL NOT NULL,
    run INTEGER NOT NULL,
    cap INTEGER NOT NULL
) STRICT;

-- What calls cost that were purged.
CREATE TABLE past_cost (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    provider INTEGER NOT NULL,
    model INTEGER NOT NULL,
    labels INTEGER,
    calls INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    unknown INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    failed_charged INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL
) STRICT;
"""

_VERSION_2 = """
-- Whose data things are: a subject, by a salted digest, or a gathered group, by its name. In an
-- encrypted file, the owner has a key of its own, in the file of keys.
CREATE TABLE owner (owner INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT;
ALTER TABLE item ADD COLUMN owner INTEGER;
CREATE INDEX item_of_owner ON item (owner) WHERE owner IS NOT NULL;
ALTER TABLE past_cost ADD COLUMN owner INTEGER;

-- The subjects of the members of groups.
CREATE TABLE group_subject (
    item BLOB NOT NULL,
    owner INTEGER NOT NULL,
    PRIMARY KEY (item, owner)
) WITHOUT ROWID, STRICT;
CREATE INDEX group_of_subject ON group_subject (owner);

-- What is left of records that were erased: a salted digest of what stood for them.
CREATE TABLE erased (
    record BLOB PRIMARY KEY,
    pipeline INTEGER NOT NULL REFERENCES word
) WITHOUT ROWID, STRICT;

-- Subjects that are to be erased, until nothing of them is left.
CREATE TABLE erasure (owner INTEGER PRIMARY KEY, subject BLOB) STRICT;
"""

# Beside these there may be tables of sinks. What a later version adds has to begin with gp_, which
# no table of a sink does.

MIGRATIONS: Mapping[int, str] = {1: _VERSION_1, 2: _VERSION_2}
"""What makes a file of the version before into one of each version; 0 is an empty file."""

VERSION = max(MIGRATIONS)


def is_empty(connection: Connection) -> bool:
    """Whether nothing is in the file yet."""
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def version_of(connection: Connection, path: Path, latest: int = VERSION) -> int:
    """
    Answer the version of the file; 0 when nothing is in it yet.

    Raises `ConfigurationError` for a file that is another program's or of a later version.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION and not (application == version == 0 and is_empty(connection)):
        raise ConfigurationError(
            f"Sqlite: path={str(path)!r} is the file of another program; give another path"
        )
    if version > latest:
        raise ConfigurationError(
            f"Sqlite: path={str(path)!r} was written by a later version of this library (schema "
            f"{version}, this one knows {latest}); use that version, or give another path"
        )
    return version


def migrate(connection: Connection, path: Path, migrations: Mapping[int, str] = MIGRATIONS) -> None:
    """
    Bring the file to the latest version in one transaction: wholly, or not at all.

    Raises `ConfigurationError` for a file that is another program's or of a later version.
    """
    latest = max(migrations)
    version = version_of(connection, path, latest)
    if version == latest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in range(version + 1, latest + 1):
            for statement in _statements(migrations[number]):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {latest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # Not executescript, which commits first.
    return [statement for statement in script.split(";\n") if statement.strip()]
