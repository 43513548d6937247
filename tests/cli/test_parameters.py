"""Parameters get the types that the function says, or a message that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.cli._parameters import bind
from genai_pipeline.cli._target import UsageError


def make(
    count: int,
    ratio: float = 0.5,
    loud: bool = False,
    name: str = "x",
    path: Path = Path(),
    limit: int | None = None,
    old: Optional[float] = None,  # noqa: UP045 - the old spelling must work too
    mode: Literal["fast", "slow", 3] = "fast",
    text_or_none: str | None = None,
) -> None:
    """Take one parameter of each type."""


def untyped(count=3, name="x", maybe=None, *, plain: Any = 1):  # type: ignore[no-untyped-def] # noqa: ANN201, ANN001
    ...


def open_ended(**options: str) -> None:
    """Take anything."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ratio=2", 2.0),
        ("loud=yes", True),
        ("loud=off", False),
        ("name=a=b", "a=b"),
        ("name=", ""),
        ("path=in/x.jsonl", Path("in/x.jsonl")),
        ("limit=7", 7),
        ("limit=none", None),
        ("old=1e3", 1000.0),
        ("mode=slow", "slow"),
        ("mode=3", 3),
        ("text-or-none=hello", "hello"),
        ("text_or_none=none", None),
    ],
)
def test_types(text: str, value: object) -> None:
    """The annotation says what the text means."""
    bound = bind(make, ["count=1", text], name="make")
    (found,) = (bound[key] for key in bound if key != "count")
    assert (found, type(found)) == (value, type(value))


def test_type_of_the_default() -> None:
    """Without an annotation the default says what the text means; without both it is text."""
    bound = bind(untyped, ["count=4", "name=5", "maybe=6", "plain=7"], name="f")
    assert bound == {"count": 4, "name": "5", "maybe": "6", "plain": "7"}


def test_anything() -> None:
    """A function that takes any keyword gets texts."""
    assert bind(open_ended, ["a=1"], name="f") == {"a": "1"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "make needs -p count=...; it takes count, ratio=0.5"),
        (["count=1", "size=2"], "make has no parameter 'size'; it takes count"),
        (["count=x"], "-p count=x: give a whole number"),
        (["count=1", "ratio=x"], "-p ratio=x: give a number"),
        (["count=1", "loud=maybe"], "-p loud=maybe: give true or false"),
        (["count=1", "mode=9"], "-p mode=9: give one of fast, slow, 3"),
        (["count=1", "limit=x"], "-p limit=x: give a whole number"),
        (["count"], "-p count: give it as NAME=VALUE"),
        (["=1"], "-p =1: give it as NAME=VALUE"),
        (["count=1", "count=2"], "-p count= is given twice"),
    ],
)
def test_refused(given: list[str], reason: str) -> None:
    """What does not fit is named with what would."""
    with pytest.raises(UsageError) as caught:
        bind(make, given, name="make")
    assert str(caught.value).startswith(reason)


def test_type_that_no_text_can_be() -> None:
    """A parameter that no text can make is named with its type."""

    def make_of(rows: list[int]) -> None:
        """Take what a command line cannot give."""
        del rows

    with pytest.raises(UsageError, match="the parameter is a list, which a command line cannot"):
        bind(make_of, ["rows=1"], name="f")


@given(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text())
def test_what_is_written_is_read(count: int, ratio: float, loud: bool, name: str) -> None:
    """Any value, written as Python writes it, comes back as it was."""
    given = [f"count={count}", f"ratio={ratio!r}", f"loud={loud}", f"name={name}"]
    assert bind(make, given, name="make") == {
        "count": count,
        "ratio": ratio,
        "loud": loud,
        "name": name,
    }
