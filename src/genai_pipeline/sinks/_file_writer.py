"""What the sinks that write files have in common: their options, and the two ways to write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.sinks._disk import Disk
from genai_pipeline.sinks._folder import Folder
from genai_pipeline.sinks._keys import Line
from genai_pipeline.sinks._parts import Parts
from genai_pipeline.sinks._replacement import Replacement
from genai_pipeline.sinks._segments import Segments
from genai_pipeline.sinks._writer import Writer

__all__ = ["FileWriter", "is_path", "to_path"]


def to_path(path: str | os.PathLike[str]) -> Path:
    if isinstance(path, str | os.PathLike) and isinstance(os.fspath(path), str):
        return Path(path)
    return cast("Path", path)  # for the validator to refuse


def is_path(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, Path) and "\0" not in str(value) and value.name != ""
    check(fine, owner, option.name, value, "the path of a file, or of a folder with segment=")


@attrs.define(eq=False)
class FileWriter(Writer[Line]):
    """Writes lines of bytes to one file, or to a folder of parts."""

    path: Path = attrs.field(converter=to_path, validator=is_path)
    """The file; with *segment*, the folder of parts."""

    segment: int | None = attrs.field(
        default=None, kw_only=True, validator=_options.optional(_options.at_least(1))
    )
    """`None` for one file that is replaced at the end; else the records in each part."""

    make_dirs: bool = attrs.field(default=False, kw_only=True)
    """Whether to make the directories above *path* that are missing."""

    disk: Disk = attrs.field(factory=Disk, kw_only=True, repr=False)

    @property
    def publishes_at_end(self) -> bool:
        """Whether nothing is durable before the run ends, which then gives it everything."""
        return self.segment is None

    def _files(self, suffix: str, *, quoted: bool = False) -> Replacement | Segments:
        if self.segment is None:
            return Replacement(path=self.path, disk=self.disk, make_dirs=self.make_dirs)
        folder = Folder(
            path=self.path,
            disk=self.disk,
            make_dirs=self.make_dirs,
            purpose="segment= writes parts into a folder of its own",
        )
        parts = Parts(folder=folder, suffix=suffix, quoted=quoted)
        return Segments(parts=parts, segment=self.segment)
