"""`Stdout`: each value a line on the standard output."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, TextIO

import attrs

from genai_pipeline._encode import encode_json
from genai_pipeline._options import check
from genai_pipeline.errors import DataError, StorageFailed
from genai_pipeline.records import Record
from genai_pipeline.sinks._writer import Place, Writer

__all__ = ["Stdout"]


@attrs.define(eq=False)
class _Stream:
    """A text stream that is written to and flushed; never closed, since it is not ours."""

    stream: TextIO
    name: str
    _broken: str | None = None

    def open(self) -> None:
        """Nothing to prepare."""

    def write(self, lines: list[str]) -> None:
        if self._broken is not None:
            raise StorageFailed(self._broken)
        try:
            self.stream.write("".join(lines))
            self.stream.flush()
        except (OSError, ValueError) as error:
            # The stream's own buffer may hold half a line by now: nothing can follow it.
            self._broken = self._told(error)
            raise StorageFailed(self._broken) from error

    def _told(self, error: Exception) -> str:
        if isinstance(error, BrokenPipeError):
            return f"cannot write to {self.name}: whoever read it has gone (broken pipe)"
        reason = error.strerror if isinstance(error, OSError) else error
        return f"cannot write to {self.name}: {reason or error}"

    def close(self, *, failed: bool) -> None:
        """Leave the stream open; every group was flushed."""


def _is_stream(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = value is None or (hasattr(value, "write") and hasattr(value, "flush"))
    check(fine, owner, option.name, value, "a text stream, or nothing for the standard output")


@attrs.define(eq=False)
class Stdout(Writer[str]):
    """
    Prints each value on a line of its own: text as it is, all else as JSON.

    What concurrent calls print is written and flushed together, in a worker thread. A call returns
    when the stream has taken its line, which is as durable as what stands behind the stream. A
    record that is written again is printed again.

    Raises `StorageFailed` when the stream is closed or its reader has gone; then nothing
    more is printed. Raises `DataError`, for that record alone, for a value that cannot be encoded.
    """

    stream: TextIO | None = attrs.field(default=None, validator=_is_stream)
    """Where to print; `None` is ``sys.stdout`` as it is when the run begins."""

    _encoding: str | None = attrs.field(default=None, init=False, repr=False)

    def _place(self) -> Place[str]:
        stream = sys.stdout if self.stream is None else self.stream
        errors = getattr(stream, "errors", None) or "strict"
        encoding = getattr(stream, "encoding", None) or "utf-8"
        self._encoding = encoding if errors == "strict" else None
        name = (
            "the standard output" if self.stream is None else str(getattr(stream, "name", stream))
        )
        return _Stream(stream, name)

    async def __call__(self, record: Record[object], /) -> None:
        """Print the record's value."""
        await self._write(self._line(record.value) + "\n")

    def _line(self, value: object) -> str:
        text = str.__str__(value) if isinstance(value, str) else encode_json(value)
        if self._encoding is None or text.isascii():
            return text
        with contextlib.suppress(UnicodeEncodeError):
            text.encode(self._encoding)
            return text
        if isinstance(value, str):
            raise DataError(
                f"value holds characters that {self._encoding}, the encoding of the output, "
                "cannot; set PYTHONIOENCODING=utf-8"
            )
        return encode_json(value, ascii_only=True)
