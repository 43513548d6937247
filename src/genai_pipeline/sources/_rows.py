"""Lines as CSV rows, where one bad row does not take the others with it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator

import attrs

from genai_pipeline.sources._encoding import Encoding
from genai_pipeline.sources._faults import Unreadable
from genai_pipeline.sources._lines import Line

__all__ = ["BadRow", "Row", "Rows"]

_MOST_LINES = 10_000
"""Lines in one row; more of them are a quote that is not closed."""

_REREAD = 4
"""How many times the bytes of a file may be looked at again, lest bad rows cost too much."""


@attrs.define
class Row:
    """The fields of a row, and the lines it was read from."""

    fields: list[str]
    taken: list[Line]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(len(line.raw) for line in self.taken)


@attrs.define
class BadRow:
    """Lines that make no row."""

    reason: str
    taken: list[Line]
    column: int | None = None
    cause: Exception | None = None


class _TooLong(Exception):
    """Raised out of the parser when a row takes more lines or bytes than it may."""


class Rows:
    """
    Iterates over the rows of one file: `Row` and `BadRow`, without blank lines.

    When quotes do not fit together, the row's first line is the bad one, and reading begins
    anew with the second: a stray quote costs one row, not all up to the next quote.
    """

    def __init__(
        self,
        lines: Iterator[Line],
        encoding: Encoding,
        max_bytes: int,
        parser: Callable[[Iterator[str]], Iterator[list[str]]],
    ) -> None:
        self._lines = lines
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._parser = parser
        self._taken: list[Line] = []
        self._again: deque[Line] = deque()
        self._size = 0
        self._credit = max_bytes
        self._fault: Unreadable | None = None

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield the rows; raises `Unreadable` after the last one of a file that breaks off."""
        parsed = self._parser(_Feed(self._next))
        while True:
            self._taken, self._size = [], 0
            try:
                fields = next(parsed)
            except StopIteration:
                if self._fault is not None:
                    raise self._fault from None
                return
            except UnicodeDecodeError as error:
                last = self._taken[-1]
                column = error.start + 1 if len(self._taken) == 1 else None
                where = "" if column else f"line {last.number}: "
                yield self._bad(where + self._encoding.trouble(last.raw, error), error, column)
            except _TooLong as error:
                yield self._bad(str(error), None)
            except csv.Error as error:
                yield self._bad(_reason(error), error)
            else:
                if fields:
                    yield Row(fields, self._taken)

    def _next(self) -> str:
        line = self._again.popleft() if self._again else self._new_line()
        self._taken.append(line)
        self._size += len(line.raw)
        if line.excess or self._size > self._max_bytes:
            size = line.excess or self._size
            raise _TooLong(f"too long: {size} bytes, and max_line_bytes={self._max_bytes}")
        if len(self._taken) > _MOST_LINES:
            raise _TooLong(f"goes over more than {_MOST_LINES} lines; is a quote not closed?")
        return line.raw.decode(self._encoding.codec) + "\n"

    def _new_line(self) -> Line:
        if self._fault is not None:
            raise StopIteration
        try:
            line = next(self._lines)
        except Unreadable as fault:
            self._fault = fault  # told when the lines before it are done with
            raise StopIteration from None
        self._credit += _REREAD * len(line.raw)
        return line

    def _bad(self, reason: str, cause: Exception | None, column: int | None = None) -> BadRow:
        taken = self._taken
        if len(taken) > 1 and self._size <= self._credit:
            self._credit -= self._size
            self._again.extendleft(reversed(taken[1:]))
            taken = taken[:1]
        return BadRow(reason, taken, column, cause)


class _Feed:
    """An iterator made of a function that ends with `StopIteration`."""

    def __init__(self, following: Callable[[], str]) -> None:
        self._following = following

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        return self._following()


def _reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote is opened and never closed"
    if "new-line character" in str(error):
        return "a carriage return stands in a field without quotes"
    return f"no CSV: {error}"
