"""What sources that read files have in common: options, batches in a worker thread, faults."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import anyio.to_thread
import attrs

from genai_pipeline import _options
from genai_pipeline.records import Delivery
from genai_pipeline.sources._compression import Limits
from genai_pipeline.sources._encoding import an_encoding
from genai_pipeline.sources._faults import Unreadable, broken, excerpt
from genai_pipeline.sources._keys import a_function
from genai_pipeline.sources._open import OpenFile, opened_file
from genai_pipeline.sources._paths import Found, Search, to_paths

__all__ = ["Files", "LineFiles", "Weighed", "place"]

A = TypeVar("A")

Weighed: TypeAlias = tuple[Delivery[A], int]
"""A delivery and the bytes it was made from."""

BATCH_BYTES = 256 * 1024
BATCH_RECORDS = 1024


@attrs.frozen(kw_only=True, eq=False)
class Files(Generic[A]):
    """Reads files one after the other, in a worker thread; the kinds of files say how."""

    suffixes: ClassVar[tuple[str, ...]] = ()

    path: tuple[str, ...] = attrs.field(converter=to_paths, kw_only=False)
    """A file, a folder, a glob such as ``data/**/*.txt``, or a list of them."""

    key: Callable[[A], str | int] | None = attrs.field(default=None, validator=a_function)
    """Answers the key of a value; must be unique in the source and the same on every run."""

    encoding: str | None = attrs.field(default=None, validator=an_encoding)
    """The encoding of the files; without it, their mark or pattern tells, else it is UTF-8."""

    follow_symlinks: bool = attrs.field(default=False, validator=_options.one_of(False, True))
    """Whether symbolic links found in folders and by globs are read, too."""

    allow_empty: bool = attrs.field(default=False, validator=_options.one_of(False, True))
    """Whether a folder or glob without any file is fine."""

    max_ratio: int = attrs.field(default=500, validator=_options.at_least(1))
    """How many times its size a compressed file may decode to, beyond the first 64 MiB."""

    def __aiter__(self) -> AsyncGenerator[Delivery[A], None]:  # noqa: PYI058 - it can be closed
        """Begin a fresh reading from the first file on."""
        return self._iterate()

    async def _iterate(self) -> AsyncGenerator[Delivery[A], None]:
        batches = _batches(self._deliveries())
        try:
            # Cancelled, a hop still awaits its thread: nothing reads while it is being closed.
            while batch := await anyio.to_thread.run_sync(next, batches, None):
                for delivery in batch:
                    yield delivery
        finally:
            batches.close()

    def _search(self) -> Search:
        return Search(
            owner=type(self).__name__,
            paths=self.path,
            suffixes=self._endings(),
            follow_symlinks=self.follow_symlinks,
            allow_empty=self.allow_empty,
        )

    def _endings(self) -> tuple[str, ...]:
        return tuple(name + packed for name in self.suffixes for packed in ("", ".gz", ".zst"))

    def _deliveries(self) -> Generator[Weighed[A], None, None]:
        for found in self._search().files():
            if found.problem is not None:
                yield _told(Unreadable(found.problem), found), 0
                continue
            try:
                with opened_file(found, follow_symlinks=self.follow_symlinks) as file:
                    yield from self._read(file)
            except Unreadable as fault:
                yield _told(fault, found), len(fault.partial)

    def _read(self, file: OpenFile) -> Iterator[Weighed[A]]:
        """Yield what is in *file*; raises `Unreadable` where it cannot go on."""
        raise NotImplementedError


@attrs.frozen(kw_only=True, eq=False)
class LineFiles(Files[A]):
    """Reads files whose records are lines."""

    max_line_bytes: int = attrs.field(default=10 * 1024 * 1024, validator=_options.at_least(1))
    """How long a record may be; a longer one is passed over and delivered as broken."""

    max_decoded_bytes: int = attrs.field(default=64 * 1024**3, validator=_options.at_least(1))
    """How much a compressed file may decode to."""

    def _limits(self) -> Limits:
        return Limits(self.max_decoded_bytes, self.max_ratio)

    def _too_long(self, size: int) -> str:
        return (
            f"too long: {size} bytes, and max_line_bytes={self.max_line_bytes}; "
            "split it, or give a greater limit"
        )


def place(file: OpenFile, line: int, offset: int) -> Mapping[str, Any]:
    """Answer the attributes of a record that says where it came from."""
    return {"origin": file.found.origin, "line": line, "offset": offset}


def _told(fault: Unreadable, found: Found) -> Delivery[Any]:
    attributes: dict[str, Any] = {"origin": found.origin}
    if fault.line is None:
        key = found.name
    else:
        key = f"{found.name}:{fault.line}"
        attributes |= {"line": fault.line, "offset": fault.offset}
    value = excerpt(fault.partial)
    return broken(
        str(fault), value=value, key=key, attributes=attributes, column=fault.column, cause=fault
    )


def _batches(
    deliveries: Generator[Weighed[A], None, None],
) -> Generator[list[Delivery[A]], None, None]:
    """
    Gather *deliveries* so that a hop to the thread is paid for many of them.

    The first batches are small, so that the first record need not wait for many. What was
    gathered before an error is yielded before it is raised.
    """
    batch: list[Delivery[A]] = []
    weight, most = 0, 1
    failure: Exception | None = None
    with closing(deliveries):
        try:
            for delivery, size in deliveries:
                batch.append(delivery)
                weight += size
                if len(batch) >= most or weight >= BATCH_BYTES:
                    yield batch
                    batch, weight, most = [], 0, min(2 * most, BATCH_RECORDS)
        except Exception as error:  # noqa: BLE001 - raised again below
            failure = error
    if batch:
        yield batch
    if failure is not None:
        raise failure
