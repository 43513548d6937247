"""The JSON in what a model wrote: found, mended, or refused; never another error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genai_pipeline._generate import _repair
from genai_pipeline._generate._documents import Document, document_in
from genai_pipeline._generate._issues import Unfit
from genai_pipeline.testing import strategies as gps

GOOD = '{"a": 1, "b": ["}", "```", "{"]}'
VALUE = json.loads(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n {GOOD}\r\n\t",
        f"Here you are:\n{GOOD}\nAnything else?",
        f"<think>\nperhaps {{'a': 2}}?\n</think>\n\n{GOOD}",
        f"{GOOD}}}",
        f"<think>no end {GOOD}",
        f"{GOOD} <think>not at the beginning</think>",
        f"In {{braces}}:\n```json\n{GOOD}\n```\nand {{more}}.",
    ],
)
def test_the_object_is_found_wherever_it_stands(text: str) -> None:
    """Bare, behind thoughts or among prose, it is the same object, and nothing was mended."""
    assert document_in(text, repair=False) == Document(VALUE)


@pytest.mark.parametrize(
    "fence", ["```json\n{}\n```", "```\n{}```", "```{}```", "Sure:\n```JSON\n{}\n```\n"]
)
def test_the_object_is_found_in_a_fence(fence: str) -> None:
    """The only code fence holds it, whatever language it says it is in."""
    assert document_in(fence.replace("{}", '{"a": 1}'), repair=False).value == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("I cannot do that.", "no JSON object: the answer has no brace"),
        ("[1]", "no JSON object: the answer has no brace"),
        ('"text"', "no JSON object: the answer has no brace"),
        ("{oops", "no JSON object: Expecting property name"),
        ('{"a": }', "no JSON object: no value begins at character 6"),
        ("[{}]x{", "there is more than one JSON object"),
        ('{"a": 1} or {"a": 2}', "there is more than one JSON object"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice in one object"),
        ('So: {"a": 1, "a": 2}.', "the key 'a' stands twice in one object"),
        ('{"a": NaN}', "NaN is no JSON; write null, or a text"),
        ('{"a": -Infinity}', "-Infinity is no JSON; write null, or a text"),
        ('{"a": 1e999}', "the number 1e999 is beyond what a double can hold"),
        ('{"a": "\\ud800"}', "lone surrogate"),
        ('{"a": "\ud800"}', "lone surrogate"),
        ('{"a":' * 201 + "1" + "}" * 201, "nested deeper than 200 levels"),
        ('{"a":' + "[" * 100_000, "nested deeper than 200 levels"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON object: Exceeds the limit"),
    ],
    ids=lambda each: each[:30],
)
def test_what_is_no_object_or_more_than_one_is_refused(text: str, message: str) -> None:
    """Each fault has its own words, whether mending is allowed or not."""
    with pytest.raises(Unfit, match=message.replace("(", r"\(")):
        document_in(text, repair=False)


@pytest.mark.extras
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1,}', {"a": 1}),
        ("{'a': 'b'}", {"a": "b"}),
        ('{a: 1, "b": True}', {"a": 1, "b": True}),
        ('{"a": "he said "no" to it"}', {"a": 'he said "no" to it'}),
        ('{"a": [1, 2', {"a": [1, 2]}),
        ('{"a": {"b": 1}, "c": {"d": 2,}}} yours', {"a": {"b": 1}, "c": {"d": 2}}),
        ('{"a": {}, "c": {"d": 2}', {"a": {}, "c": {"d": 2}}),
        ('Well, {"a": 1 // one\n} it is.', {"a": 1}),
        ('```json\n{"a": 1,}\n```', {"a": 1}),
    ],
)
def test_broken_json_is_mended_and_marked(text: str, value: Any) -> None:
    """With json-repair, what is meant is read, and the document says that it was mended."""
    assert document_in(text, repair=True) == Document(value, repaired=True)
    with pytest.raises(Unfit, match="no JSON object"):
        document_in(text, repair=False)


@pytest.mark.extras
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1} or {"a": 2}',
        '{"a": 1,} or {"a": 2,}',
        '{"a": {"b": 1,}, "c": {}}\n{"a": 2',
        "```\n{}\n```\n```\n{}\n```",
        "no braces at all",
        "{" * 2_000,
        "{" + "x" * 60_000,
    ],
    ids=lambda each: each[:20],
)
def test_what_means_nothing_or_two_things_is_not_mended(text: str) -> None:
    """Mending never chooses between meanings, and gives up on what would take seconds."""
    with pytest.raises(Unfit):
        document_in(text, repair=True)


def test_without_the_package_nothing_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where json-repair is missing, broken JSON is refused as if mending were not allowed."""
    monkeypatch.setattr(_repair, "_repair", lambda: None)
    with pytest.raises(Unfit, match="no JSON object"):
        document_in('{"a": 1,}', repair=True)


ODD = st.sampled_from(
    ["{", "}", "[", "]", '"', "'", ":", ",", "\\", "```", "```json\n", "<think>", "</think>", "NaN"]
) | st.text(max_size=3)


@settings(max_examples=400)
@given(st.lists(ODD, max_size=30).map("".join) | st.text(), st.booleans())
@example("{" * 999, True)
@example('{"a": "' + "\\" * 999, True)
def test_any_text_is_an_object_or_unfit(text: str, repair: bool) -> None:
    """Whatever a model writes, it is read as an object of sound JSON, or refused in words."""
    try:
        document = document_in(text, repair=repair)
    except Unfit as unfit:
        assert unfit.issues
    else:
        assert isinstance(document.value, dict)
        json.dumps(document.value, allow_nan=False).encode()
        assert repair or not document.repaired


@given(gps.json_objects(), st.sampled_from(["{}", "```json\n{}\n```", "So:\n{}\nThere."]))
def test_every_object_is_read_as_it_was_written(value: dict[str, Any], around: str) -> None:
    """Any object, however it is dressed, comes out the same, and unmended."""
    written = json.dumps(value)
    assert document_in(around.replace("{}", written), repair=True) == Document(value)


@pytest.mark.extras
@settings(max_examples=300)
@given(gps.json_objects(), st.data())
def test_a_damaged_object_is_read_or_refused(value: dict[str, Any], data: st.DataObject) -> None:
    """An object with some of its signs lost or added gives an object or a refusal."""
    signs = list(json.dumps(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(signs) - 1))
        signs[place] = data.draw(st.sampled_from(["", '"', ",", "}", "{", "\n", "x"]))
    try:
        document = document_in("".join(signs), repair=True)
    except Unfit:
        return
    assert isinstance(document.value, dict)
