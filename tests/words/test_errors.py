"""The errors form one tree, say who must act, and cross process borders whole."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.testing import strategies as gps

ALL = [getattr(errors, name) for name in errors.__all__]
KINDS = [kind for kind in ALL if isinstance(kind, type) and issubclass(kind, gp.PipelineError)]


def drawn() -> dict[str, str]:
    """Read the tree in the module's docstring: each class beside its parent."""
    parents: dict[str, str] = {}
    path: dict[int, str] = {0: "PipelineError"}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([ │]*)[├└]── (\w+) ", line)
        if found:
            depth = len(found[1]) // 4
            parents[found[2]] = path[depth - 1] if depth > 1 else "PipelineError"
            path[depth] = found[2]
    return parents


def test_the_tree_is_drawn_as_it_is() -> None:
    """The docstring shows every class once, below its real parent."""
    real = {
        kind.__name__: next(b.__name__ for b in kind.__mro__[1:] if not b.__name__.startswith("_"))
        for kind in KINDS
        if kind is not gp.PipelineError
    }
    assert drawn() == real


def test_every_class_is_exported_and_documented() -> None:
    """No error is hidden, and each says when it is raised."""
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
    }
    assert defined == {kind.__name__ for kind in KINDS}
    assert all("__doc__" in vars(kind) for kind in KINDS)


@given(gps.errors())
def test_errors_cross_process_borders(error: gp.PipelineError) -> None:
    """Class, message, every field and notes survive pickle and copying."""
    error.add_note("seen by the test")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_the_errors_of_single_texts_cross_too() -> None:
    """What tells which texts were too long tells so beyond a process border as well."""
    error = errors.ContextOverflow("1 of 9", texts={3: errors.ContextOverflow("number 3")})
    (other,) = pickle.loads(pickle.dumps(error)).texts.items()
    assert (other[0], str(other[1])) == (3, "number 3")
    assert errors.ContextOverflow("all of it").texts == {}


class Special(gp.Transient):
    """An application's own error, with an argument of its own."""

    def __init__(self, model: str, *, region: str) -> None:
        super().__init__(f"{model} is away", retry_after=3)
        self.region = region


def test_errors_of_applications_cross_too() -> None:
    """A subclass need do nothing for it, whatever its constructor takes."""
    other = pickle.loads(pickle.dumps(Special("m", region="eu")))
    assert type(other) is Special
    assert (str(other), other.region, other.retry_after) == ("m is away", "eu", 3)


@pytest.mark.parametrize("kind", [gp.Transient, gp.Rejected, errors.RateLimited])
@given(st.floats())
def test_a_senseless_wait_is_dropped(kind: type[gp.Transient], seconds: float) -> None:
    """``retry_after`` is a finite number of seconds, 0 or more, or nothing."""
    kept = kind("x", retry_after=seconds).retry_after
    assert kept == (seconds if math.isfinite(seconds) and seconds >= 0 else None)


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (errors.RateLimited("x"), "transient"),
        (gp.Rejected("x"), "transient"),
        (gp.DeadlineExceeded("x"), "transient"),
        (errors.ContextOverflow("x"), "permanent"),
        (gp.PipelineError("x"), "permanent"),
        (gp.DataError("x"), "data"),
        (gp.ConfigurationError("x"), "system"),
        (errors.AccountingError("x"), "system"),
        (ConnectionResetError(), "transient"),
        (TimeoutError(), "transient"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "data"),
        (ValueError(), "permanent"),
        (OSError(), "permanent"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_who_must_act(error: Exception, category: str) -> None:
    """Each error, ours or not, is classified by who can mend it."""
    assert errors.classify(error) == category


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "bad"),
        ({"origin": "a.csv"}, "a.csv: bad"),
        ({"origin": "a.csv", "line": 3, "column": 7}, "a.csv, line 3, column 7: bad"),
        ({"line": 3}, "line 3: bad"),
    ],
)
def test_a_data_error_says_where(place: dict[str, object], text: str) -> None:
    """What is known of the place stands before the message."""
    error = gp.DataError("bad", payload=b"raw", **place)  # type: ignore[arg-type]
    assert str(error) == text
    assert error.payload == b"raw"


def test_details_have_defaults() -> None:
    """What an error can tell beside its message is optional."""
    assert gp.Truncated("cut", partial="half").partial == "half"
    assert gp.Refused("no").explanation == ""
    assert errors.ConnectionFailed("x").sent
    assert str(gp.Transient()) == ""


def test_a_failed_run_crosses_too() -> None:
    """The group, its errors and its report survive pickle."""
    report = gp.Report(read=1, written=0, filtered=0, dead=0, handed_back=1, pending=0, elapsed=2)
    failed = gp.RunFailed("the run failed", [gp.DataError("bad", line=3)], report)
    failed.add_note("seen by the test")
    other = pickle.loads(pickle.dumps(failed))
    assert type(other) is gp.RunFailed
    assert (other.message, other.report) == ("the run failed", report)
    assert [vars(error) for error in other.exceptions] == [vars(failed.exceptions[0])]
    assert other.__notes__ == ["seen by the test"]
