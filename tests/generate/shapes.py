"""Types that the tests ask for; at the top of a module, so that their annotations resolve."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal, NotRequired, TypedDict
from uuid import UUID

import annotated_types
import attrs
import msgspec
import pydantic


class Mood(Enum):
    """How somebody feels."""

    GOOD = "good"
    BAD = "bad"


@attrs.frozen
class Line:
    """One line of an invoice."""

    what: str
    total: Decimal
    count: Annotated[int, annotated_types.Ge(1)] = 1


def _not_empty(_: object, __: object, value: tuple[Line, ...]) -> None:
    if not value:
        raise ValueError("an invoice has lines")


@attrs.frozen
class Invoice:
    """A bill."""

    number: str = attrs.field(metadata={"description": "as printed at the top"})
    day: date
    lines: tuple[Line, ...] = attrs.field(validator=_not_empty)
    currency: Literal["EUR", "USD"] = "EUR"
    note: str | None = None


@dataclasses.dataclass
class Ticket:
    subject: str
    body: str
    urgency: int = 0
    _secret: str = ""


@dataclasses.dataclass(frozen=True)
class Everything:
    text: str
    whole: int
    real: float
    truth: bool
    nothing: None
    moment: datetime
    hour: time
    id: UUID
    mood: Mood
    either: int | list[str]
    named: dict[str, float]


class Film(TypedDict):
    """A film."""

    title: Annotated[str, "as in the credits"]
    year: NotRequired[int]


@attrs.define
class Tree:
    """A node of a tree."""

    name: str
    children: list[Tree] = attrs.field(factory=list)


@dataclasses.dataclass
class Basket:
    """What somebody buys."""

    size: Annotated[int, annotated_types.Interval(gt=0, lt=9)]
    codes: Annotated[list[str], annotated_types.Len(0, 2)]
    first: Line | int | None
    trees: dict[str, Tree]


class Moody(pydantic.BaseModel):
    """A model whose validator raises what pydantic does not expect."""

    name: str

    @pydantic.field_validator("name")
    @classmethod
    def _fail(cls, _: str) -> str:
        raise KeyError("moody")


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    age: int = pydantic.Field(ge=0, default=0)
    friends: list[Person] = []
    mood: Mood = Mood.GOOD


class Point(msgspec.Struct):
    """A place."""

    x: float
    y: float = 0.0
    label: str | None = None
