"""`Values`: records out of anything that can be iterated."""

from __future__ import annotations

import reprlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Generic, TypeVar

import attrs

from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.records import Delivery, Record
from genai_pipeline.sources._keys import a_function, keyed

__all__ = ["Values"]

A = TypeVar("A")


def _iterable(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, Iterable | AsyncIterable) and not isinstance(value, str | bytes)
    check(fine, owner, option.name, value, "an iterable of values, such as a list of texts")


@attrs.define(eq=False)
class Values(Generic[A]):
    """
    Reads the values of any iterable, plain or asynchronous: a list, a generator, a query.

    Keys are the ordinals ``"0"``, ``"1"`` … unless ``key=`` chooses them, so they are stable as
    long as the iterable gives the same values in the same order.

    A plain iterable is read in the event loop: its ``next`` must not block. An iterator that
    can be read only once, such as a generator, makes a source that can be read only once; a
    second reading raises `ConfigurationError`. Generators are closed when reading ends early.
    Nothing is kept of what was handed out, so a record that is handed back is not read again.
    """

    iterable: Iterable[A] | AsyncIterable[A] = attrs.field(validator=_iterable, repr=reprlib.repr)

    key: Callable[[A], str | int] | None = attrs.field(
        default=None, kw_only=True, validator=a_function
    )
    """Answers the key of a value; must be unique in the source and the same on every run."""

    _spent: bool = attrs.field(default=False, init=False, repr=False)

    def __aiter__(self) -> AsyncGenerator[Delivery[A], None]:
        """Begin a fresh reading from the first value on."""
        iterable = self.iterable
        if isinstance(iterable, AsyncIterable):
            return self._follow(aiter(iterable))
        return self._read(iter(iterable)) if self.key is None else self._read_keyed(iter(iterable))

    async def _read(self, values: Iterator[A]) -> AsyncGenerator[Delivery[A], None]:
        self._spend(values)
        try:
            for ordinal, value in enumerate(values):
                yield Delivery(Record(value, str(ordinal)))
        finally:
            if isinstance(values, Generator):
                values.close()

    async def _read_keyed(self, values: Iterator[A]) -> AsyncGenerator[Delivery[A], None]:
        self._spend(values)
        try:
            for ordinal, value in enumerate(values):
                yield keyed(value, _place(ordinal), {}, self.key)
        finally:
            if isinstance(values, Generator):
                values.close()

    async def _follow(self, values: AsyncIterator[A]) -> AsyncGenerator[Delivery[A], None]:
        self._spend(values)
        ordinal = 0
        try:
            async for value in values:
                place = str(ordinal) if self.key is None else _place(ordinal)
                yield keyed(value, place, {}, self.key)
                ordinal += 1
        finally:
            if isinstance(values, AsyncGenerator):
                await values.aclose()

    def _spend(self, values: object) -> None:
        if values is not self.iterable:
            return
        if self._spent:
            raise ConfigurationError(
                f"Values: its iterable, a {type(values).__name__}, can be read only once, and was; "
                "give a list, or an object whose __iter__ begins anew"
            )
        self._spent = True


def _place(ordinal: int) -> str:
    """Answer what stands for a value whose key cannot be had, and for none that has one."""
    return f"values[{ordinal}]"
