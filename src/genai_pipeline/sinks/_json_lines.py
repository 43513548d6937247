"""`JsonLines`: each value a line of JSON."""

from __future__ import annotations

import attrs

from genai_pipeline._encode import encode_json
from genai_pipeline.records import Record
from genai_pipeline.sinks._file_writer import FileWriter
from genai_pipeline.sinks._keys import Line
from genai_pipeline.sinks._writer import Place

__all__ = ["JsonLines"]


@attrs.define(eq=False)
class JsonLines(FileWriter):
    """
    Writes the value of each record as one line of JSON, in UTF-8.

    **One file** (``JsonLines("out.jsonl")``): lines go to a temporary file beside it, which is
    synced and takes the file's place when the run ends, so that readers see the old lines or the
    new ones, never a mixture, and a second run replaces the lines and never doubles them. It also
    does when the run fails or is cancelled, if anything was written; what was written is paid
    for. A run that fails before it has written anything leaves the old file. **Durable at the
    end of the run, not when a call returns**: a killed process leaves the old file, and the
    work must be done again. Use it with sources that can be read again, such as files.

    **A folder of parts** (``JsonLines("out", segment=10_000)``): each call returns when its line is
    synced, so **durable when it returns**; use it with sources that acknowledge, such as queues.
    Parts ``part-000001.jsonl`` … are published whole, with *segment* records each (the last of a
    run with what is left), and never change. Later runs add parts. What a killed process left
    unpublished is published by the next run, cut to whole lines.

    **A record that is written again** in the same run, or to parts that hold it, leaves its one
    line: the keys and digests of lines stand beside each part, in ``.part-000001.jsonl.keys``. The
    same key with another value is another line. A record without a key is never taken for a
    repeat, nor is one in a part that an older version wrote, or that was taken out of the folder.
    This takes 24 to 48 bytes of memory a line.

    Values are encoded when they are given: beside what JSON knows, attrs and data classes,
    mappings, sets, dates, Decimal (as text), bytes (as Base64), paths and enumerations. Any other
    raises `DataError` that names its place, for that record alone. A `DeadLetter` is always taken.

    Raises `ConfigurationError` or `StorageFailed` when it is entered and the path cannot be
    written or is in use by another run, `StorageFailed` when the disk fails; what a failed write
    left behind is cut off.
    """

    def _place(self) -> Place[Line]:
        return self._files(".jsonl")

    async def __call__(self, record: Record[object], /) -> None:
        """Write the record's value as a line."""
        line = f"{encode_json(record.value)}\n".encode()
        await self._write(Line.of(record.key, line))
