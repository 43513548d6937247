"""The open tables of a journal file, with what is remembered of them between statements."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import attrs

from genai_pipeline._lives import Life
from genai_pipeline.errors import AccountingError
from genai_pipeline.journals._connection import Connection

__all__ = ["Tables", "readable"]

_MOST_WORDS = 10_000
_ROWS_AT_ONCE = (64, 16, 4, 1)  # few sizes, so that SQLite's statements are prepared once


@attrs.define(eq=False)
class Tables:
    """A connection inside a transaction, for the functions that read and write the tables."""

    connection: Connection
    last_call: int = 0
    writes: int = 0
    """How often something was written, or tried to be."""

    under_way: dict[int, tuple[int | None, str | None]] = attrs.field(factory=dict)
    """Of calls in flight that were begun here: the hold, and the accounts as the row has them."""

    carried: dict[bytes, Life] = attrs.field(factory=dict)
    """Of records that were claimed here and had no end before: what decides on their way."""

    _runs: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    _words: dict[str, int] = attrs.field(factory=dict)
    _texts: dict[int, str] = attrs.field(factory=dict)

    def remember(self) -> None:
        """Look up what is kept in mind; after opening."""
        self.forget()
        known = self.one("SELECT max(call) FROM call")[0] or 0
        purged = self.one("SELECT value FROM meta WHERE name = 'last_call'") or (0,)
        self.last_call = max(known, purged[0])

    def forget(self) -> None:
        """Drop what may be of a transaction that is undone."""
        self._words.clear()
        self._texts.clear()
        self._runs.clear()
        self.under_way.clear()
        self.carried.clear()

    def one(self, sql: str, *parameters: Any) -> Any:
        """Answer the first row; `None` when there is none."""
        return self.connection.execute(sql, parameters).fetchone()

    def all(self, sql: str, *parameters: Any) -> list[Any]:
        """Answer all rows."""
        return self.connection.execute(sql, parameters).fetchall()

    def do(self, sql: str, *parameters: Any) -> None:
        """Write something."""
        self.writes += 1
        self.connection.execute(sql, parameters)

    def do_many(self, sql: str, parameters: Iterable[tuple[Any, ...]]) -> None:
        """Write many of a kind."""
        self.writes += 1
        self.connection.executemany(sql, parameters)

    def do_rows(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """
        Write *rows*, which stand where *sql* says ``{rows}``, in as few statements as can be.

        Each statement is a turn in which the other threads have the interpreter, and may keep it.
        """
        for text, parameters in _pieces(sql, rows):
            self.writes += 1
            self.connection.execute(text, parameters)

    def among(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Answer what *sql* finds of *rows*, which stand where it says ``{rows}``."""
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
