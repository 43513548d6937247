"""A record is an envelope that does not change."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.testing import strategies as gps


@given(gps.records(st.integers()), st.text())
def test_the_identity_follows_the_value(record: gp.Record[int], value: str) -> None:
    """Another value keeps key and attributes, and leaves the record as it was."""
    before = (record.value, record.key, record.attributes)
    other = record.with_value(value)
    assert (other.value, other.key, other.attributes) == (value, *before[1:])
    assert (record.value, record.key, record.attributes) == before


@given(gps.records(st.integers()))
def test_attributes_are_added_to_a_copy(record: gp.Record[int]) -> None:
    """More attributes make another record; the old one does not see them."""
    more = record.with_attributes(tenant="acme", lang="de")
    assert more.attributes == {**record.attributes, "tenant": "acme", "lang": "de"}
    assert more.with_attributes(lang="fr").attributes["lang"] == "fr"
    assert more.attributes["lang"] == "de"
    assert (more.value, more.key) == (record.value, record.key)


@given(st.lists(st.lists(st.integers(0, 20), max_size=4), unique_by=tuple, max_size=20))
def test_children_have_keys_of_their_own(paths: list[list[int]]) -> None:
    """Each way down the generations gives another key, derived from the parent's."""
    keys = set()
    for path in paths:
        record: gp.Record[Any] = gp.Record("x", "file:7", {"tenant": "acme"})
        for ordinal in path:
            record = record.child(ordinal, "y")
        assert record.key == "/".join(["file:7", *map(str, path)])
        assert record.attributes == {"tenant": "acme"}
        keys.add(record.key)
    assert len(keys) == len(paths)


@pytest.mark.parametrize("field", ["value", "key", "attributes"])
def test_a_record_does_not_change(field: str) -> None:
    """No field can be set."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(gp.Record("x"), field, "y")


def test_no_attributes_cannot_become_some() -> None:
    """What records without attributes share cannot be written to."""
    nothing: Any = gp.Record("x").attributes
    with pytest.raises(TypeError):
        nothing["a"] = 1
    with pytest.raises(KeyError):
        nothing["a"]
    assert nothing == {} == dict(nothing)
    assert repr(nothing) == "{}"


@given(gps.records(gps.json_values()))
def test_records_travel(record: gp.Record[Any]) -> None:
    """A record survives pickle and copying, with attributes and without."""
    for each in (record, gp.Record("bare", "k")):
        assert pickle.loads(pickle.dumps(each)) == each
        assert copy.deepcopy(each) == each


@given(gps.dead_letters())
def test_dead_letters_travel(letter: gp.DeadLetter) -> None:
    """A dead letter survives pickle."""
    assert pickle.loads(pickle.dumps(letter)) == letter
