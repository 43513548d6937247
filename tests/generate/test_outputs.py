"""What may be asked for: the schema of each kind of type, and what becomes of an answer."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
import pytest
from annotated_types import Ge, MinLen

import genai_pipeline as gp
from genai_pipeline._generate import _schemas
from genai_pipeline._generate._issues import Unfit
from genai_pipeline._generate._output import output_of
from genai_pipeline.providers._answers import is_strict

from .shapes import (
    Basket,
    Everything,
    Film,
    Invoice,
    Line,
    Mood,
    Moody,
    Person,
    Point,
    Ticket,
    Tree,
)

GOOD_INVOICE = {
    "number": "7",
    "day": "2026-11-26",
    "lines": [{"what": "tea", "total": "2.50", "count": None}],
    "currency": None,
    "note": None,
}


def take(kind: Any, document: Any) -> Any:
    return output_of(kind).take(document)


def issues(kind: Any, document: Any) -> list[tuple[str, str]]:
    with pytest.raises(Unfit) as caught:
        take(kind, document)
    return list(caught.value.issues)


def test_an_attrs_class_is_made_with_everything_in_it() -> None:
    """Nested classes, dates and exact numbers are what the annotations say."""
    invoice = take(Invoice, GOOD_INVOICE)
    assert invoice == Invoice("7", date(2026, 11, 26), (Line("tea", Decimal("2.50")),))


def test_every_error_is_told_with_its_place() -> None:
    """All that is wrong comes at once, each by its JSONPath."""
    bad = {
        "day": "26.11.2026",
        "lines": [{"what": 3, "total": True}, {"what": "x", "total": "1", "count": 0}, None],
        "currency": "GBP",
        "note": 1,
        "odd key": 1,
    }
    assert issues(Invoice, bad) == [
        ('$["odd key"]', "was not asked for"),
        ("$.number", "is missing"),
        ("$.day", '"26.11.2026" is not a date as in ISO 8601'),
        ("$.lines[0].what", "3 is not a text"),
        ("$.lines[0].total", "true is not an exact decimal number, such as 12.50"),
        ("$.lines[1].count", "0 is below 1"),
        ("$.lines[2]", "null is no object"),
        ("$.currency", '"GBP" is none of "EUR", "USD"'),
        ("$.note", "1 is of none of the kinds allowed"),
    ]


def test_what_the_class_itself_refuses_is_an_error_of_the_answer() -> None:
    """A validator of the class speaks to the model, at the place of its object."""
    assert issues(Invoice, {**GOOD_INVOICE, "lines": []}) == [
        ("$", "ValueError: an invoice has lines")
    ]


def test_the_schema_is_one_that_apis_enforce() -> None:
    """Objects are closed, all their keys required, and what has a default may be null."""
    schema = output_of(Invoice).schema
    assert is_strict(schema)
    assert schema["title"] == "Invoice"
    assert schema["description"] == "A bill."
    assert schema["required"] == ["number", "day", "lines", "currency", "note"]
    assert schema["properties"]["number"] == {
        "type": "string",
        "description": "as printed at the top",
    }
    assert schema["properties"]["currency"] == {
        "anyOf": [{"type": "string", "enum": ["EUR", "USD"]}, {"type": "null"}]
    }
    assert schema["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    count = schema["properties"]["lines"]["items"]["properties"]["count"]
    assert count == {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}


def test_all_kinds_of_values_are_taken() -> None:
    """Each kind that is supported becomes what its annotation says."""
    document = {
        "text": "a",
        "whole": 3.0,
        "real": 2,
        "truth": False,
        "nothing": None,
        "moment": "2026-11-26T09:00:00Z",
        "hour": "09:30",
        "id": "12345678-1234-5678-1234-567812345678",
        "mood": "bad",
        "either": ["x"],
        "named": {"a b": 1.5},
    }
    made = take(Everything, document)
    assert made == Everything(
        text="a",
        whole=3,
        real=2.0,
        truth=False,
        nothing=None,
        moment=datetime(2026, 11, 26, 9, tzinfo=UTC),
        hour=time(9, 30),
        id=UUID("12345678-1234-5678-1234-567812345678"),
        mood=Mood.BAD,
        either=["x"],
        named={"a b": 1.5},
    )
    assert (type(made.whole), type(made.real)) == (int, float)


def test_each_kind_has_its_schema() -> None:
    """Formats, choices, unions and open objects are told as JSON Schema tells them."""
    assert output_of(Everything).schema["properties"] == {
        "text": {"type": "string"},
        "whole": {"type": "integer"},
        "real": {"type": "number"},
        "truth": {"type": "boolean"},
        "nothing": {"type": "null"},
        "moment": {"type": "string", "format": "date-time"},
        "hour": {"type": "string", "format": "time"},
        "id": {"type": "string", "format": "uuid"},
        "mood": {"type": "string", "enum": ["good", "bad"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]},
        "named": {"type": "object", "additionalProperties": {"type": "number"}},
    }
    total = {"type": "string", "description": "an exact decimal number, such as 12.50"}
    assert output_of(Line).schema["properties"]["total"] == total
    mixed = output_of(Literal[1, "a"]).schema["properties"]["value"]
    assert mixed == {"enum": [1, "a"]}


def test_limits_and_alternatives_are_kept() -> None:
    """What ``annotated-types`` says is in the schema and holds; a union takes the one that fits."""
    schema = output_of(Basket).schema["properties"]
    assert schema["size"] == {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9}
    assert schema["codes"] == {"type": "array", "items": {"type": "string"}, "maxItems": 2}
    good = {"size": 3, "codes": [], "first": {"what": "tea", "total": 2.5}, "trees": {}}
    assert take(Basket, good) == Basket(3, [], Line("tea", Decimal("2.5")), {})
    assert take(Basket, {**good, "first": 7}).first == 7
    bad = {"size": 9, "codes": ["a", "b", "c"], "first": {"what": "tea"}, "trees": {"a b": {}}}
    assert issues(Basket, bad) == [
        ("$.size", "9 is not below 9"),
        ("$.codes", '["a", "b", "c"] has more than 2 items'),
        ("$.first.total", "is missing"),
        ('$.trees["a b"].name', "is missing"),
    ]
    assert issues(Basket, {**good, "first": "x"}) == [
        ("$.first", '"x" is of none of the kinds allowed')
    ]


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        (Literal["a", "b"], {"a": "a", "b": "b"}),
        (Mood, {"good": Mood.GOOD, "bad": Mood.BAD}),
        (Literal["a"], None),
        (Literal["a", 1], None),
        (Literal["", "a"], None),
        (list[Literal["a", "b"]], None),
    ],
)
def test_a_choice_among_texts_is_one_of_labels(kind: Any, labels: Any) -> None:
    """Two texts or more, none empty, can be given to a provider as labels."""
    assert output_of(kind).labels == labels


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, True, "true is not a whole number"),
        (int, 1.5, "1.5 is not a whole number"),
        (int, "1", '"1" is not a whole number'),
        (float, "1", '"1" is not a number'),
        (float, 10**400, "a number beyond what a double can hold"),
        (bool, 1, "1 is not true or false"),
        (str, None, "null is not a text"),
        (Literal[1, "a"], True, 'true is none of 1, "a"'),
        (Mood, "GOOD", '"GOOD" is none of "good", "bad"'),
        (Decimal, "NaN", '"NaN" is not an exact decimal number, such as 12.50'),
        (list[int], {}, "{} is no list"),
        (dict[str, int], [], "[] is no object"),
    ],
)
def test_wrong_values_are_told(kind: Any, value: Any, message: str) -> None:
    """Nothing is made fit by force: a text is no number, and true is not 1."""
    document = dataclasses.make_dataclass("Made", [("part", kind)])
    assert issues(document, {"part": value}) == [("$.part", message)]


def test_what_is_no_object_stands_in_one() -> None:
    """A list, a number or a choice is asked for below the one key ``value``."""
    output = output_of(list[int])
    assert output.schema["required"] == ["value"]
    assert is_strict(output.schema)
    assert output.take({"value": [1, 2]}) == [1, 2]
    assert issues(list[int], {"value": [1, "x"]}) == [("$.value[1]", '"x" is not a whole number')]
    assert issues(list[int], {"values": []}) == [("$", "is not an object with the one key 'value'")]


def test_a_typed_dict_is_a_dict() -> None:
    """Keys that need not be there are left out when null or missing."""
    assert take(Film, {"title": "M", "year": None}) == {"title": "M"}
    assert take(Film, {"title": "M", "year": 1931}) == {"title": "M", "year": 1931}
    assert issues(Film, {"year": 1931}) == [("$.title", "is missing")]
    assert output_of(Film).schema["properties"]["title"]["description"] == "as in the credits"
    assert is_strict(output_of(Film).schema)


def test_a_type_may_hold_itself() -> None:
    """A recursive class has a schema that refers to itself, and trees of any depth."""
    output = output_of(Tree)
    assert output.schema["type"] == "object"
    assert output.schema["properties"]["children"]["anyOf"][0]["items"] == {"$ref": "#/$defs/Tree"}
    assert is_strict(output.schema)
    assert output.schema["$defs"] == {
        "Tree": {key: told for key, told in output.schema.items() if key not in {"title", "$defs"}}
    }
    assert "$defs" not in output_of(Line).schema
    document: Any = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}
    assert output.take(document) == Tree("a", [Tree("b", [Tree("c")])])
    document["children"][0]["children"] = [{"name": 1}]
    assert issues(Tree, document) == [("$.children[0].children[0].name", "1 is not a text")]


def test_pydantic_models_validate_themselves() -> None:
    """A model is made by pydantic, whose errors keep their places; its schema is made strict."""
    output = output_of(Person)
    assert is_strict(output.schema)
    assert output.schema["type"] == "object"
    assert '"default"' not in json.dumps(output.schema)
    made = output.take({"name": "a", "age": 3, "friends": [{"name": "b", "age": 1}], "mood": "bad"})
    assert made == Person(name="a", age=3, friends=[Person(name="b", age=1)], mood=Mood.BAD)
    assert issues(Person, {"name": "a", "age": -1, "friends": [{}]}) == [
        ("$.age", "Input should be greater than or equal to 0"),
        ("$.friends[0].name", "Field required"),
    ]
    assert issues(Moody, {"name": "x"}) == [("$", "KeyError: 'moody'")]


def test_msgspec_structs_are_converted_by_msgspec() -> None:
    """A Struct is made by msgspec, whose error keeps its place; its schema is made strict."""
    output = output_of(Point)
    assert is_strict(output.schema)
    assert output.schema["type"] == "object"
    assert output.take({"x": 1, "y": 2.5, "label": None}) == Point(1.0, 2.5)
    assert issues(Point, {"x": "1"}) == [("$.x", "Expected `float`, got `str`")]
    assert issues(Point, {}) == [("$", "Object missing required field `x`")]


def test_a_json_schema_answers_plain_data() -> None:
    """The schema goes out as it is, and answers are held against it."""
    schema = {
        "title": "size",
        "type": "object",
        "properties": {"height": {"type": "number", "minimum": 0}},
        "required": ["height"],
    }
    output = output_of(schema)
    assert output.schema == schema
    assert output.name == "size"
    assert output.take({"height": 1.5, "more": 1}) == {"height": 1.5, "more": 1}
    assert [path for path, _ in issues(schema, {"height": -1})] == ["$.height"]


def test_a_json_schema_of_no_object_stands_in_one() -> None:
    """What it defines can still be referred to."""
    schema = {
        "type": "array",
        "items": {"$ref": "#/$defs/name"},
        "$defs": {"name": {"type": "string"}},
    }
    output = output_of(schema)
    assert output.schema["properties"]["value"]["items"] == {"$ref": "#/$defs/name"}
    assert output.schema["$defs"] == schema["$defs"]
    assert output.take({"value": ["a"]}) == ["a"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "nonsense"}, r'\$\.type is "nonsense", which it cannot be'),
        ({"type": "string", "pattern": "^a"}, r"\$\.pattern is a keyword that is not known here"),
        ({"properties": {"a": {"oneOf": []}}}, r"\$\.properties\.a\.oneOf is a keyword"),
        ({"properties": []}, r"\$\.properties is \[\], which it cannot be"),
        ({"required": [1]}, r"\$\.required is \[1\]"),
        ({"minimum": True}, r"\$\.minimum is true"),
        ({"items": 3}, r"\$\.items is 3"),
        ({"anyOf": [3]}, r"\$\.anyOf\[0\] is no schema: 3"),
        ({"$ref": "#/$defs/a"}, r'\$\["\$ref"\] is "#/\$defs/a", which leads nowhere'),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads nowhere"),
    ],
)
def test_without_the_package_a_schema_has_few_keywords(
    monkeypatch: pytest.MonkeyPatch, schema: Any, message: str
) -> None:
    """Where jsonschema is missing, what would not be obeyed is refused, by its place."""
    monkeypatch.setattr(_schemas, "checker_by_library", lambda *_: None)
    with pytest.raises(gp.ConfigurationError, match=message) as caught:
        output_of(schema)
    assert "pip install 'genai_pipeline[schema]'" in str(caught.value)


@pytest.mark.extras
def test_with_the_package_all_of_json_schema_is_obeyed() -> None:
    """With jsonschema, any keyword counts, and a schema that is none is refused."""
    schema = {"type": "object", "properties": {"a": {"pattern": "^x"}}, "oneOf": [{}, False]}
    assert take(schema, {"a": "xy"}) == {"a": "xy"}
    assert issues(schema, {"a": "y"}) == [("$.a", "'y' does not match '^x'")]
    with pytest.raises(gp.ConfigurationError, match=r"\$\.minLength is no JSON Schema: "):
        output_of({"type": "string", "minLength": -1})
    with pytest.raises(gp.ConfigurationError, match=r"'#/\$defs/no', which is not in it"):
        output_of({"$ref": "#/$defs/no"})
    named = {"$anchor": "name", "type": "string"}
    assert take({"type": "object", "items": {"$ref": "#name"}, "$defs": {"a": named}}, {}) == {}


class Opaque:
    def __init__(self, handle: int) -> None:
        self.handle = handle


@attrs.define
class Holder:
    inner: list[Opaque]


@dataclasses.dataclass
class Needy:
    name: str
    seed: dataclasses.InitVar[int]


@attrs.define
class Unresolved:
    there: Nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Opaque, "Opaque is of Opaque, which is not supported; give an attrs class"),
        (Holder, r"Holder\.inner\[\] is of Opaque"),
        (set, "set is of set"),
        (list, "list is of list"),
        (tuple[int, str], r"is of tuple\[int, str\]"),
        (dict[int, str], r"is of dict\[int, str\]"),
        (complex, "complex is of complex"),
        (Needy, "Needy cannot be made of its fields alone: .*seed"),
        (Unresolved, "Unresolved: its annotations cannot be read .*Nowhere.*top of the module"),
        (Literal[b"x"], "b'x' cannot stand in JSON"),
        ({}, "a JSON Schema that says something"),
        ({"type": "object", "$ref": "https://example.com/x"}, "nothing is fetched"),
        ({"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "since it holds itself"),
        ({"type": object()}, r"generate: output\['type'\] is a object"),
        ("Invoice", "'Invoice'|Invoice is of"),
        (3, "3 is of 3"),
    ],
)
def test_what_cannot_be_asked_for_is_said_when_built(kind: Any, message: str) -> None:
    """A type that is not supported is refused before anything is called, by its place."""
    with pytest.raises(gp.ConfigurationError, match=message):
        output_of(kind)


@pytest.mark.parametrize(
    "kind", [Annotated[list[int], Ge(1)], Annotated[int, Ge("x")], Annotated[int, MinLen(1)]]
)
def test_limits_that_mean_nothing_are_refused(kind: Any) -> None:
    """A limit of a number on a list, or of no number, is a mistake, and said."""
    kind = dataclasses.make_dataclass("Made", [("part", kind)])
    with pytest.raises(gp.ConfigurationError, match=r"Made\.part: .*no limit"):
        output_of(kind)


def test_two_classes_of_one_name_are_two_definitions() -> None:
    """Recursive classes of the same name do not take each other's place in the schema."""

    def node(kind: type) -> Any:
        fields = {"value": attrs.field(type=kind), "next": attrs.field()}
        made: Any = attrs.make_class("Tree", fields)
        made.__annotations__["next"] = made | None
        return made

    texts, numbers = node(str), node(int)
    pair = dataclasses.make_dataclass("Pair", [("a", texts), ("b", numbers)])
    output = output_of(pair)
    assert set(output.schema["$defs"]) == {"Tree", "Tree_"}
    link = {"value": 1, "next": {"value": 2, "next": None}}
    made = output.take({"a": {"value": "x", "next": None}, "b": link})
    assert (made.a.value, made.b.next.value) == ("x", 2)


def test_private_fields_are_asked_for_by_their_argument() -> None:
    """An attrs class with a private field is asked for the name that its constructor takes."""

    @attrs.define
    class Hidden:
        _code: int

    assert take(Hidden, {"code": 3}) == Hidden(3)


def test_a_ticket_is_a_data_class_without_a_made_up_description() -> None:
    """The docstring that `dataclasses` makes up tells a model nothing."""
    assert "description" not in output_of(Ticket).schema
