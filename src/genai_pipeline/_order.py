"""`in_order`: output in the order of the input."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from genai_pipeline._lifespan import Composite, every_part
from genai_pipeline._options import check
from genai_pipeline._wrap import name_of
from genai_pipeline.records import Record
from genai_pipeline.types import Sink
from genai_pipeline.walk import current_walk

__all__ = ["InOrder", "in_order", "is_ordered"]

A = TypeVar("A")


class InOrder(Composite, Generic[A]):
    """A sink that lets each record wait for its turn. Made by `in_order`."""

    __slots__ = ("_sink", "name")

    def __init__(self, sink: Sink[A]) -> None:
        self._sink = sink
        self.name = name_of(sink)

    def parts(self) -> Iterable[object]:
        """Answer the sink: what is entered and left with this."""
        return (self._sink,)

    async def __call__(self, record: Record[A]) -> None:
        """Write *record* once every record read before it has been written, or needs not be."""
        walk = current_walk()
        if walk is not None:
            await walk.run.turn(walk)
        await self._sink(record)

    def __repr__(self) -> str:
        return f"in_order({self._sink!r})"


def in_order(sink: Sink[A]) -> Sink[A]:
    """
    Write to *sink* in the order in which the source delivered.

    A record that is done early waits, and its worker with it; so the window of reordering is
    the pipeline's ``max_in_flight``, and memory stays bounded. One slow record holds up those
    behind it: raise ``max_in_flight`` to let more of them work meanwhile.
    """
    check(callable(sink), "in_order", "sink", sink, "a sink")
    return InOrder(sink)


def is_ordered(sink: object) -> bool:
    """Tell whether `in_order` is anywhere around or in *sink*."""
    return any(isinstance(part, InOrder) for part in every_part(sink))
