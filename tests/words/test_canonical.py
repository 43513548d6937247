"""One text for one value, in every process."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given

import genai_pipeline as gp
from genai_pipeline._canonical import canonical, digest, json_copy
from genai_pipeline.testing import strategies as gps

CODE = """
import json, sys
import genai_pipeline as gp
for line in sys.stdin:
    text, extra = json.loads(line)
    print(gp.Request(text, extra=extra, labels=["b", "a"]).fingerprint())
"""


@given(gps.json_values())
def test_a_copy_is_equal_and_apart(value: Any) -> None:
    """A JSON value is copied as it is, every list and object of it anew."""
    copy = json_copy(value, where="x")
    assert copy == value
    assert json.dumps(copy) == json.dumps(value)
    if isinstance(value, list | dict):
        assert copy is not value


@given(gps.json_values(), gps.json_values())
def test_digests_tell_values_apart(one: Any, other: Any) -> None:
    """Two values have one digest exactly when JSON cannot tell them apart."""
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert digest(one) == digest(other) or not same
    assert digest(one) != digest(other) or one == other


@given(gps.json_values())
def test_a_digest_survives_json(value: Any) -> None:
    """Writing a value as JSON and reading it again leaves its digest."""
    assert digest(json.loads(json.dumps(value))) == digest(value)


@given(gps.json_values())
def test_a_digest_is_taken_of_what_json_writes(value: Any) -> None:
    """The canonical text is that of `json`, with sorted keys and integral floats as integers."""
    text = json.dumps(_whole(value), sort_keys=True, separators=(",", ":"))
    assert canonical(value) == text
    assert digest(value) == blake2b(text.encode(), digest_size=16).hexdigest()


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def test_digests_are_the_same_in_every_process() -> None:
    """Neither the hash seed nor the order of building changes a fingerprint."""
    inputs: list[tuple[str, dict[str, Any]]] = [
        (f"text {n} é", {f"k{m}": [m, None] for m in range(n)}) for n in range(9)
    ]
    here = [gp.Request(t, extra=e, labels=["b", "a"]).fingerprint() for t, e in inputs]
    for seed in ("0", "4242"):
        there = subprocess.run(
            [sys.executable, "-c", CODE],
            input="\n".join(json.dumps(each) for each in inputs),
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == here


def test_nesting_has_a_limit() -> None:
    """A value nested without end is refused, not recursed into."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(gp.ConfigurationError, match="nested deeper than 100 levels"):
        json_copy(endless, where="x")


@pytest.mark.parametrize("value", [b"x", {1, 2}, object(), 1j, float("nan"), float("-inf")])
def test_what_json_cannot_hold_is_named(value: Any) -> None:
    """The place of the wrong value is in the message."""
    with pytest.raises(gp.ConfigurationError, match=r"extra\['a'\]\[0\] is .*which JSON cannot"):
        json_copy({"a": [value]}, where="extra")
