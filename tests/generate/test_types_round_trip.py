"""Any type of the supported kinds: its schema, its values, and answers that are none of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_pipeline._encode import encode_json
from genai_pipeline._generate._issues import Unfit
from genai_pipeline._generate._keywords import faults_in, violations
from genai_pipeline._generate._output import output_of
from genai_pipeline.providers._answers import is_strict
from genai_pipeline.testing import strategies as gps

from .shapes import Mood

Kind = tuple[Any, st.SearchStrategy[Any]]
"""A type, and its values."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PLAIN: list[Kind] = [
    (str, TEXTS),
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (type(None), st.none()),
    (date, st.dates()),
    (datetime, st.datetimes()),
    (time, st.times()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Mood, st.sampled_from(Mood)),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
]


LIST: Any = list
TUPLE: Any = tuple
DICT: Any = dict


def _list(kind: Kind) -> Kind:
    return LIST[kind[0]], st.lists(kind[1], max_size=3)


def _tuple(kind: Kind) -> Kind:
    return TUPLE[kind[0], ...], st.lists(kind[1], max_size=3).map(tuple)


def _dict(kind: Kind) -> Kind:
    return DICT[str, kind[0]], st.dictionaries(TEXTS, kind[1], max_size=3)


def _optional(kind: Kind) -> Kind:
    return kind[0] | None, st.none() | kind[1]


def _attrs(kinds: list[Kind]) -> Kind:
    fields = {f"f{index}": attrs.field(type=kind) for index, (kind, _) in enumerate(kinds)}
    made = attrs.make_class("Made", fields)
    return made, st.builds(made, **{f"f{i}": values for i, (_, values) in enumerate(kinds)})


def _data(kinds: list[Kind]) -> Kind:
    made = dataclasses.make_dataclass(
        "Made", [(f"f{i}", kind) for i, (kind, _) in enumerate(kinds)]
    )
    return made, st.builds(made, **{f"f{i}": values for i, (_, values) in enumerate(kinds)})


def _typed(kinds: list[Kind]) -> Kind:
    made: Any = TypedDict("Made", {f"f{i}": kind for i, (kind, _) in enumerate(kinds)})  # type: ignore[misc]
    return made, st.fixed_dictionaries({f"f{i}": values for i, (_, values) in enumerate(kinds)})


def kinds() -> st.SearchStrategy[Kind]:
    """Draw types of every kind, nested, each with its values."""

    def wider(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
        several = st.lists(inner, min_size=1, max_size=3)
        return st.one_of(
            *(inner.map(make) for make in (_list, _tuple, _dict, _optional)),
            *(several.map(make) for make in (_attrs, _data, _typed)),
        )

    return st.recursive(st.sampled_from(PLAIN), wider, max_leaves=6)


@settings(max_examples=150)
@given(kinds(), st.data())
def test_every_value_comes_back_as_it_was(kind: Kind, data: st.DataObject) -> None:
    """Written as JSON, a value of any type obeys the type's schema, and is read back equal."""
    output = output_of(kind[0])
    value = data.draw(kind[1])
    document = json.loads(encode_json(value))
    if set(output.schema["properties"]) == {"value"}:
        document = {"value": document}
    assert list(faults_in(output.schema)) == []
    assert violations(document, output.schema) == []
    assert output.take(document) == value


@settings(max_examples=150)
@given(kinds(), gps.json_objects())
def test_any_document_is_a_value_or_unfit(kind: Kind, document: dict[str, Any]) -> None:
    """A document of another shape is refused, with at least one place, and never an error else."""
    output = output_of(kind[0])
    for each in (document, {"value": document}, dict.fromkeys(output.schema["properties"])):
        try:
            output.take(each)
        except Unfit as unfit:
            assert all(path.startswith("$") and message for path, message in unfit.issues)
            assert unfit.issues


@given(kinds())
def test_schemas_are_strict_but_for_open_names(kind: Kind) -> None:
    """Every schema is one that APIs enforce, unless it has objects whose keys are not known."""
    schema = output_of(kind[0]).schema
    assert (
        is_strict(schema)
        or "dict[" in repr(kind[0])
        or '"additionalProperties": {' in json.dumps(schema)
    )


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    """Draw schemas of the keywords that need no library."""
    names = st.sampled_from(["a", "b", "c"])
    numbers = st.integers(-3, 3)
    sizes = st.integers(0, 3)
    leaves = st.one_of(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["string", "integer", "number", "boolean", "null", "array"])}
        ),
        st.just({"type": ["integer", "null"]}),
        st.fixed_dictionaries({"enum": st.lists(gps.json_values(2), min_size=1, max_size=3)}),
        st.fixed_dictionaries({"const": gps.json_values(2)}),
        st.fixed_dictionaries({}, optional={"minimum": numbers, "maximum": numbers}),
        st.fixed_dictionaries(
            {}, optional={"exclusiveMinimum": numbers, "exclusiveMaximum": numbers}
        ),
        st.fixed_dictionaries({}, optional={"minLength": sizes, "maxLength": sizes}),
        st.fixed_dictionaries({}, optional={"minItems": sizes, "maxItems": sizes}),
        st.just({"$ref": "#/$defs/one"}),
    )
    inner = st.recursive(
        leaves,
        lambda schema: st.one_of(
            st.fixed_dictionaries({"type": st.just("array"), "items": schema | st.booleans()}),
            st.fixed_dictionaries({"anyOf": st.lists(schema, min_size=1, max_size=3)}),
            st.fixed_dictionaries(
                {"properties": st.dictionaries(names, schema, max_size=2)},
                optional={
                    "type": st.just("object"),
                    "required": st.lists(names, max_size=2, unique=True),
                    "additionalProperties": st.booleans() | schema,
                },
            ),
        ),
        max_leaves=6,
    )
    shared = st.fixed_dictionaries({"type": st.sampled_from(["string", "integer"])})
    return st.builds(lambda schema, one: {**schema, "$defs": {"one": one}}, inner, shared)


SMALL = st.recursive(
    st.none() | st.booleans() | st.integers(-4, 4) | st.sampled_from([1.0, 0.5]) | st.text("ab"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.extras
@settings(max_examples=400)
@given(schemas(), SMALL)
def test_our_few_keywords_mean_what_jsonschema_says(schema: dict[str, Any], value: Any) -> None:
    """For any schema of the keywords known here, both validators agree on any value."""
    import jsonschema

    assert list(faults_in(schema)) == []
    theirs = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (violations(value, schema) == []) == theirs
