"""`batched`: many at a time, behind one at a time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import Composite
from genai_pipeline._paid import unattributed
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import PipelineError, Transient

__all__ = ["Batched", "batched"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I

Many: TypeAlias = Callable[[Sequence[I]], Awaitable[Sequence[O | Exception]]]


def _heavy(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = _options.is_number(value) and value > 0
    _options.check(fine, owner, option.name, value, "a number above 0")


class _Batch(Generic[I, O]):
    """The calls that go together; the first caller leads: it waits, and calls for all."""

    __slots__ = ("answers", "done", "failure", "full", "values", "weight")

    def __init__(self) -> None:
        self.values: list[I] = []
        self.weight = 0.0
        self.full = anyio.Event()
        self.done = anyio.Event()
        self.answers: Sequence[O | Exception] = ()
        self.failure: Exception | None = None

    def answer(self, place: int) -> O:
        """Return or raise what belongs to the caller at *place*."""
        if self.failure is not None:
            raise self.failure
        answer = self.answers[place]
        if isinstance(answer, Exception):
            raise answer
        return answer


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Batched(Composite, Generic[I, O]):
    """Groups concurrent calls into calls of *many*; itself a handler. Made by `batched`."""

    many: Many[I, O]
    size: int = attrs.field(validator=_options.at_least(1))
    linger: float = attrs.field(validator=_options.seconds)
    clock: Clock
    weigh: Callable[[I], float] | None = attrs.field(
        default=None, validator=_options.optional(_options.function("a value"))
    )
    max_weight: float = attrs.field(default=math.inf, validator=_heavy)
    _open: list[_Batch[I, O]] = attrs.field(factory=list, init=False, repr=False)

    @property
    def name(self) -> str:
        """What reports call this: the name of *many*."""
        return name_of(self.many)

    def parts(self) -> Iterable[object]:
        """Answer what is entered and left with this."""
        return (self.many,)

    async def __call__(self, value: I, /) -> O:
        """Wait for the batch that *value* goes with; answer its own answer, or raise its error."""
        weight = 0.0 if self.weigh is None else self.weigh(value)
        for batch in tuple(self._open):
            if batch.weight + weight <= self.max_weight:
                return await self._follow(batch, value, weight)
            batch.full.set()
            self._close(batch)
        return await self._lead(value, weight)

    async def _follow(self, batch: _Batch[I, O], value: I, weight: float) -> O:
        place = self._add(batch, value, weight)
        await batch.done.wait()
        return batch.answer(place)

    async def _lead(self, value: I, weight: float) -> O:
        batch: _Batch[I, O] = _Batch()
        self._open.append(batch)
        try:
            place = self._add(batch, value, weight)
            if not batch.full.is_set():
                with self.clock.cancel_at(self.clock.now() + self.linger):
                    await batch.full.wait()
            self._close(batch)
            batch.answers = await self._call(batch.values)
        except Exception as error:
            batch.failure = error
            raise
        except BaseException:
            batch.failure = Transient("the call that led this batch was cancelled; try again")
            raise
        finally:
            self._close(batch)
            batch.done.set()
        return batch.answer(place)

    def _add(self, batch: _Batch[I, O], value: I, weight: float) -> int:
        batch.values.append(value)
        batch.weight += weight
        if len(batch.values) >= self.size or batch.weight >= self.max_weight:
            batch.full.set()
            self._close(batch)
        return len(batch.values) - 1

    def _close(self, batch: _Batch[I, O]) -> None:
        if batch in self._open:
            self._open.remove(batch)

    async def _call(self, values: list[I]) -> Sequence[O | Exception]:
        with unattributed(self.name):
            answers = await self.many(values)
        if len(answers) != len(values):
            raise PipelineError(
                f"{self.name} answered {len(answers)} times to {len(values)} values; "
                "it must give one answer (or exception) to each, in their order"
            )
        return answers


def batched(
    many: Callable[[Sequence[I]], Awaitable[Sequence[O | Exception]]],
    *,
    size: int,
    linger: float = 0.01,
    weigh: Callable[[I], float] | None = None,
    max_weight: float = math.inf,
    clock: Clock | None = None,
) -> Batched[I, O]:
    """
    Make a handler of one value out of *many*, a handler of several.

    Concurrent calls are gathered until there are *size*, or the first has waited *linger*
    seconds, and go to *many* together. With *weigh*, the weights of those that go together are
    *max_weight* at most; what is heavier goes alone. *many* answers a list of the same length and
    order, with an exception in the place of each value that failed; every caller gets its own
    answer or error. An error that *many* raises is every caller's.

    The first caller makes the call for all. If it is cancelled, the others get a `Transient`.

    In a pipeline with a journal, *many* may make no call that costs money (it raises
    `ConfigurationError`), since a later run would not group the same values again: `gather` them.
    """
    return Batched(
        many=many,
        size=size,
        linger=linger,
        clock=clock or SystemClock(),
        weigh=weigh,
        max_weight=max_weight,
    )
