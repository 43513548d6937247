"""`TextFiles`: one text a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline.records import Delivery
from genai_pipeline.sources._compression import Limits, blocks
from genai_pipeline.sources._encoding import Encoding, resolve
from genai_pipeline.sources._faults import PAYLOAD, Unreadable, broken, excerpt
from genai_pipeline.sources._files import Files, Weighed
from genai_pipeline.sources._keys import keyed
from genai_pipeline.sources._open import OpenFile

__all__ = ["TextFiles"]


@attrs.frozen(kw_only=True, eq=False)
class TextFiles(Files[str]):
    """
    Reads whole files as texts, plain or packed with gzip or zstd; each file is a record.

    *path* is a file, a folder (every file in it and below), a glob, or a list of them, read in
    the order of their names; ``.`` files and symbolic links in folders are not read. The text
    is exactly what the file holds, newlines included, without its byte order mark.

    The key is the path as it was written, or, of a file found in a folder or by a glob, its path
    below that; with several paths, the path as written stands before it. The attribute
    ``origin`` is the path.

    A file that cannot be used is delivered with a `DataError` that says why: no text in its
    encoding, too long, packed and damaged, a link, a device … The reading goes on.

    Raises `ConfigurationError` when reading begins and a path does not exist, and
    `StorageFailed` when the disk fails.
    """

    max_file_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=_options.at_least(1))
    """How long a text may be, unpacked; a longer file is not read to its end."""

    def _read(self, file: OpenFile) -> Iterator[Weighed[str]]:
        attributes = {"origin": file.found.origin}
        data = self._content(file)
        encoding = resolve(data, self.encoding)
        try:
            text = data[encoding.mark :].decode(encoding.codec)
        except UnicodeDecodeError as error:
            yield _undecodable(file, data[encoding.mark :], encoding, error), len(data)
        else:
            yield keyed(text, file.found.name, attributes, self.key), len(data)

    def _content(self, file: OpenFile) -> bytes:
        content = bytearray()
        try:
            for block in blocks(file.read, Limits(sys.maxsize, self.max_ratio)):
                content += block
                self._check(len(content))
        except Unreadable as fault:
            fault.partial = bytes(content[:PAYLOAD])
            raise
        return bytes(content)

    def _check(self, size: int) -> None:
        if size > self.max_file_bytes:
            raise Unreadable(
                f"too long: more than max_file_bytes={self.max_file_bytes}; "
                "split it, or give a greater limit"
            )


def _undecodable(
    file: OpenFile, data: bytes, encoding: Encoding, error: UnicodeDecodeError
) -> Delivery[Any]:
    before = data[: error.start].split(encoding.newline)
    return broken(
        encoding.trouble(data, error),
        value=excerpt(data, None, encoding.codec),
        key=file.found.name,
        attributes={"origin": file.found.origin, "line": len(before)},
        column=len(before[-1]) + 1,
        cause=error,
    )
