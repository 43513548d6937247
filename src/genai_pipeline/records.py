"""The envelope that walks through a pipeline, its delivery by a source, and its dead letter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs

__all__ = ["DeadLetter", "Delivery", "Record", "accept"]

A_co = TypeVar("A_co", covariant=True)
B = TypeVar("B")


class _NoAttributes(Mapping[str, Any]):
    """The mapping without anything in it: one object, unlike a mapping proxy also when pickled."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "_NONE"


_NONE = _NoAttributes()


@attrs.frozen
class Record(Generic[A_co]):
    """
    One value on its way through a pipeline, with its stable identity.

    Immutable: a stage answers new records, made by `with_value` from the one it got, so
    that the identity and the attributes follow the value.
    """

    value: A_co
    """What the stages work on."""

    key: str = ""
    """The identity that stays the same on every run over the same input; unique in a source."""

    attributes: Mapping[str, Any] = _NONE
    """What belongs to the record beside its value: origin, position, tenant …"""

    def with_value(self, value: B) -> Record[B]:
        """Answer a record of the same identity and attributes around another *value*."""
        return Record(value, self.key, self.attributes)

    def with_attributes(self, **attributes: Any) -> Record[A_co]:
        """Answer the same record with more or other *attributes*."""
        return Record(self.value, self.key, {**self.attributes, **attributes})

    def child(self, ordinal: int, value: B) -> Record[B]:
        """Answer the *ordinal*-th record made out of this one; its key is derived from ours."""
        return Record(value, f"{self.key}/{ordinal}", self.attributes)


async def accept(error: Exception | None) -> None:
    """Settle nothing: for sources that keep no account of what they handed out."""


@attrs.frozen
class Delivery(Generic[A_co]):
    """A record together with the duty to tell its source how it ended."""

    record: Record[A_co]

    settle: Callable[[Exception | None], Awaitable[None]] = accept
    """
    Called exactly once, by the runner: with `None` when the record reached its end (written,
    filtered or dead-lettered, durably), with an error when it is handed back to the source.
    """

    error: Exception | None = None
    """
    What is wrong with the input itself, found while reading: a `DataError` as a rule.

    Such a record takes no stage: it goes among the dead letters at once, its value being the
    raw input.
    """


@attrs.frozen(kw_only=True)
class DeadLetter:
    """
    A record that could not be finished, with all that is needed to understand and repeat it.

    What a ``dead_letters=`` sink gets, as the value of a record of the same key.
    """

    key: str
    payload: object
    """The value as the source gave it."""

    attributes: Mapping[str, Any] = _NONE
    error: str
    """The class of the error, by its qualified name."""

    category: str
    """Who must act: ``transient``, ``permanent``, ``system`` or ``data``."""

    message: str
    stage: str
    """The stage that raised; ``source`` or ``sink`` where it was none of them."""

    attempts: int
    read_at: datetime
    failed_at: datetime
    trace: str
    """The last part of the traceback."""
