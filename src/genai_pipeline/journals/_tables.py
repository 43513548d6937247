"""The open tables of a journal file, with what is remembered of them between statements."""

from __future__ import annotations

import functools
import itertools
import json
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, cast

import attrs

from genai_pipeline._ledger import Account
from genai_pipeline._lives import Life
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals._bulk import MOST_ROWS, RowKind, insertion
from genai_pipeline.journals._connection import Connection
from genai_pipeline.journals._faults import is_fatal
from genai_pipeline.journals._vault import Vault

__all__ = ["Tables", "Undone", "readable"]

_MOST_WORDS = 10_000
_ROWS_AT_ONCE = (64, 16, 4, 1)  # few sizes, so that SQLite prepares few statements
_WARY = 100


class Undone(Exception):
    """Raised when SQLite refuses a part of what is written together, and so the whole."""

    def __init__(self, cause: sqlite3.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


_OWNER_BITS = 62
_LOST = '{"lost": '


@attrs.define(eq=False)
class Tables:
    """A connection inside a transaction, for the functions that read and write the tables."""

    connection: Connection
    vault: Vault = attrs.field(factory=Vault)
    """What texts and bodies go through."""

    last_call: int = 0
    writes: int = 0
    """How often something was written, or tried to be."""

    erasing: frozenset[int] = frozenset()
    """Subjects that are being erased."""

    has_erased: bool = False
    """Whether records were ever erased."""

    under_way: dict[int, tuple[int | None, str | None, bytes]] = attrs.field(factory=dict)
    """Of calls in flight begun here: the hold, the accounts as the row has them, the record."""

    carried: dict[bytes, Life] = attrs.field(factory=dict)
    """Of records that were claimed here and had no end before: what decides on their way."""

    sealed_for: dict[bytes, int] = attrs.field(factory=dict)
    """In an encrypted file: under whose key things are kept of records that were claimed here."""

    accounts: dict[int, Account] = attrs.field(factory=dict)
    latest_accounts: dict[str, int] = attrs.field(factory=dict)
    """By budget: the number of the account of its latest window."""

    wary: int = 0
    """For so many commits more it is asked first what is known, since it was undone for that."""

    _noted: list[tuple[Any, ...]] = attrs.field(factory=list)
    _runs: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    _words: dict[str, int] = attrs.field(factory=dict)
    _texts: dict[int, str] = attrs.field(factory=dict)
    _owners: dict[str, int] = attrs.field(factory=dict)
    _salt: bytes = b""

    def remember(self) -> None:
        """Look up what is kept in mind; after opening."""
        self.forget()
        known = self.one("SELECT max(call) FROM call")[0] or 0
        purged = self.one("SELECT value FROM meta WHERE name = 'last_call'") or (0,)
        self.last_call = max(known, purged[0])
        self.erasing = frozenset(row[0] for row in self.all("SELECT owner FROM erasure"))
        self.has_erased = self.one("SELECT 1 FROM erased LIMIT 1") is not None

    def forget(self) -> None:
        """Drop what may be of a transaction that is undone."""
        self._words.clear()
        self._texts.clear()
        self._runs.clear()
        self._owners.clear()
        self.under_way.clear()
        self.carried.clear()
        self.sealed_for.clear()
        self.accounts.clear()
        self.latest_accounts.clear()
        self._noted.clear()

    def note(self, kind: RowKind, *values: Any) -> None:
        """Write a row of *kind* together with others, at the latest when something is read."""
        self.writes += 1
        self._noted.append((int(kind), *values))

    def flush(self) -> None:
        """Write what is noted; raises `Undone` when that cannot be, and all is to be undone."""
        rows, self._noted = self._noted, []
        if len(rows) > MOST_ROWS:
            self.begin()
        for begin in range(0, len(rows), MOST_ROWS):
            try:
                self.connection.execute(*insertion(rows[begin : begin + MOST_ROWS]))
            except sqlite3.Error as error:
                if is_fatal(error):
                    raise
                raise Undone(error) from error

    def begin(self) -> None:
        """Let what is written be in one transaction; what is flushed without is one by itself."""
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN IMMEDIATE")

    def commit(self, number: int) -> None:
        """Make durable what was written, and that it is the *number*-th commit."""
        self.vault.flush()
        self.note(RowKind.COMMIT, number)
        self.flush()
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
        self.wary = max(0, self.wary - 1)

    def roll_back(self) -> None:
        """Undo what was written since the last commit."""
        self._noted.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self.remember()
        self.wary = _WARY

    def alone(self, sql: str, *parameters: Any) -> None:
        """Do what can be no part of a transaction."""
        self.connection.execute(sql, parameters)

    def _catch_up(self) -> None:
        if self._noted:
            self.begin()
            self.flush()

    def one(self, sql: str, *parameters: Any) -> Any:
        """Answer the first row; `None` when there is none."""
        self._catch_up()
        return self.connection.execute(sql, parameters).fetchone()

    def all(self, sql: str, *parameters: Any) -> list[Any]:
        """Answer all rows."""
        self._catch_up()
        return self.connection.execute(sql, parameters).fetchall()

    def do(self, sql: str, *parameters: Any) -> None:
        """Write something."""
        self._catch_up()
        self.begin()
        self.writes += 1
        self.connection.execute(sql, parameters)

    def do_many(self, sql: str, parameters: Iterable[tuple[Any, ...]]) -> None:
        """Write many of a kind."""
        self._catch_up()
        self.begin()
        self.writes += 1
        self.connection.executemany(sql, parameters)

    def among(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answer what *sql* finds of *rows*, which stand where it says ``{rows}``."""
        self._catch_up()
        found = []
        for text, parameters in _pieces(sql, rows):
            found += self.connection.execute(text, parameters).fetchall()
        return found

    def run(self, number: int) -> tuple[int, int]:
        """Answer the words of a run's pipeline and fingerprint, which never change."""
        found = self._runs.get(number)
        if found is None:
            row = self.one("SELECT pipeline, fingerprint FROM run WHERE run = ?", number)
            if row is None:
                raise AccountingError(f"the journal knows no run {number}")
            found = self._runs[number] = (row[0], row[1])
        return found

    def word(self, text: str | None) -> int | None:
        """Answer the number of *text*, which is kept if need be."""
        return None if text is None else self.name(text)

    def name(self, text: str) -> int:
        """Answer the number of *text*, which is kept if need be."""
        number = self._words.get(text)
        if number is None:
            row = self.one("SELECT id FROM word WHERE text = ?", text)
            if row is None:
                self.do("INSERT INTO word (text) VALUES (?)", text)
                row = self.one("SELECT last_insert_rowid()")
            number = cast("int", row[0])
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            self._words[text] = number
        return number

    @property
    def salt(self) -> bytes:
        """By what subjects, and what is left of erased records, are named."""
        if not self._salt:
            kept = self.one("SELECT value FROM meta WHERE name = 'salt'")
            self._salt = blake2b(kept[0], digest_size=32, key=self.vault.secret).digest()
        return self._salt

    def subject(self, subject: str) -> int | None:
        """Answer the number of *subject*; `None` when nothing is kept of it."""
        owner = self._owners.get(subject)
        if owner is None:
            row = self.one("SELECT owner FROM owner WHERE name = ?", self._digest(subject))
            owner = None if row is None else cast("int", row[0])
        return owner

    def make_subject(self, subject: str) -> int:
        """Answer the number of *subject*, which is kept if need be."""
        owner = self.subject(subject)
        if owner is None:
            owner = self.new_owner(self._digest(subject))
        if len(self._owners) >= _MOST_WORDS:
            self._owners.clear()
        self._owners[subject] = owner
        return owner

    def _digest(self, subject: str) -> bytes:
        text = subject.encode("utf-8", "surrogatepass")
        return blake2b(text, digest_size=16, key=self.salt, person=b"subject").digest()

    def new_owner(self, name: bytes) -> int:
        """Answer the number of a new owner, which nobody ever had."""
        owner = secrets.randbits(_OWNER_BITS) or 1
        self.do("INSERT INTO owner (owner, name) VALUES (?, ?)", owner, name)
        self.vault.new_owner(owner)
        return owner

    def owner_of(self, item: bytes) -> int:
        """Answer under whose key things of *item* are kept; 0 where nothing is encrypted."""
        if not self.vault.sealed:
            return 0
        owner = self.sealed_for.get(item)
        if owner is None:
            row = self.one("SELECT owner FROM item WHERE item = ?", item)
            owner = 0 if row is None or row[0] is None else cast("int", row[0])
        return owner

    def labels(self, number: int | None) -> dict[str, str]:
        """Answer the labels of a number."""
        text = self.text(number)
        if text is None:
            return {}
        if not text.startswith(_LOST):
            text = self.vault.open_word(text, "labels")
        found: dict[str, str] = json.loads(text)
        return found

    def known(self, text: str) -> int:
        """Answer the number of *text*, 0 when no row can have it."""
        row = self.one("SELECT id FROM word WHERE text = ?", text)
        return 0 if row is None else cast("int", row[0])

    def text(self, number: int | None) -> str | None:
        """Answer the text of a number."""
        return None if number is None else self.spelled(number)

    def spelled(self, number: int) -> str:
        """Answer the text of a number; one that nothing has is a damaged file."""
        text = self._texts.get(number)
        if text is None:
            row = self.one("SELECT text FROM word WHERE id = ?", number)
            if row is None:
                raise AccountingError(f"the journal lacks word {number}: check the file")
            text = cast("str", row[0])
            if len(self._texts) >= _MOST_WORDS:
                self._texts.clear()
            self._texts[number] = text
        return text


def _pieces(sql: str, rows: Sequence[tuple[Any, ...]]) -> Iterable[tuple[str, tuple[Any, ...]]]:
    begin = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - begin >= size:
            piece = rows[begin : begin + size]
            begin += size
            text = _with_rows(sql, size, len(piece[0]))
            yield text, tuple(itertools.chain.from_iterable(piece))


@functools.cache
def _with_rows(sql: str, count: int, width: int) -> str:
    row = f"({', '.join('?' * width)})"
    return sql.replace("{rows}", f"VALUES {', '.join([row] * count)}")


def readable(text: str | None) -> str | None:
    """Answer *text* with what no database takes, halves of characters, spelled out."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")
