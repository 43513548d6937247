"""`Files`: each value a file of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._encode import encode_json
from genai_pipeline._options import check
from genai_pipeline.errors import DataError
from genai_pipeline.records import Record
from genai_pipeline.sinks._disk import Disk
from genai_pipeline.sinks._file_folder import FileFolder, NewFile
from genai_pipeline.sinks._file_name import file_name
from genai_pipeline.sinks._file_writer import to_path
from genai_pipeline.sinks._folder import Folder
from genai_pipeline.sinks._writer import Place, Writer

__all__ = ["Files"]

_SUFFIX = re.compile(r"(\.[a-z0-9_]{1,15}){0,3}")


def _is_folder(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, Path) and "\0" not in str(value)
    check(fine, owner, option.name, value, "the path of a folder")


def _is_suffix(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, str) and _SUFFIX.fullmatch(value) is not None
    check(fine, owner, option.name, value, "an ending such as '.json' in small letters, or ''")


def _is_function(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    check(value is None or callable(value), owner, option.name, value, "a function of a Record")


@attrs.define(eq=False)
class Files(Writer[NewFile]):
    """
    Writes each value to a file of its own in *folder*, named after the key of its record.

    Bytes stand as they are, text in UTF-8, all else as JSON (as `JsonLines` writes it). A
    reader sees a whole file or none: it is written under another name, synced, and then
    takes its own. **Durable when the call returns.** A record that is written again, in this run or
    after a crash, leaves the one file. What a killed process left half-written is removed by
    the next run.

    Keys of up to 100 small ASCII letters, digits, ``_`` and ``-`` are names as they are. Others
    become what is readable of them, ``~`` and a hash, so no two share a file, and no key or model
    can name a place outside the folder. A name is at most 200 bytes long.

    ``.lock`` in the folder keeps a second process out; other files are left alone.

    Raises `DataError` for a record without a key, a value that cannot be encoded, and a file that
    is there already under ``on_existing="refuse"``, each for that record alone;
    `ConfigurationError` or `StorageFailed` when it is entered and the folder cannot be written or
    is in use by another run; `StorageFailed` when the disk fails.
    """

    folder: Path = attrs.field(converter=to_path, validator=_is_folder)
    """Made if it is missing; its parent with *make_dirs* only."""

    suffix: str = attrs.field(default=".json", kw_only=True, validator=_is_suffix)
    """How names end."""

    name: Callable[[Record[Any]], str] | None = attrs.field(
        default=None, kw_only=True, validator=_is_function
    )
    """
    The text that names the file of a record; `None` for its key. Made safe as keys are. It has to
    be the same on every run, and another for each record.
    """

    on_existing: Literal["replace", "keep", "refuse"] = attrs.field(
        default="replace", kw_only=True, validator=_options.one_of("replace", "keep", "refuse")
    )
    """
    What becomes of a file of that name: ``replace`` it, ``keep`` it and pass the record by, or
    ``refuse`` the record unless its bytes are the same.
    """

    make_dirs: bool = attrs.field(default=False, kw_only=True)
    """Whether to make the directories above *folder* that are missing."""

    disk: Disk = attrs.field(factory=Disk, kw_only=True, repr=False)

    def _place(self) -> Place[NewFile]:
        folder = Folder(
            path=self.folder,
            disk=self.disk,
            make_dirs=self.make_dirs,
            purpose="files are written into a folder",
        )
        return FileFolder(folder=folder, on_existing=self.on_existing)

    async def __call__(self, record: Record[object], /) -> None:
        """Write the record's value to its file."""
        file = NewFile(name=self.name_of(record), data=_content(record.value))
        await self._write(file)
        if file.refused is not None:
            raise DataError(file.refused)

    def name_of(self, record: Record[object]) -> str:
        """Answer the name of the file that *record* is written to, within the folder."""
        if self.name is None:
            text, missing = record.key, "the record has no key; let the source give each its own"
        else:
            text = self.name(record)
            missing = f"name= gives {text!r:.100}; let it give a text that is not empty"
        if not isinstance(text, str) or not text:
            raise DataError(missing)
        return file_name(text, self.suffix)


def _content(value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return str.__str__(value).encode()
        except UnicodeEncodeError as error:
            raise DataError(f"value is no Unicode text: {error}") from error
    return f"{encode_json(value)}\n".encode()
