"""`branch` and `tee`: where a record goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._wrap import name_of
from genai_pipeline.errors import DataError
from genai_pipeline.records import Record
from genai_pipeline.types import Handler, Stage

__all__ = ["branch", "tee"]

A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K", bound=Hashable)


class _Branch(Composite):
    __slots__ = ("_by", "_default", "_to", "name")

    def __init__(
        self,
        by: Callable[[Any], Any],
        to: Mapping[Any, Stage[Any, Any]],
        default: Stage[Any, Any] | None,
        name: str | None,
    ) -> None:
        self._by = by
        self._to = dict(to)
        self._default = default
        self.name = name or f"branch-{name_of(by)}"

    def parts(self) -> Iterable[object]:
        stages = (*self._to.values(), self._default)
        return (self._by, *(stage for stage in stages if stage is not None))

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        choice = self._by(record.value)
        if hasattr(choice, "__await__"):
            choice = await choice
        stage: Stage[Any, Any] | None = self._to.get(choice, self._default)
        if stage is None:
            known = ", ".join(repr(each) for each in self._to)
            raise DataError(
                f"{self.name}: no branch for {choice!r}; there is {known}, and no default="
            )
        return await stage(record)

    def __repr__(self) -> str:
        return f"<stage {self.name}: {', '.join(map(repr, self._to))}>"


def branch(
    by: Callable[[A], K | Awaitable[K]],
    to: Mapping[K, Stage[A, B]],
    *,
    default: Stage[A, B] | None = None,
    name: str | None = None,
) -> Stage[A, B]:
    """
    Make a stage that sends each record down one of several.

    ``by(value)`` names the branch: a predicate picks between ``True`` and ``False``, any other
    function a key of *to*. A choice that is not there goes to *default*; without one it is a
    `DataError` that names the choice.
    """
    check(callable(by), "branch", "by", by, "a function of the value")
    check(bool(to), "branch", "to", to, "at least one stage by its key")
    for key, stage in to.items():
        check(callable(stage), "branch", f"to[{key!r}]", stage, "a stage")
    return _Branch(by, to, default, name)


class _Tee(Composite):
    __slots__ = ("_side", "name")

    def __init__(self, side: Handler[Record[Any], object], name: str | None) -> None:
        self._side = side
        self.name = name or f"tee-{name_of(side)}"

    def parts(self) -> Iterable[object]:
        return (self._side,)

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        await self._side(record)
        return (record,)

    def __repr__(self) -> str:
        return f"<stage {self.name}>"


def tee(side: Handler[Record[A], object], *, name: str | None = None) -> Stage[A, A]:
    """
    Make a stage that hands each record to *side*, a sink or a stage, and then passes it on.

    What *side* answers is dropped; what it raises fails the record.
    """
    check(callable(side), "tee", "side", side, "a sink or a stage")
    return _Tee(side, name)
