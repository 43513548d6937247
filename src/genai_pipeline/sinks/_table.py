"""`Table`: each value a row of a table of SQLite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from genai_pipeline import _options
from genai_pipeline._encode import encode_json
from genai_pipeline._options import check
from genai_pipeline.records import Record
from genai_pipeline.sinks._file_writer import to_path
from genai_pipeline.sinks._row_keys import row_key
from genai_pipeline.sinks._writer import Place, Writer

__all__ = ["Table"]

Row: TypeAlias = tuple[str, str]

_NAME = re.compile(r"(?!sqlite_)[A-Za-z_][A-Za-z0-9_]{0,62}", re.IGNORECASE)


def _is_path(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, Path) and "\0" not in str(value) and value.name not in ("", ":memory:")
    check(fine, owner, option.name, value, "the path of a file; Collect keeps values in memory")


def _is_name(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, str) and _NAME.fullmatch(value) is not None
    allowed = "ASCII letters, digits and _ (63 at most, no digit first, not sqlite_ first)"
    check(fine, owner, option.name, value, allowed)


@attrs.define(eq=False)
class Table(Writer[Row]):
    """
    Writes each value as a row of *table* in the SQLite file *path*, under the key of its record.

    The columns are ``key``, the primary key, and ``value``, which is the value as JSON (as
    `JsonLines` writes it): SQL reads into it by ``value ->> '$.field'``. File and table are
    made if they are missing; a table that has these two columns may have more, with defaults.

    A key that is there has its value replaced, so a record that is written again leaves one row.
    **Durable when the call returns.** Calls made at about the same time are one transaction.
    Other programs may read and write the file meanwhile. It cannot be the file of a journal, which
    is one process's alone: keys keep the two in step, not a common transaction, as `JournalTable`
    has it.

    Raises `DataError` for a record without a key, and a key or value that cannot be encoded, for
    that record alone; `ConfigurationError` or `StorageFailed` when it is entered and the file
    cannot be written, is no SQLite file or a journal's, or the table has other columns;
    `StorageFailed` when the disk fails; `Transient` when another program holds the file for
    longer than *busy_timeout*. SQLite does not work on network file systems.
    """

    path: Path = attrs.field(converter=to_path, validator=_is_path)
    """The SQLite file."""

    table: str = attrs.field(default="records", kw_only=True, validator=_is_name)
    """The table's name."""

    busy_timeout: float = attrs.field(default=5.0, kw_only=True, validator=_options.positive)
    """The longest to wait for other programs, in seconds."""

    make_dirs: bool = attrs.field(default=False, kw_only=True)
    """Whether to make the directories above *path* that are missing."""

    def _place(self) -> Place[Row]:
        from genai_pipeline.sinks._rows import Rows  # noqa: PLC0415 - brings sqlite3

        return Rows(
            path=self.path,
            table=self.table,
            busy_timeout=self.busy_timeout,
            make_dirs=self.make_dirs,
        )

    async def __call__(self, record: Record[object], /) -> None:
        """Write the record's value as the row of its key."""
        await self._write((row_key(record), encode_json(record.value)))
