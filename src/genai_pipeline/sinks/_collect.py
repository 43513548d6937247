"""`Collect`: records kept in memory."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

import attrs

from genai_pipeline import _options
from genai_pipeline.errors import StorageFailed
from genai_pipeline.records import Record

__all__ = ["Collect"]

A = TypeVar("A")


@attrs.define(eq=False)
class Collect(Generic[A]):
    """
    Keeps every record it is given, over all runs, in the order of arrival: for tests and notebooks.

    Gone with the process. A record that is written again is there again. Raises `StorageFailed`
    when it would hold more than *limit* records.
    """

    limit: int = attrs.field(default=1_000_000, kw_only=True, validator=_options.at_least(1))
    """The most it holds, so that an endless source does not fill the memory."""

    records: list[Record[A]] = attrs.field(factory=list, init=False, repr=False)
    """What was written, with keys and attributes."""

    publishes_at_end: ClassVar[bool] = True
    """It knows nothing of earlier processes, so a run with a journal gives it everything."""

    @property
    def values(self) -> list[A]:
        """The values of the records, as a new list."""
        return [record.value for record in self.records]

    async def __call__(self, record: Record[A], /) -> None:
        """Keep *record*."""
        if len(self.records) >= self.limit:
            raise StorageFailed(
                f"Collect holds limit={self.limit} records; give a higher limit=, or write to a "
                "file with JsonLines"
            )
        self.records.append(record)

    def clear(self) -> None:
        """Forget everything."""
        self.records.clear()
