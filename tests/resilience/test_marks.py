"""Copies of errors that many are to raise."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from genai_pipeline.errors import Overloaded
from genai_pipeline.messages import Response, Usage
from genai_pipeline.resilience._marks import fresh, marked, told


def test_a_copy_has_all_of_the_error_and_shares_nothing() -> None:
    """A copy has class, message, fields, cause and notes of its own."""
    error = Overloaded("busy", retry_after=3)
    error.add_note("once")
    try:
        raise error from KeyError("why")
    except Overloaded:
        twin = fresh(error)
    assert twin is not error
    assert (type(twin), str(twin), twin.retry_after) == (Overloaded, "busy", 3)
    assert twin.__cause__ is error.__cause__
    assert twin.__suppress_context__
    assert twin.__traceback__ is error.__traceback__
    twin.add_note("twice")
    assert error.__notes__ == ["once"]


def test_a_copy_hides_no_context() -> None:
    """Where the error shows what it was raised in the handling of, so does its copy."""
    assert not fresh(Overloaded("busy")).__suppress_context__


class _Demanding(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


class _Different(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return KeyError, self.args


class _Changing(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text + "!")


@pytest.mark.parametrize("error", [_Demanding(1, "x"), _Different("x"), _Changing("x")])
def test_what_cannot_be_copied_faithfully_is_shared(error: Exception) -> None:
    """An exception whose copy would fail or differ is answered itself."""
    assert fresh(error) is error


def test_a_failure_is_told_in_few_words() -> None:
    """A note on a failure is no longer than 200 characters, however much the server wrote."""
    assert told("model", Overloaded("busy")) == "model: Overloaded: busy"
    assert len(told("model", Overloaded("busy " * 100))) == 200


@attrs.frozen
class _Graded(Response):
    grade: int = attrs.field(default=0, kw_only=True)


@pytest.mark.parametrize("kind", [Response, _Graded])
def test_a_marked_answer_keeps_its_class_and_every_field(kind: type[Response]) -> None:
    """A mark changes the attributes alone, whatever an answer has, now or in a later version."""
    own = {field.name: f"own {field.name}" for field in attrs.fields(kind)}
    answer = kind(**{**own, "usage": Usage(output_tokens=7), "attributes": {"a": 1}})  # type: ignore[arg-type]
    twin = marked(answer, target="here")
    assert type(twin) is kind
    assert twin == attrs.evolve(answer, attributes={"a": 1, "target": "here"})
    assert answer.attributes == {"a": 1}
