"""`chain`: stages one after the other, as one stage."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sequence
from types import CoroutineType
from typing import Any, TypeVar, overload

from genai_pipeline._error_groups import one_of
from genai_pipeline._fan_out import FAN_OUT, for_each
from genai_pipeline._lifespan import Composite, every_part
from genai_pipeline._options import check
from genai_pipeline._paid import (
    StageMark,
    Visit,
    current_recorder,
    current_visit,
    set_recorder,
    set_visit,
)
from genai_pipeline._stages import mapped_function
from genai_pipeline._versions import mark_of
from genai_pipeline._wrap import name_of
from genai_pipeline.errors import Rejected
from genai_pipeline.records import Record
from genai_pipeline.types import Stage
from genai_pipeline.walk import Walk, current_walk

__all__ = ["Chain", "chain", "every_mark"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")

_FOLD_EVERY = 1024

Records = Sequence[Record[Any]]


class Chain(Composite):
    """
    Walks a record through stages, depth first; itself a stage. Made by `chain`.

    Inside a run it also times each stage, notes which stage raised, and waits in place when a
    stage raises `Rejected`, so that the stages before are not paid for again.
    """

    __slots__ = ("_fan_out", "_marks", "_names", "_steps", "stages")

    def __init__(self, stages: Iterable[Stage[Any, Any]], fan_out: int) -> None:
        self.stages = tuple(_flat(stages))
        self._names = tuple(_distinct(name_of(stage) for stage in self.stages))
        self._steps = tuple((mapped_function(stage), stage) for stage in self.stages)
        self._marks = tuple(map(mark_of, self._names, self.stages))
        self._fan_out = fan_out

    @property
    def name(self) -> str:
        """The names of the stages, in order."""
        return " > ".join(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """What reports call the stages; equal names are numbered."""
        return self._names

    @property
    def marks(self) -> tuple[StageMark, ...]:
        """What a journal knows the stages by."""
        return self._marks

    def parts(self) -> Iterable[object]:
        """Answer the stages: what is entered and left with this."""
        return self.stages

    def __call__(self, record: Record[Any]) -> Awaitable[Records]:
        """Answer all that the last stage makes of *record*, in order."""
        walk = current_walk()
        if walk is None or walk.recorder is None:
            return self.walk(record, walk)
        return self._walk_inside(record, walk)

    def walk(self, record: Record[Any], walk: Walk | None) -> Coroutine[Any, Any, Records]:
        """Do the same, as a part of *walk*."""
        if walk is None:
            return self._plain(0, record)
        return self._walk_on(0, record, walk)

    async def _walk_inside(self, record: Record[Any], walk: Walk) -> Records:
        """Walk inside another stage, whose calls are its own again afterwards."""
        outer = current_visit()
        try:
            return await self._walk_on(0, record, walk, outer)
        finally:
            set_visit(outer)

    async def _plain(self, position: int, record: Record[Any]) -> Records:
        outputs: Records = (record,)
        for index in range(position, len(self.stages)):
            outputs = await self.stages[index](record)
            if len(outputs) != 1:
                return await self._each(index + 1, outputs, None)
            record = outputs[0]
        return outputs

    async def _walk_on(  # noqa: C901, PLR0912 - one loop, since each record pays for it
        self, position: int, record: Record[Any], walk: Walk, outer: Visit | None = None
    ) -> Records:
        names, timed = self._names, walk.timed
        marks = None if walk.recorder is None else self._marks
        visit: Visit | None = None
        value, changed = record.value, False
        now = walk.run.clock.now
        notes, began = (walk.run.notes(names), now()) if timed else ((), 0.0)
        for index in range(position, len(names)):
            function, stage = self._steps[index]
            while True:
                if marks is not None:
                    visit = Visit(marks[index], outer)
                    set_visit(visit)
                try:
                    if function is not None:
                        # Several maps in a row need no record between them.
                        result = function(value)
                        # Asking the type first spares most calls the look-up of an attribute.
                        waits = type(result) is CoroutineType or hasattr(result, "__await__")
                        value = await result if waits else result
                        changed = True
                        outputs: Records | None = None
                    else:
                        if changed:
                            record = Record(value, record.key, record.attributes)
                            changed = False
                        outputs = await stage(record)
                    break
                except Rejected as rejection:
                    if visit is not None:
                        visit.undo()
                    await walk.run.park(rejection, names[index], walk)
                    if timed:
                        began = now()
                except BaseException as error:
                    walk.failed_in(names[index], one_of(error))
                    raise
            if timed:
                ended = now()
                notes[index](ended - began)
                began = ended
            if outputs is not None:
                if len(outputs) != 1:
                    return await self._each(index + 1, outputs, walk, outer)
                record = outputs[0]
                value = record.value
        return (Record(value, record.key, record.attributes) if changed else record,)

    async def _each(
        self, position: int, records: Records, walk: Walk | None, outer: Visit | None = None
    ) -> Records:
        """Walk several records on, some at a time; answer all they become, in order."""
        if position == len(self.stages) or not records:
            return records
        ends: list[Records] = [()] * len(records)
        recorder = current_recorder()

        async def carry(child: tuple[int, Record[Any]]) -> None:
            ordinal, record = child
            if walk is None:
                ends[ordinal] = await self._plain(position, record)
            else:
                # The task's last child may have carried a group on, with calls of its own.
                set_recorder(recorder)
                ends[ordinal] = await self._walk_on(position, record, walk, outer)
                if walk.rows is not None:
                    walk.rows.note(ends[ordinal])
                if ordinal % _FOLD_EVERY == 0:
                    walk.run.fold()

        await for_each([*enumerate(records)], carry, at_once=self._fan_out)
        return [record for end in ends for record in end]


def _flat(stages: Iterable[Stage[Any, Any]]) -> Iterator[Stage[Any, Any]]:
    for stage in stages:
        if isinstance(stage, Chain) and stage._fan_out == FAN_OUT:  # noqa: SLF001
            yield from stage.stages
        else:
            yield stage


def _distinct(names: Iterable[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def every_mark(whole: Chain) -> Iterator[StageMark]:
    """Yield what calls may be known by that are made in *whole*, and around it."""
    yield StageMark("")
    for part in every_part(whole):
        if isinstance(part, Chain):
            yield from part.marks


@overload
def chain(a: Stage[A, B], /, *, fan_out: int = ...) -> Stage[A, B]: ...
@overload
def chain(a: Stage[A, B], b: Stage[B, C], /, *, fan_out: int = ...) -> Stage[A, C]: ...
@overload
def chain(
    a: Stage[A, B], b: Stage[B, C], c: Stage[C, D], /, *, fan_out: int = ...
) -> Stage[A, D]: ...
@overload
def chain(
    a: Stage[A, B], b: Stage[B, C], c: Stage[C, D], d: Stage[D, E], /, *, fan_out: int = ...
) -> Stage[A, E]: ...
@overload
def chain(
    a: Stage[A, B],
    b: Stage[B, C],
    c: Stage[C, D],
    d: Stage[D, E],
    e: Stage[E, F],
    /,
    *,
    fan_out: int = ...,
) -> Stage[A, F]: ...
@overload
def chain(
    a: Stage[A, B],
    b: Stage[B, C],
    c: Stage[C, D],
    d: Stage[D, E],
    e: Stage[E, F],
    f: Stage[F, G],
    /,
    *,
    fan_out: int = ...,
) -> Stage[A, G]: ...
def chain(*stages: Stage[Any, Any], fan_out: int = FAN_OUT) -> Stage[Any, Any]:
    """
    Join *stages* into one; what one answers is what the next takes, and the types say so.

    When a stage answers several records, they walk on concurrently, *fan_out* at a time, and
    what they become is answered in order. When one of them fails, no other begins, those under
    way end, and the error is raised. More than six stages are joined by chains of chains.

    Raises `ConfigurationError` without stages, and for anything that cannot be called.
    """
    check(bool(stages), "chain", "stages", stages, "at least one stage")
    for stage in stages:
        check(callable(stage), "chain", "stages", stage, "stages; gp.map(fn) makes one of fn")
    fine = isinstance(fan_out, int) and fan_out >= 1
    check(fine, "chain", "fan_out", fan_out, "a whole number, 1 or more")
    return Chain(stages, fan_out)
