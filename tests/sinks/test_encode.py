"""Values as JSON."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline._encode import encode_json
from genai_pipeline.errors import DataError
from genai_pipeline.messages import Response, Usage
from genai_pipeline.records import DeadLetter

_ANY_TEXT = st.text(st.characters(), max_size=20) | st.sampled_from(["\ud800", "\u2028", "\0\n"])
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


class Colour(Enum):
    """Some colours."""

    RED = "red"


class Size(IntEnum):
    """Some sizes."""

    BIG = 3


@attrs.frozen
class Point:
    """A place, with something private."""

    x: int
    where: Path
    _cache: object = None


@dataclass
class Pair:
    """Two things."""

    left: object
    right: object


@given(_JSON)
def test_what_json_knows_comes_back(value: object) -> None:
    """Any JSON value, also with broken surrogates, is one line of UTF-8 and reads back equal."""
    text = encode_json(value)
    assert b"\n" not in text.encode()
    assert json.loads(text) == value


@given(_JSON)
def test_ascii_form_is_ascii_and_equal(value: object) -> None:
    """With ascii_only, any JSON value is ASCII and reads back equal."""
    text = encode_json(value, ascii_only=True)
    assert text.isascii()
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Point(1, PurePosixPath("a/b")), {"x": 1, "where": "a/b"}),  # type: ignore[arg-type]
        (Pair(1, [Pair(2, None)]), {"left": 1, "right": [{"left": 2, "right": None}]}),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=1), 60.0),
        (Decimal("1.20"), "1.20"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\xff\x00", "/wA="),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset({10, 9}), [10, 9]),
        (Colour.RED, "red"),
        (Size.BIG, 3),
        ({1: "number", None: "nothing"}, {"1": "number", "null": "nothing"}),
        (Response("hi", usage=Usage(cost=Decimal("0.10"))), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_known_type_has_its_form(value: object, expected: object) -> None:
    """Types beyond JSON are written as the documentation says."""
    found = json.loads(encode_json(value))
    if expected is None:
        assert (found["text"], found["usage"]["cost"]) == ("hi", "0.10")
    else:
        assert found == expected


class _Raises(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise LookupError("gone")

    def __iter__(self) -> Any:
        return iter("a")

    def __len__(self) -> int:
        return 1


_CIRCLE: list[object] = []
_CIRCLE.append({"again": _CIRCLE})
_DEEP: list[object] = []
for _ in range(100_000):
    _DEEP = [_DEEP]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (object(), "value is of type object, which JSON cannot hold"),
        ({"a": [1, {2, object}]}, r"value\['a'\]\[1\] is a set with an element of type type"),
        (Pair(1, {"b": lambda: 0}), r"value\['right'\]\['b'\] is of type function"),
        (Point, "value is of type type"),
        ({"a": float("nan")}, r"value\['a'\] is nan"),
        ([float("-inf")], r"value\[0\] is -inf"),
        ({(1, 2): 3}, r"value has the key \(1, 2\)"),
        ({"a": {float("inf"): 1}}, r"value\['a'\] has the key inf"),
        ([10**5000], r"value\[0\] is a number too long"),
        (_CIRCLE, r"value\[0\]\['again'\] contains itself"),
        (_DEEP, "nested deeper than 100 levels"),
        ({"a": _Raises()}, r"value\['a'\]: LookupError: gone"),
    ],
    ids=range(12),
)
def test_anything_else_names_place_and_type(value: object, told: str) -> None:
    """A value that has no form in JSON is a DataError that says where, what and what to do."""
    with pytest.raises(DataError, match=f"{told}.*; convert it in a stage before the sink"):
        encode_json(value)


@given(st.sets(st.integers() | st.text(max_size=3) | st.booleans()))
def test_sets_have_one_form(values: set[object]) -> None:
    """A set is written the same however it came about."""
    assert encode_json(values) == encode_json({*reversed(list(values))})


class _BadRepr:
    def __repr__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (b"raw", "cmF3"),
        (3 + 4j, {"type": "complex", "repr": "(3+4j)"}),
        (_BadRepr(), {"type": f"{__name__}._BadRepr", "repr": "its repr raised LookupError"}),
    ],
)
def test_dead_letter_is_taken_whatever_it_holds(payload: object, expected: object) -> None:
    """A dead letter is never lost for want of a form: what has none is told by type and repr."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    letter = DeadLetter(
        key="k", payload=payload, attributes={"tenant": "t", "odd": object}, error="E",
        category="data", message="m", stage="s", attempts=1, read_at=now, failed_at=now, trace="",
    )  # fmt: skip
    found = json.loads(encode_json(letter))
    assert found["payload"] == expected
    assert found["attributes"]["tenant"] == "t"
    assert found["attributes"]["odd"] == {"type": "type", "repr": "<class 'object'>"}
    assert found["failed_at"] == "2026-01-01T00:00:00+00:00"


def test_deep_value_below_a_deep_stack_is_told() -> None:
    """A value nested too deep is a DataError, however little room the stack has left."""

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        else:
            with pytest.raises(DataError, match="nested"):
                encode_json(_DEEP)

    room = sys.getrecursionlimit() - len(inspect.stack(0))  # frames left to us
    for left in (250, 450):
        descend(room - left)
