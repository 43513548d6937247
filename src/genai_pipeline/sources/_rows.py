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
    size: int
    """Bytes of the lines."""


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
        self._feed = _Feed(lines, encoding.codec, max_bytes)
        self._encoding = encoding
        self._parser = parser

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield the rows; raises `Unreadable` after the last one of a file that breaks off."""
        feed = self._feed
        parsed = self._parser(feed)
        while True:
            feed.begin()
            try:
                fields = next(parsed)
            except StopIteration:
                if feed.fault is not None:
                    raise feed.fault from None
                return
            except UnicodeDecodeError as error:
                yield self._undecodable(error)
            except _TooLong as error:
                yield BadRow(str(error), feed.give_up())
            except csv.Error as error:
                yield BadRow(_reason(error), feed.give_up(), None, error)
            else:
                if fields:
                    yield Row(fields, feed.taken, feed.size)

    def _undecodable(self, error: UnicodeDecodeError) -> BadRow:
        taken = self._feed.taken
        reason = self._encoding.trouble(taken[-1].raw, error)
        if len(taken) == 1:
            return BadRow(reason, self._feed.give_up(), error.start + 1, error)
        return BadRow(f"line {taken[-1].number}: {reason}", self._feed.give_up(), None, error)


class _Feed:
    """Gives the parser its lines, and remembers those of the row that it is at."""

    def __init__(self, lines: Iterator[Line], codec: str, max_bytes: int) -> None:
        self._lines = lines
        self._codec = codec
        self._max_bytes = max_bytes
        self._again: deque[Line] = deque()
        self._reread = 0
        self.taken: list[Line] = []
        self.size = 0
        self.fault: Unreadable | None = None

    def begin(self) -> None:
        """Forget the last row."""
        self.taken, self.size = [], 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._new_line()
        self.taken.append(line)
        self.size += len(line.raw)
        if line.excess or self.size > self._max_bytes:
            size = line.excess or self.size
            raise _TooLong(f"too long: {size} bytes, and max_line_bytes={self._max_bytes}")
        if len(self.taken) > _MOST_LINES:
            raise _TooLong(f"goes over more than {_MOST_LINES} lines; is a quote not closed?")
        return line.raw.decode(self._codec) + "\n"

    def _new_line(self) -> Line:
        try:
            return next(self._lines)
        except Unreadable as fault:
            self._lines = iter(())
            self.fault = fault  # told when the lines before it are done with
            raise StopIteration from None

    def give_up(self) -> list[Line]:
        """Answer the lines of a row that is none; what follows the first is given again."""
        taken = self.taken
        allowed = self._max_bytes + _REREAD * taken[-1].offset
        if len(taken) > 1 and self._reread + self.size <= allowed:
            self._reread += self.size
            self._again.extendleft(reversed(taken[1:]))
            return taken[:1]
        return taken


def _reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote is opened and never closed"
    if "new-line character" in str(error):
        return "a carriage return stands in a field without quotes"
    return f"no CSV: {error}"
