"""Stages made from functions: `map`, `flat_map`, `filter`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from genai_pipeline._functions import adapt
from genai_pipeline._lifespan import Composite
from genai_pipeline._paid import OnUnknown
from genai_pipeline._versions import check_mark
from genai_pipeline._wrap import name_of
from genai_pipeline.records import Record
from genai_pipeline.types import Stage

__all__ = ["filter", "flat_map", "map"]

A = TypeVar("A")
B = TypeVar("B")


class _FromFunction(Composite):
    """A stage around a function; enters and leaves the function if that has a life cycle."""

    __slots__ = ("_function", "_run", "name", "on_unknown", "version")

    def __init__(
        self,
        kind: str,
        function: Callable[[Any], Any],
        name: str | None,
        *,
        thread: bool,
        process: bool,
        version: str,
        on_unknown: OnUnknown,
    ) -> None:
        check_mark(kind, version, on_unknown)
        self.version = version
        self.on_unknown = on_unknown
        self._run = adapt(function, owner=kind, thread=thread, process=process)
        self._function = function
        self.name = name or name_of(function)

    def parts(self) -> Iterable[object]:
        return (self._function,)

    def __repr__(self) -> str:
        return f"<stage {self.name}>"


class _Map(_FromFunction):
    __slots__ = ()

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        result = self._run(record.value)
        if hasattr(result, "__await__"):
            result = await result
        return (Record(result, record.key, record.attributes),)


def mapped_function(stage: object) -> Callable[[Any], Any] | None:
    """Answer the function that *stage* replaces values by, if it is a `map` and nothing else."""
    return stage._run if type(stage) is _Map else None  # noqa: SLF001


class _FlatMap(_FromFunction):
    __slots__ = ()

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        result = self._run(record.value)
        if hasattr(result, "__await__"):
            result = await result
        if isinstance(result, str | bytes) or not isinstance(result, Iterable):
            raise TypeError(
                f"flat_map: {self.name} answered a {type(result).__name__}; "
                "it must answer several values, as a list or another iterable"
            )
        return [record.child(ordinal, value) for ordinal, value in enumerate(result)]


class _Filter(_FromFunction):
    __slots__ = ()

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        result = self._run(record.value)
        if hasattr(result, "__await__"):
            result = await result
        return (record,) if result else ()


@overload
def map(
    fn: Callable[[A], Awaitable[B]],
    *,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, B]: ...
@overload
def map(
    fn: Callable[[A], B],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, B]: ...
def map(
    fn: Callable[[Any], Any],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[Any, Any]:
    """
    Make a stage that replaces each value by ``fn(value)``.

    *fn* is async or plain. A plain one runs in the event loop, so it must be quick; with
    *thread* it runs in a worker thread (for calls that block), with *process* in a worker
    process (for much CPU or code that may crash): a worker process that dies fails one record,
    with `WorkerDied`. *name* is what reports call the stage; the function's name by default.

    In a pipeline with a journal, *name* and *version* stand for what the stage does: change
    *version* when you change the function (its prompt, its model, its reading of answers), and
    records that had ended are worked on anew; calls of other stages are not made again. A call
    that may have been billed although no answer came, since the process died or the network broke,
    is made again; with ``on_unknown="hold"`` its record is held for you to decide. With
    ``"reconcile"`` the provider, a `ReconcilingProvider`, is asked for it first, and the record is
    held when the provider does not know.
    """
    return _Map(
        "map",
        fn,
        name,
        thread=thread,
        process=process,
        version=version,
        on_unknown=on_unknown,
    )


@overload
def flat_map(
    fn: Callable[[A], Awaitable[Iterable[B]]],
    *,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, B]: ...
@overload
def flat_map(
    fn: Callable[[A], Iterable[B]],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, B]: ...
def flat_map(
    fn: Callable[[Any], Any],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[Any, Any]:
    """
    Make a stage that replaces each value by the several (or no) values of ``fn(value)``.

    The n-th gets the record's key with ``/n`` behind it. The record is written when all of
    them are, and fails when one of them fails. The rest is as with `map`.
    """
    return _FlatMap(
        "flat_map",
        fn,
        name,
        thread=thread,
        process=process,
        version=version,
        on_unknown=on_unknown,
    )


@overload
def filter(
    fn: Callable[[A], Awaitable[bool]],
    *,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, A]: ...
@overload
def filter(
    fn: Callable[[A], bool],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, A]: ...
def filter(
    fn: Callable[[Any], Any],
    *,
    name: str | None = None,
    thread: bool = False,
    process: bool = False,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[Any, Any]:
    """
    Make a stage that lets a record pass when ``fn(value)`` is true.

    The others count as filtered, which is a good end. The rest is as with `map`.
    """
    return _Filter(
        "filter",
        fn,
        name,
        thread=thread,
        process=process,
        version=version,
        on_unknown=on_unknown,
    )
