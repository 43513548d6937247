"""Labels and JSON in what models say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.providers._answers import as_json, as_label, is_strict, schema_name

LABELS = ("billing", "Bug report", "no. 1")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing", "billing"),
        ('{"label": "Bug report"}', "Bug report"),
        ('```json\n{"label": "billing"}\n```', "billing"),
        ('"billing"', "billing"),
        ("  BILLING.\n", "billing"),
        ("**Bug Report**", "Bug report"),
        ("Label: billing", "billing"),
        ('{"category": "bug report"}', "Bug report"),
        ("no. 1", "no. 1"),
        ("not billing", None),
        ("billing or bug report", None),
        ("", None),
        ('{"label": 3}', None),
        ('{"label": "billing", "other": "Bug report"}', None),
    ],
)
def test_a_label_is_found_or_not(text: str, label: str | None) -> None:
    """The label is taken out of its dress, and never guessed out of a sentence."""
    assert as_label(text, LABELS) == label


def test_labels_that_differ_by_case_alone_are_not_confused() -> None:
    """When several labels could be meant, none is taken, but the exact one always is."""
    assert as_label("us", ("US", "us")) == "us"
    assert as_label("Us", ("US", "us")) is None


@given(st.lists(st.text(min_size=1), min_size=2, unique=True), st.data())
def test_a_label_given_as_asked_is_always_understood(
    labels: list[str], data: st.DataObject
) -> None:
    """Any label, as the JSON that was asked for, comes back to the letter."""
    label = data.draw(st.sampled_from(labels))
    assert as_label(json.dumps({"label": label}), labels) == label


@given(st.text(), st.lists(st.text(min_size=1), min_size=2, unique=True))
def test_no_text_gives_what_is_no_label(text: str, labels: list[str]) -> None:
    """Whatever the model says, the outcome is a label or nothing."""
    assert as_label(text, labels) in {*labels, None}


@pytest.mark.parametrize(
    ("text", "schema", "document"),
    [
        ('{"a": 1}', {"type": "object", "required": ["a"]}, '{"a": 1}'),
        ('```\n{"a": 1}\n```', {"type": "object"}, '{"a": 1}'),
        ('```json {"a": 1}```', {"type": "object"}, '{"a": 1}'),
        (" [1] ", {"type": "array"}, "[1]"),
        ("3", {"type": "integer"}, "3"),
        ("true", {"type": "integer"}, None),
        ('{"b": 1}', {"type": "object", "required": ["a"]}, None),
        ("[]", {"type": "object"}, None),
        ("NaN", {}, None),
        ("{", {}, None),
        ("[" * 100_000, {}, None),
        ("", {}, None),
    ],
)
def test_a_document_is_found_or_not(
    text: str, schema: dict[str, Any], document: str | None
) -> None:
    """The text is JSON of the schema's outermost shape, or it is refused."""
    assert as_json(text, schema) == document


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "string"}, True),
        ({"type": "object"}, False),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            True,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
        ({"type": "array", "items": {"type": "object"}}, False),
    ],
)
def test_strictness_is_asked_for_where_the_api_allows_it(
    schema: dict[str, Any],
    strict: bool,
) -> None:
    """A schema is strict when every object in it is closed and requires all its keys."""
    assert is_strict(schema) is strict


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"title": "Support ticket (v1)"}, "Support_ticket_v1"),
        ({"title": "\u00e9"}, "schema_0123456789abcdef"),
        ({}, "schema_0123456789abcdef"),
        ({"title": "x" * 99}, "x" * 64),
    ],
)
def test_a_schema_has_a_stable_name(schema: dict[str, Any], name: str) -> None:
    """The name is the title in allowed letters, or made of the fingerprint."""
    assert schema_name(schema, "0123456789abcdef0123") == name
