"""`gather` and `reduce`: several records become one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._frozen_groups import FrozenGroups, one_of
from genai_pipeline._options import check
from genai_pipeline._paid import current_recorder
from genai_pipeline._versions import check_mark
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import Rejected
from genai_pipeline.records import Record
from genai_pipeline.types import Stage
from genai_pipeline.walk import SharedFate, Walk, current_walk

__all__ = ["gather", "reduce"]

A = TypeVar("A")


class _Group:
    """Records on their way to be one; the first to come carries it on for all."""

    __slots__ = ("carrier", "fate", "full", "items", "marks", "members")

    def __init__(self, carrier: Walk | None) -> None:
        self.carrier = carrier
        self.members: list[Record[Any]] = []
        self.marks: list[bytes] = []
        """What stands for the members in the journal, if there is one."""
        self.items: set[bytes] = set()
        """What the journal calls the records they were made of."""
        self.fate = SharedFate()
        self.full = anyio.Event()

    def add(self, record: Record[Any], mark: bytes | None, item: bytes | None) -> None:
        """Take *record* in."""
        self.members.append(record)
        if mark is not None:
            self.marks.append(mark)
        if item is not None:
            self.items.add(item)

    def as_one(self) -> Record[Any]:
        """Answer the record made of the members; its key follows from theirs."""
        keys = [member.key for member in self.members]
        return one_of(keys, [member.value for member in self.members])


@attrs.define(kw_only=True, eq=False)
class _Gather:
    size: int = attrs.field(validator=_options.at_least(1))
    linger: float = attrs.field(validator=_options.seconds)
    clock: Clock
    name: str
    version: str
    joins_records: ClassVar[bool] = True
    _open: _Group | None = attrs.field(default=None, init=False, repr=False)
    _frozen: FrozenGroups = attrs.field(init=False, repr=False, factory=FrozenGroups)

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        walk, recorder, mark, item = current_walk(), current_recorder(), None, None
        if walk is not None and recorder is not None:
            item = recorder.item
            mark, value = recorder.member(f"{self.name} {self.version}", record)
            record = record.with_value(value)
            frozen = await recorder.group_of(mark)
            if frozen is not None:
                return self._frozen.resume(frozen, walk, recorder)
        group = self._open
        if group is None:
            group = _Group(walk)
            group.add(record, mark, item)
            return await self._carry(group)
        group.add(record, mark, item)
        if len(group.members) >= self.size:
            self._open = None
            group.full.set()
        if walk is not None:
            walk.join(group.fate)
        return ()

    async def _carry(self, group: _Group) -> Sequence[Record[Any]]:
        if self.size > 1:
            self._open = group
            try:
                with self.clock.cancel_at(self.clock.now() + self.linger):
                    await group.full.wait()
            except BaseException:
                group.fate.decide(Rejected("the record that carried this one was cancelled"))
                raise
            finally:
                if self._open is group:
                    self._open = None
        if group.carrier is not None:
            group.carrier.carry(group.fate)
            recorder = current_recorder()
            if recorder is not None:
                await self._frozen.freeze(self.name, group, recorder)
        return (group.as_one(),)

    def __repr__(self) -> str:
        return f"<stage {self.name}: {self.size}>"


def gather(
    size: int,
    *,
    linger: float = 1.0,
    clock: Clock | None = None,
    name: str = "gather",
    version: str = "1",
) -> Stage[A, list[A]]:
    """
    Make a stage that turns up to *size* values into one list.

    A group is closed when it is full or its first record has waited *linger* seconds. The first
    record carries the list on; the others end as it does, and no sooner: inputs are settled
    only when the output is. When the list fails, each member fails with the same error, and so
    is among the dead letters under its own key.

    Members come in the order of arrival, which under concurrency is not the order of the source.
    A *size* above the pipeline's ``max_in_flight`` is never reached, and waits for *linger*; of
    lists that are gathered in their turn, that is the product of the sizes.

    In a pipeline with a journal, who is gathered with whom is kept there, with the values, before
    the list goes on, and a later run goes on with the same lists: what was paid for them counts.
    The values must be plain JSON types then. *version* is as with `map`.
    """
    check_mark("gather", version, "retry")
    return _Gather(
        size=size, linger=linger, clock=clock or SystemClock(), name=name, version=version
    )


def reduce(
    fn: Callable[[A, A], A],
    size: int,
    *,
    linger: float = 1.0,
    clock: Clock | None = None,
    name: str | None = None,
    version: str = "1",
) -> Stage[A, A]:
    """
    Make a stage that folds up to *size* values into one by ``fn(so_far, value)``.

    It gathers as `gather` does, with the same promises. *fn* runs in the event loop.
    """
    check(callable(fn), "reduce", "fn", fn, "a function of two values")
    called = name or f"reduce-{name_of(fn)}"
    group: Stage[A, list[A]] = gather(
        size, linger=linger, clock=clock, name=called, version=version
    )

    async def fold(record: Record[A]) -> Sequence[Record[A]]:
        return [
            Record(functools.reduce(fn, one.value), one.key, one.attributes)
            for one in await group(record)
        ]

    fold.__name__ = called
    fold.version = version  # type: ignore[attr-defined]
    return fold
